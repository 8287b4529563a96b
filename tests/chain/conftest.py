"""A tiny model, its data and a real registry, shared by the tests of the whole chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.chain import Chain, write_workspace
from rig.kube import kube, machine, namespace, pytest_collection_modifyitems  # noqa: F401
from rig.registry import RunningRegistry, running_registry
from rig.tiny import build_model, write_parquet
from rig.turns import turn  # noqa: F401


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny base model."""
    return build_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 64 questions as a user's parquet file."""
    return write_parquet(tmp_path_factory.mktemp("codes") / "codes.parquet")


@pytest.fixture(scope="session")
def registry() -> Iterator[RunningRegistry]:
    with running_registry() as found:
        yield found


@pytest.fixture
def chain(tiny: Path, codes: Path, tmp_path: Path) -> Chain:
    """Four epochs: enough to train something, quick enough to do it often."""
    home = tmp_path / "home"
    home.mkdir()
    file = write_workspace(tmp_path / "tiny.yaml", num_train_epochs=6, save_steps=8)
    return Chain(file, tiny, codes, home)
