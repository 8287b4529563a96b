"""Weights from a folder or a hub (a real HTTP one on this machine, in a fresh process each)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.hub import Hub, hub
from rig.tiny import make_run

from tuning.failure import Failure, Kind
from tuning.run import Run, write
from tuning.weights import obtain

CODE = """
import sys
from pathlib import Path
from tuning.failure import Failure
from tuning.run import read
from tuning.weights import obtain
try:
    found = obtain(read(Path(sys.argv[1])))
    print(found.folder, found.revision)
except Failure as failure:
    print(failure.kind.name, failure.sentence)
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


@pytest.fixture
def server(repo: Path) -> Iterator[Hub]:
    with hub({"models/org/name": repo}) as found:
        yield found


def a_run(tmp_path: Path, **model: object) -> Run:
    run = make_run(tmp_path / "work", tmp_path)
    source = run.model.model_copy(
        update={"id": "org/name", "path": None, "revision": None, **model}
    )
    return run.model_copy(update={"model": source})


def ask(server: Hub, run: Run) -> str:
    """What a fresh process says: the hub's address is read when huggingface_hub is imported."""
    file = run.places.work_dir / "run.json"
    write(run, file)
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(file.parent / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(file)], env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def test_a_download_is_pinned_and_takes_no_pickle(tmp_path: Path, server: Hub) -> None:
    run = a_run(tmp_path)
    assert ask(server, run) == f"{run.places.model_dir} {server.commit('models/org/name')}"
    names = {p.name for p in run.places.model_dir.iterdir() if not p.name.startswith(".")}
    assert names == {"config.json", "model.safetensors"}


def test_a_finished_download_asks_nobody_again(tmp_path: Path, server: Hub) -> None:
    run = a_run(tmp_path)
    first = ask(server, run)
    server.log.clear()
    assert ask(server, run) == first
    assert server.log == []


def test_what_may_pass_is_tried_again(tmp_path: Path, server: Hub) -> None:
    server.failures = [503, 429]
    assert server.commit("models/org/name") in ask(server, a_run(tmp_path))


def test_a_gated_model_without_a_token(tmp_path: Path, server: Hub) -> None:
    server.token = "hf_secret"
    answer = ask(server, a_run(tmp_path))
    assert answer.startswith("NO_ACCESS org/name is gated")
    assert "presetOptions.modelAccessSecret" in answer


def test_a_gated_model_with_its_token(tmp_path: Path, server: Hub) -> None:
    server.token = "hf_secret"
    token = tmp_path / "token"
    token.write_text("hf_secret\n")
    run = a_run(tmp_path)
    places = run.places.model_copy(update={"hub_token": str(token)})
    assert server.commit("models/org/name") in ask(
        server, run.model_copy(update={"places": places})
    )


def test_a_model_that_is_not_there(tmp_path: Path, server: Hub) -> None:
    assert ask(server, a_run(tmp_path, id="org/nothing")).startswith("NO_ACCESS org/nothing is not")


def test_a_revision_that_is_not_there(tmp_path: Path, server: Hub) -> None:
    assert ask(server, a_run(tmp_path, revision="f" * 40)).startswith("BAD_CONFIG org/name has no")


def test_a_model_of_pickles_only(tmp_path: Path, server: Hub, repo: Path) -> None:
    (repo / "model.safetensors").unlink()
    assert ask(server, a_run(tmp_path)).startswith("BAD_CONFIG org/name has no safetensors")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_model(tmp_path: Path, repo: Path, missing: str) -> None:
    (repo / missing).unlink()
    with pytest.raises(Failure, match=r"has no .*save_pretrained") as caught:
        obtain(a_run(tmp_path, path=str(repo)))
    assert caught.value.kind is Kind.BAD_CONFIG


def test_a_token_that_cannot_be_read(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    places = run.places.model_copy(update={"hub_token": str(tmp_path / "no")})
    with pytest.raises(Failure, match="token cannot be read"):
        obtain(run.model_copy(update={"places": places}))


@pytest.mark.parametrize("place", [".", "weights", "workspace/tfs/weights", "model"])
def test_a_mounted_image_may_hold_the_model_in_a_folder(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "image" / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    assert obtain(a_run(tmp_path, path=str(tmp_path / "image"))).folder == folder.resolve()
