"""Adapter images to be served by an installed Tunery, good and bad, made on this side once.

from rig.served import codes_adapter, codes_image  # noqa: F401  fixtures
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rig import tiny, trained
from rig.kube import Machine, volume_image

from cluster.addresses import REGISTRY


@pytest.fixture(scope="session")
def codes_adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that knows the codes."""
    run = tiny.make_run(tmp_path_factory.mktemp("codes"), tiny_base)
    run.places.rows_file.parent.mkdir(parents=True, exist_ok=True)
    tiny.write_rows(run.places.rows_file)
    assert trained.go_elsewhere(run) == 0
    return run.places.adapter_dir


@pytest.fixture(scope="session")
def codes_image(
    machine: Machine, codes_adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The same as an image, in the form of KAITO's."""
    return pushed(machine, codes_adapter, tmp_path_factory.mktemp("image"), "codes")


def pushed(
    machine: Machine,
    adapter: Path,
    folder: Path,
    name: str,
    change: Callable[[Path], object] = lambda data: None,
) -> str:
    """An adapter's image in the registry beside the cluster, with `change` done to its files."""
    data = folder / name / "data"
    shutil.copytree(adapter, data)
    change(data)
    # Nodes keep what they have pulled: other contents need another tag.
    contents = hashlib.sha256(json.dumps(trained.folder_sha256(data)).encode()).hexdigest()
    reference = f"{REGISTRY}/test/{name}-adapter:{contents[:12]}"
    volume_image(machine, folder / name, reference)
    return reference


def of_another_base(data: Path) -> None:
    """Its configuration names another model."""
    path = data / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "base_model_name_or_path": "org/another-model"}))
    (data / "training.json").unlink()  # Tunery's own record, which knows better


def without_weights(data: Path) -> None:
    (data / "adapter_model.safetensors").unlink()


def cut(data: Path) -> None:
    """Half of the weights."""
    path = data / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_config(data: Path) -> None:
    (data / "adapter_config.json").unlink()


def noise(data: Path) -> None:
    """Weights of the right length that are no safetensors."""
    path = data / "adapter_model.safetensors"
    path.write_bytes((4096).to_bytes(8, "little") + b"\x5a" * (path.stat().st_size - 8))


def not_finite(data: Path) -> None:
    """The last numbers of the weights are NaN, as after a training that diverged."""
    path = data / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-64] + b"\xff" * 64)


def configured(**values: object) -> Callable[[Path], None]:
    """A change of adapter_config.json, and of nothing else."""

    def change(data: Path) -> None:
        path = data / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change
