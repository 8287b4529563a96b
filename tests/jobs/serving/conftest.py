"""An inference Workspace → its serving, without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from rig.manifests import Changes, inference

from jobs.context import Context
from jobs.installation import Installation
from jobs.serving.order import ServeOrder, order
from jobs.serving.sources import Surroundings, resolve
from jobs.workspace import Workspace, parse
from presets import Catalog, load

INSTALLATION = Installation(tuner_image="registry.invalid/tunery-tuner:1")
Ordered = Callable[..., ServeOrder]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load()


@pytest.fixture(scope="session")
def ordered(catalog: Catalog) -> Ordered:
    """The order of `inference(changes)`; keywords change what is around it."""

    def call(
        changes: Changes | None = None,
        installation: Installation = INSTALLATION,
        config: str | None = None,
        around: Surroundings | None = None,
        gpus: int | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> ServeOrder:
        workspace = read(body or inference(changes))
        name = workspace.inference.config if workspace.inference else None
        maps = {(workspace.namespace, name): {"inference_config.yaml": config}} if config else {}
        ref = workspace.inference.preset if workspace.inference else None
        preset = catalog.preset(ref.name) if ref else None
        card = catalog.gpu(workspace.resource.instance_type or "")
        around = around or Surroundings({})
        return order(
            workspace,
            run_hash="a" * 64,
            revision=3,
            sources=resolve(workspace, preset, around) if preset else resolve_none(),
            card=card,
            gpus=gpus if gpus is not None else (card.count if card else 1),
            context=Context(catalog, config_maps=maps),  # type: ignore[arg-type]  # name is a text
            installation=installation,
        )

    return call


def resolve_none() -> Any:
    from jobs.serving.sources import Sources

    return Sources()


def read(body: Mapping[str, Any]) -> Workspace:
    workspace, problems = parse(body)
    assert workspace is not None and problems == ()
    return workspace
