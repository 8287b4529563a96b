"""Registries of all modes, started once a module; a fresh proxy and repository for each test."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.adapters import adapter_image
from rig.fault_proxy import FaultProxy, running_proxy
from rig.registry import Mode, RunningRegistry, running_registry

from tuning.images.connection import Options
from tuning.images.credentials import Credentials
from tuning.images.oci import Image
from tuning.images.registry import Registry
from tuning.reference import Reference, parse
from tuning.retry import Patience

QUICK = Options(
    connect_s=2,
    read_s=2,
    commit_s=5,
    patience=Patience(deadline_s=8, first_wait_s=0.02, longest_wait_s=0.2),
)
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["plain", "htpasswd", "token", "tls"])
def any_registry(request: pytest.FixtureRequest) -> Iterator[RunningRegistry]:
    """Each mode in turn."""
    mode: Mode = request.param
    with running_registry(mode) as registry:
        yield registry


@pytest.fixture(scope="module")
def plain_registry() -> Iterator[RunningRegistry]:
    with running_registry("plain") as registry:
        yield registry


@pytest.fixture(scope="module")
def htpasswd_registry() -> Iterator[RunningRegistry]:
    with running_registry("htpasswd") as registry:
        yield registry


@pytest.fixture(scope="module")
def token_registry() -> Iterator[RunningRegistry]:
    with running_registry("token") as registry:
        yield registry


@pytest.fixture
def proxy(plain_registry: RunningRegistry) -> Iterator[FaultProxy]:
    """In front of the plain registry."""
    with running_proxy(plain_registry.host) as running:
        yield running


@pytest.fixture
def fresh() -> Callable[[str], Reference]:
    """A new repository on a host, so that tests share a registry but no state."""
    return lambda host: parse(f"{host}/team/adapter{next(_numbers)}:v1")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """About 100 KB, in a layer of 1 KB and one of the rest."""
    return adapter_image(tmp_path / "adapter")


@pytest.fixture
def client() -> Callable[..., Registry]:
    """A client for a running registry, with short waits; keywords change its options."""

    def make(registry: RunningRegistry | None = None, **changes: Any) -> Registry:
        paths = [registry.credentials] if registry and registry.credentials else []
        ca = registry.ca if registry else None
        options = dataclasses.replace(QUICK, ca_file=ca, **changes)
        return Registry(Credentials.load(paths), options)

    return make
