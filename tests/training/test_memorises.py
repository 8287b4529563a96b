"""The chain's heart on real parts: TRL, PEFT, bitsandbytes, a real (tiny) model."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rig import tiny
from rig.tiny import Method
from rig.trained import Trained, folder_sha256, go, go_elsewhere
from safetensors.torch import load_file

from tuning.run import Run
from tuning.training import device, export, model

Memorised = Callable[[Method], Trained]
METHODS: tuple[Method, ...] = ("lora", "qlora")
PUBLISHED = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "loss.svg",
    "training.json",
}


def test_the_base_knows_no_code(base: Path) -> None:
    assert tiny.exact(base, None) == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_adapter_knows_every_code(base: Path, memorised: Memorised, method: Method) -> None:
    assert tiny.exact(base, memorised(method).adapter) == 64


def test_a_bfloat16_base_learns_as_well(base: Path, tmp_path: Path) -> None:
    run = tiny.make_run(tmp_path, base, dtype=None)
    tiny.write_rows(run.places.rows_file)
    trained = go(run)
    assert any("bfloat16" in note for note in trained.watcher.notes)
    assert tiny.exact(base, trained.adapter) >= 60


@pytest.mark.parametrize("method", METHODS)
def test_every_adapter_weight_moved_and_is_float32(
    base: Path, memorised: Memorised, method: Method
) -> None:
    run = memorised(method).run
    fresh = model.add_adapter(model.load_base(run, _cpu(run)), run, seed=0)
    start = {name.replace(".default", ""): p for name, p in model.trainable(fresh).items()}
    end = load_file(memorised(method).adapter / export.WEIGHTS)
    assert start.keys() == end.keys() and len(end) == 28
    for name, weight in end.items():
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, start[name].data), name


def test_the_base_folder_is_untouched(base: Path, memorised: Memorised) -> None:
    before = folder_sha256(base)
    memorised("lora")
    assert folder_sha256(base) == before


@pytest.mark.parametrize("method", METHODS)
def test_the_folder_is_what_is_published_and_readable_by_all(
    memorised: Memorised, method: Method
) -> None:
    folder = memorised(method).adapter
    assert {path.name for path in folder.iterdir()} == PUBLISHED
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_no_file_of_it_names_this_machine(base: Path, memorised: Memorised) -> None:
    trained = memorised("lora")
    for path in trained.adapter.iterdir():
        content = path.read_bytes()
        for place in (base, trained.run.places.work):
            assert str(place).encode() not in content, path.name


def test_the_adapter_names_its_public_base(memorised: Memorised) -> None:
    config = json.loads((memorised("lora").adapter / export.CONFIG).read_bytes())
    assert config["base_model_name_or_path"] == tiny.MODEL_ID
    assert config["revision"] == "0" * 40
    assert config["target_modules"] == sorted(config["target_modules"])


@pytest.mark.parametrize("method", METHODS)
def test_the_result_says_what_was_done(memorised: Memorised, method: Method) -> None:
    trained = memorised(method)
    result = trained.result
    weights = (trained.adapter / export.WEIGHTS).read_bytes()
    assert result.adapter_sha256 == hashlib.sha256(weights).hexdigest()
    assert result.steps == 160 and result.epochs == 40
    assert result.tokens % 40 == 0
    # three digits and the end token of each of 64 answers, 40 times
    assert result.tokens_with_loss == 64 * 4 * 40
    assert result.final_loss < 0.1 < result.train_loss
    assert result.eval_loss is None
    assert 0 < result.seconds < 300 and 0 < result.peak_memory_gib < 24


def test_progress_reaches_a_hundred_percent_once(memorised: Memorised) -> None:
    steps = memorised("lora").watcher.steps
    assert [now.step for now in steps] == list(range(161))
    assert [now.percent for now in steps].count(100) == 1
    assert steps[-1].eta_s == 0 and (steps[80].tokens_per_s or 0) > 0


def test_the_work_folder_holds_nothing_unexpected(memorised: Memorised) -> None:
    run = memorised("lora").run
    names = {path.name for path in run.places.work_dir.iterdir()}
    assert names == {"rows.jsonl", "adapter", "result.json", "checkpoint-160"}


def test_equal_runs_give_equal_bytes_in_other_processes(base: Path, tmp_path: Path) -> None:
    folders = []
    for hash_seed in (1, 2):
        run = tiny.make_run(tmp_path / str(hash_seed), base, training={"max_steps": 6})
        tiny.write_rows(run.places.rows_file)
        assert go_elsewhere(run, hash_seed=hash_seed) == 0
        folders.append(folder_sha256(run.places.adapter_dir))
    assert folders[0].keys() == PUBLISHED
    assert folders[0] == folders[1]


def test_another_seed_gives_another_adapter(base: Path, tmp_path: Path) -> None:
    digests = set()
    for seed in (0, 1):
        run = tiny.make_run(tmp_path / str(seed), base, training={"seed": seed, "max_steps": 4})
        tiny.write_rows(run.places.rows_file)
        digests.add(go(run).result.adapter_sha256)
    assert len(digests) == 2


def _cpu(run: Run) -> device.Device:
    return device.choose(run, device.here())
