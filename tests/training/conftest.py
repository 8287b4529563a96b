"""One tiny base model and one trained run per method for all behaviour tests of a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rig import tiny
from rig.tiny import Method
from rig.trained import Trained, go


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two spinning OpenMP threads on shared cores are ten times slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model's folder; never written to."""
    return tiny.build_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def memorised(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Method], Trained]:
    """The whole memorising run, trained once per method."""
    done: dict[str, Trained] = {}

    def trained(method: Method) -> Trained:
        if method not in done:
            run = tiny.make_run(tmp_path_factory.mktemp(method), base, method)
            tiny.write_rows(run.places.rows_file)
            done[method] = go(run)
        return done[method]

    return trained
