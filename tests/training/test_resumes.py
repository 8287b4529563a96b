"""A run that was stopped or killed ends with the bytes of one that never was."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rig import tiny
from rig.tiny import Method
from rig.trained import folder_sha256, go, go_elsewhere

from tuning.dataset.rows import Chat
from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.training import checkpoint

STEPS = 20


def short(work: Path, base: Path, case: str) -> Run:
    """A run of 20 steps in the setting that is named."""
    method, lora, training, evaluates = CASES[case]
    options = {"max_steps": STEPS, "num_train_epochs": 1, **training}
    run = tiny.make_run(work, base, method, lora=lora, training=options)
    tiny.write_rows(run.places.rows_file)
    if evaluates:
        rows = [Chat(tuple(chat), (1,)) for chat in tiny.chats()[:8]]
        tiny.write_rows(run.places.eval_rows_file, rows)
    return run


Case = tuple[Method, Mapping[str, Any], Mapping[str, Any], bool]
SAVED = {"save_strategy": "steps", "save_steps": 5}
CASES: dict[str, Case] = {
    "lora": ("lora", {}, {}, False),
    "qlora": ("qlora", {}, {}, False),
    "dropout": ("lora", {"lora_dropout": 0.2}, {}, False),
    "dropout and accumulation": (
        "lora",
        {"lora_dropout": 0.2},
        {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4},
        False,
    ),
    "packing": (
        "lora",
        {"lora_dropout": 0.1},
        {"packing": True, "per_device_train_batch_size": 4},
        False,
    ),
    "qlora and dropout": ("qlora", {"lora_dropout": 0.2}, {}, False),
    "evaluation by steps": (
        "lora",
        {"lora_dropout": 0.2},
        {"eval_strategy": "steps", "eval_steps": 4},
        True,
    ),
    "evaluation and saving by epoch, best kept": (
        "lora",
        {"lora_dropout": 0.2},
        {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True},
        True,
    ),
    "activation checkpointing": ("lora", {}, {"gradient_checkpointing": True}, False),
    "dropout, saved": ("lora", {"lora_dropout": 0.2}, SAVED, False),
    "qlora, saved": ("qlora", {}, SAVED, False),
    "user's own saves": ("lora", {}, {"save_strategy": "steps", "save_steps": 3}, False),
}


@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith("saved")])
def test_a_stopped_run_goes_on_to_the_same_bytes(base: Path, tmp_path: Path, case: str) -> None:
    whole = go(short(tmp_path / "whole", base, case))
    run = short(tmp_path / "stopped", base, case)
    for stop_at in (6, 10):
        with pytest.raises(Failure) as stopped:
            go(run, stop_at=stop_at)
        assert stopped.value.kind is Kind.INTERRUPTED
        assert not run.places.adapter_dir.exists() and not run.places.result_file.exists()
    resumed = go(run)
    assert any("going on from step 11 of 20" in note for note in resumed.watcher.notes)
    assert next(now.step for now in resumed.watcher.steps if now.loss) == 12
    assert folder_sha256(resumed.adapter) == folder_sha256(whole.adapter)


@pytest.mark.parametrize("case", ["dropout, saved", "qlora, saved"])
def test_a_killed_run_goes_on_to_the_same_bytes(base: Path, tmp_path: Path, case: str) -> None:
    whole = go(short(tmp_path / "whole", base, case))
    run = short(tmp_path / "killed", base, case)
    assert go_elsewhere(run, kill_at=13) == -signal.SIGKILL
    assert not run.places.adapter_dir.exists() and not run.places.result_file.exists()
    resumed = go(run)
    assert any("going on from step 10" in note for note in resumed.watcher.notes)
    assert folder_sha256(resumed.adapter) == folder_sha256(whole.adapter)


def test_two_processes_that_train_together_resume_as_well(base: Path, tmp_path: Path) -> None:
    digests = []
    for kill_at in (None, 13):
        run = short(tmp_path / str(kill_at), base, "dropout, saved")
        if kill_at:
            assert go_elsewhere(run, kill_at=kill_at, processes=2) != 0
            assert not run.places.adapter_dir.exists()
        assert go_elsewhere(run, processes=2) == 0
        digests.append(folder_sha256(run.places.adapter_dir))
    assert digests[0] == digests[1]


def test_a_stopped_run_says_where_it_is_and_how_to_go_on(base: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure) as stopped:
        go(short(tmp_path, base, "lora"), stop_at=6)
    assert "step 7 of 20" in stopped.value.sentence and "run the same command again" in str(
        stopped.value
    )


def test_a_stop_before_the_first_step_trains_nothing(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "lora")
    with pytest.raises(Failure) as stopped:
        go(run, stop_at=0)
    assert stopped.value.kind is Kind.INTERRUPTED
    assert not run.places.adapter_dir.exists()


def test_a_stop_after_the_last_step_is_no_interruption(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "lora")
    assert go(run, stop_at=STEPS).result.steps == STEPS


def test_a_stop_in_an_evaluation_leaves_it_and_repeats_it(base: Path, tmp_path: Path) -> None:
    case = "evaluation by steps"
    whole = go(short(tmp_path / "whole", base, case))
    run = short(tmp_path / "stopped", base, case)
    with pytest.raises(Failure):
        go(run, stop_at=6)  # a checkpoint at step 7
    with pytest.raises(Failure) as stopped:
        go(run, stop_at=8)  # reported before the evaluation of step 8
    assert stopped.value.kind is Kind.INTERRUPTED and "step 8 of 20" in stopped.value.sentence
    assert folder_sha256(go(run).adapter) == folder_sha256(whole.adapter)


def test_a_stop_at_the_end_of_an_epoch_loses_no_evaluation(base: Path, tmp_path: Path) -> None:
    """The library would save the last step of an epoch, and evaluate after that."""
    case = "evaluation and saving by epoch, best kept"
    whole = go(short(tmp_path / "whole", base, case))
    run = short(tmp_path / "stopped", base, case)
    with pytest.raises(Failure):
        go(run, stop_at=7)  # so that it ends with step 8, the last of the second epoch
    assert folder_sha256(go(run).adapter) == folder_sha256(whole.adapter)


def test_a_finished_run_is_not_trained_again(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "lora")
    first = go(run)
    before = (run.places.adapter_dir / "adapter_model.safetensors").stat().st_mtime_ns
    again = go(run)
    assert again.result == first.result
    assert again.watcher.steps == []
    assert (run.places.adapter_dir / "adapter_model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "case", ["lora", "qlora", "evaluation by steps", "evaluation and saving by epoch, best kept"]
)
def test_a_run_killed_after_its_last_step_only_exports(
    base: Path, tmp_path: Path, case: str
) -> None:
    run = short(tmp_path, base, case)
    whole = folder_sha256(go(run).adapter)
    run.places.result_file.unlink()
    shutil.rmtree(run.places.adapter_dir)
    again = go(run)
    assert again.watcher.notes[-1] == "all 20 steps were done already; only the export is left"
    assert all(now.loss is None for now in again.watcher.steps)
    assert folder_sha256(again.adapter) == whole


def test_a_damaged_adapter_folder_is_exported_again(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "lora")
    whole = folder_sha256(go(run).adapter)
    (run.places.adapter_dir / "adapter_model.safetensors").write_bytes(b"half")
    assert folder_sha256(go(run).adapter) == whole


def _changed(run: Run, **training: object) -> Run:
    config = run.config.model_copy(update={"training": {**run.config.training, **training}})
    return run.model_copy(update={"config": config})


def test_a_changed_run_is_refused_by_name_and_the_checkpoint_kept(
    base: Path, tmp_path: Path
) -> None:
    run = short(tmp_path, base, "lora")
    with pytest.raises(Failure):
        go(run, stop_at=6)
    with pytest.raises(Failure) as refused:
        go(_changed(run, per_device_train_batch_size=8))
    assert refused.value.kind is Kind.BAD_CONFIG
    assert "per_device_train_batch_size was 16, is 8" in refused.value.sentence
    assert go(run).result.steps == STEPS


def test_changed_rows_are_refused(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "lora")
    with pytest.raises(Failure):
        go(run, stop_at=6)
    tiny.write_rows(run.places.rows_file, [Chat(tuple(c), (1,)) for c in tiny.chats()[::-1]])
    with pytest.raises(Failure, match="rows are others"):
        go(run)


def test_changed_base_weights_are_refused(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path / "work", base, "lora")
    with pytest.raises(Failure):
        go(run, stop_at=6)
    other = shutil.copytree(base, tmp_path / "other")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "model.safetensors").write_bytes(content)
    moved = run.model_copy(update={"model": run.model.model_copy(update={"path": str(other)})})
    with pytest.raises(Failure, match="base model's weights are others"):
        go(moved)


def test_a_changed_run_does_not_touch_a_finished_adapter(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "lora")
    whole = folder_sha256(go(run).adapter)
    with pytest.raises(Failure, match="another run") as refused:
        go(_changed(run, learning_rate=1e-3))
    assert refused.value.kind is Kind.BAD_CONFIG
    assert folder_sha256(run.places.adapter_dir) == whole


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"]
)
def test_a_broken_checkpoint_falls_back_and_still_ends_the_same(
    base: Path, tmp_path: Path, name: str
) -> None:
    whole = go(short(tmp_path / "whole", base, "dropout"))
    run = short(tmp_path / "broken", base, "dropout")
    for stop_at in (4, 9):
        with pytest.raises(Failure):
            go(run, stop_at=stop_at)
    (newest,) = run.places.work_dir.glob("checkpoint-10")
    (newest / name).write_bytes((newest / name).read_bytes()[:-7])
    resumed = go(run)
    assert any("checkpoint-10 is broken" in note for note in resumed.watcher.notes)
    assert any("going on from step 5" in note for note in resumed.watcher.notes)
    assert folder_sha256(resumed.adapter) == folder_sha256(whole.adapter)


def test_two_checkpoints_are_kept_and_no_pickle_among_them(base: Path, tmp_path: Path) -> None:
    run = short(tmp_path, base, "user's own saves")
    go(run)
    folders = sorted(path.name for path in run.places.work_dir.glob("checkpoint-*"))
    assert folders == ["checkpoint-18", "checkpoint-20"]
    names = {path.name for path in (run.places.work_dir / "checkpoint-20").iterdir()}
    assert names == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
        checkpoint.SEAL,
    }
