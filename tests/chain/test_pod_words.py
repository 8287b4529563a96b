"""`python -m tuning WORD RUN.json` as a pod runs it: exit codes and last words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rig.chain import Chain
from rig.registry import RunningRegistry
from rig.tiny import make_run, write_parquet

from tuning.run import Output, Run, write


@pytest.fixture
def run(tiny: Path, registry: RunningRegistry, tmp_path: Path) -> Run:
    """Four epochs of the tiny task, with a termination log as the kubelet mounts one."""
    made = make_run(tmp_path / "work", tiny, training={"num_train_epochs": 2})
    write_parquet(Path(made.data.path or ""))
    (tmp_path / "termination-log").touch()
    places = made.places.model_copy(update={"termination_log": str(tmp_path / "termination-log")})
    output = Output(kind="image", target=f"{registry.host}/pod/{tmp_path.name}:v1")
    return made.model_copy(update={"places": places, "output": output})


def speak(chain: Chain, run: Run, word: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, last words, log) of one word in a process of its own."""
    file = run.places.work_dir / "run.json"
    write(run, file)
    done = subprocess.run(
        [sys.executable, "-m", "tuning", word, str(file)],
        env=chain.env(),
        capture_output=True,
        text=True,
    )
    said = Path(run.places.termination_log or "").read_text()
    return done.returncode, json.loads(said), done.stderr


def test_three_words_make_an_image(chain: Chain, run: Run) -> None:
    code, said, log = speak(chain, run, "prepare")
    assert (code, said["phase"], said["state"], said["of"]) == (0, "prepare", "done", 8), log
    assert "rows: 64" in log
    code, said, log = speak(chain, run, "train")
    assert (code, said["phase"], said["state"], said["step"]) == (0, "train", "done", 8), log
    code, said, log = speak(chain, run, "push")
    assert (code, said["state"], said["image"]) == (0, "done", run.output.target), log
    assert said["digest"].startswith("sha256:")
    assert f"@{said['digest']}" in log


def test_tune_is_train_and_push_with_one_last_message(chain: Chain, run: Run) -> None:
    assert speak(chain, run, "prepare")[0] == 0
    code, said, log = speak(chain, run, "tune")
    assert (code, said["phase"], said["state"]) == (0, "push", "done"), log
    assert (said["image"], said["step"], said["of"]) == (run.output.target, 8, 8)
    assert said["loss"] > 0
    assert said["tokens"] > 0
    assert log.index("trained 8 steps") < log.index(f"@{said['digest']}")


def on_a_volume(run: Run, root: Path) -> Run:
    """The run of a pod whose output is a volume: its work is there too, downloads are not."""
    root.mkdir()
    (root / "somebody.txt").write_text("here first")
    places = run.places.model_copy(
        update={"work": str(root / ".tunery" / "0123456789"), "scratch": str(root.parent / "pod")}
    )
    output = Output(kind="folder", target=str(root))
    return run.model_copy(update={"places": places, "output": output})


def test_a_volume_gets_the_adapter_at_its_root(chain: Chain, run: Run, tmp_path: Path) -> None:
    volume = on_a_volume(run, tmp_path / "volume")
    volume.places.work_dir.mkdir(parents=True)
    for word in ("prepare", "tune"):
        code, said, log = speak(chain, volume, word)
        assert code == 0, log
    assert said["digest"].startswith("sha256:")
    root = tmp_path / "volume"
    assert (root / "somebody.txt").read_text() == "here first"
    for path in volume.places.adapter_dir.iterdir():
        assert (root / path.name).read_bytes() == path.read_bytes()

    # Another pod: its own disk is empty and the data is gone, but the work on the volume is whole.
    shutil.rmtree(tmp_path / "pod", ignore_errors=True)
    Path(run.data.path or "").unlink()
    (root / "adapter_config.json").unlink()
    code, said, log = speak(chain, volume, "prepare")
    assert code == 0 and "only the push is left" in log
    code, said, log = speak(chain, volume, "tune")
    assert (code, said["state"]) == (0, "done"), log
    assert "finished already" in log
    assert (root / "adapter_config.json").is_file()


def test_a_stop_between_train_and_push_is_75_and_publishes_nothing(
    chain: Chain, run: Run, tmp_path: Path
) -> None:
    volume = on_a_volume(run, tmp_path / "volume")
    volume.places.work_dir.mkdir(parents=True)
    assert speak(chain, volume, "prepare")[0] == 0
    file = volume.places.work_dir / "run.json"
    tuning = subprocess.Popen(
        [sys.executable, "-m", "tuning", "tune", str(file)],
        env=chain.env(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tuning.stderr is not None
    with tuning, tuning.stderr as log:
        for line in log:
            if line.startswith("step "):
                tuning.terminate()
                break
        log.read()
    assert tuning.returncode == 75
    assert not (tmp_path / "volume" / "adapter_config.json").exists()


def test_push_without_a_finished_training_publishes_nothing(chain: Chain, run: Run) -> None:
    code, said, _ = speak(chain, run, "push")
    assert (code, said["kind"]) == (78, "BadConfig")
    assert "no finished training" in said["sentence"]


def test_an_adapter_that_was_changed_is_not_pushed(chain: Chain, run: Run) -> None:
    for word in ("prepare", "train"):
        assert speak(chain, run, word)[0] == 0
    weights = run.places.adapter_dir / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, said, _ = speak(chain, run, "push")
    assert code == 78
    assert "is not what was trained" in said["sentence"]


def test_bad_data_is_65_with_its_sentence(chain: Chain, run: Run) -> None:
    Path(run.data.path or "").write_bytes(b"PAR1 not really")
    code, said, log = speak(chain, run, "prepare")
    assert (code, said["kind"], said["state"]) == (65, "BadData", "failed")
    assert said["sentence"] in log
    assert "Traceback" not in log


def test_a_run_file_that_is_none_is_78(chain: Chain, tmp_path: Path) -> None:
    for content in ("", "[]", '{"version": 2}', "\x00"):
        (tmp_path / "run.json").write_text(content)
        done = subprocess.run(
            [sys.executable, "-m", "tuning", "prepare", str(tmp_path / "run.json")],
            env=chain.env(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 78
        assert "Traceback" not in done.stderr
