"""One tiny base model for all tests of serving."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.tiny import MODEL_ID, build_model

from serving.base import Base, read
from serving.plan import ServedModel


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base model's folder."""
    return build_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def base(tiny: Path) -> Base:
    """The base model as adapters see it."""
    return read(ServedModel(name="tiny", id=MODEL_ID), tiny, None)
