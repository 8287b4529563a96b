from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from rig.manifests import Changes, Judge, tuning
from rig.pods import Made
from rig.runs import CONFIG
from rig.world import INSTALLATION, World

from jobs.installation import Installation
from jobs.validate import Context, validate_create, validate_update
from jobs.workspace import Workspace, parse
from presets import Catalog, load
from presets.problem import Problem

Read = Callable[[Mapping[str, Any]], Workspace]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load()


@pytest.fixture(scope="session")
def context(catalog: Catalog) -> Context:
    """An installation that provisions nodes and has no ConfigMap."""
    return Context(catalog, config_maps={})


@pytest.fixture(scope="session")
def read() -> Read:
    """A body that must be readable without a problem."""

    def call(body: Mapping[str, Any]) -> Workspace:
        workspace, problems = parse(body)
        assert problems == ()
        assert workspace is not None
        return workspace

    return call


@pytest.fixture(scope="session")
def create(context: Context, read: Read) -> Judge:
    """Problems of creating a body; keywords change the context."""

    def call(body: Mapping[str, Any], **settings: Any) -> tuple[Problem, ...]:
        return validate_create(read(body), replace(context, **settings))

    return call


@pytest.fixture(scope="session")
def update(context: Context, read: Read) -> Judge:
    """Problems of changing one body into another."""

    def call(
        old: Mapping[str, Any], new: Mapping[str, Any], **settings: Any
    ) -> tuple[Problem, ...]:
        return validate_update(read(old), read(new), replace(context, **settings))

    return call


@pytest.fixture
def world(catalog: Catalog) -> World:
    return World(tuning(), catalog)


@pytest.fixture
def configured(catalog: Catalog) -> World:
    return World(tuning({"tuning.config": "mine"}), catalog, configs={"mine": CONFIG})


@pytest.fixture
def make(catalog: Catalog) -> Any:
    def call(changes: Changes | None = None, installation: Installation = INSTALLATION) -> Made:
        return Made(catalog, changes or {}, installation)

    return call
