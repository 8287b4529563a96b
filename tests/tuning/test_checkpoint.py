from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.checkpoints import FILES, VERSIONS, known, saved, written

from tuning.failure import Failure, Kind
from tuning.training import checkpoint
from tuning.training.checkpoint import SEAL, Checkpoint, Facts


def choose(work: Path, facts: Facts) -> tuple[Checkpoint | None, tuple[str, ...]]:
    return checkpoint.choose(work, facts, VERSIONS)


def test_the_newest_is_chosen_by_its_number_not_by_its_clock(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        os.utime(saved(tmp_path, step), (1, 1000 - step))
    found, warnings = choose(tmp_path, known())
    assert found is not None and found.step == 100
    assert warnings == ()


def test_no_folder_is_no_checkpoint(tmp_path: Path) -> None:
    assert choose(tmp_path / "none", known()) == (None, ())


def test_what_the_trainer_leaves_behind_is_removed_and_never_loaded(tmp_path: Path) -> None:
    folder = written(tmp_path, 1)
    for name in ("training_args.bin", "README.md", "tokenizer.json"):
        (folder / name).write_bytes(b"pickle")
    (folder / "extra").mkdir()
    checkpoint.seal(folder, 1, known(), {})
    assert {path.name for path in folder.iterdir()} == {*FILES, SEAL}


def test_a_folder_without_a_needed_file_is_not_sealed(tmp_path: Path) -> None:
    folder = written(tmp_path, 1)
    (folder / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match=r"optimizer\.pt"):
        checkpoint.seal(folder, 1, known(), {})
    assert not (folder / SEAL).exists()


def test_every_rank_must_have_saved_its_random_state(tmp_path: Path) -> None:
    folder = written(tmp_path, 1)
    (folder / "rng_state.pth").rename(folder / "rng_state_0.pth")
    with pytest.raises(ValueError, match="rng_state_1"):
        checkpoint.seal(folder, 1, known(world_size=2), {})
    (folder / "rng_state_1.pth").write_bytes(b"r")
    checkpoint.seal(folder, 1, known(world_size=2), {})
    assert choose(tmp_path, known(world_size=2))[0] is not None


def _truncate(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"w")


def _flip(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"x" + FILES[name][1:])


def _lose(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _edit_seal(key: str, value: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        seal = json.loads((folder / SEAL).read_bytes())
        (folder / SEAL).write_text(json.dumps(seal | {key: value}))

    return edit


BREAKAGES = {
    **{f"lost {name}": _lose(name) for name in FILES},
    **{f"truncated {name}": _truncate(name) for name in FILES if len(FILES[name]) > 2},
    **{f"flipped {name}": _flip(name) for name in FILES},
    "empty seal": lambda folder: (folder / SEAL).write_bytes(b""),
    "half a seal": lambda folder: (folder / SEAL).write_bytes((folder / SEAL).read_bytes()[:50]),
    "seal of another step": _edit_seal("step", 7),
    "seal that names no files": _edit_seal("files", {}),
    "seal that names a file elsewhere": _edit_seal(
        "files", dict.fromkeys([*FILES, "../secret"], "0" * 64)
    ),
    "a folder where a file was": lambda folder: (
        (folder / "optimizer.pt").unlink(),
        (folder / "optimizer.pt").mkdir(),
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_newest_falls_back_to_the_older_one_with_a_warning(
    tmp_path: Path, breakage: str
) -> None:
    saved(tmp_path, 10)
    newest = saved(tmp_path, 20)
    BREAKAGES[breakage](newest)
    found, warnings = choose(tmp_path, known())
    assert found is not None and found.step == 10
    assert len(warnings) == 1 and "checkpoint-20 is broken" in warnings[0]
    assert not newest.exists(), "a later save must not mix with what is left of it"


def test_a_half_written_newest_is_passed_over_in_silence(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    half = written(tmp_path, 20)
    found, warnings = choose(tmp_path, known())
    assert found is not None and found.step == 10
    assert warnings == () and not half.exists()


def test_only_broken_ones_is_a_fresh_start(tmp_path: Path) -> None:
    BREAKAGES["lost optimizer.pt"](saved(tmp_path, 10))
    found, warnings = choose(tmp_path, known())
    assert found is None and len(warnings) == 1


CHANGES = {
    "other settings": ({"identity": "j", "settings": {"config.lora.r": 8}}, "lora.r was 16, is 8"),
    "other rows": ({"data_sha256": "e"}, "rows are others"),
    "other base": ({"base_weights": "c"}, "base model's weights"),
    "more GPUs": ({"world_size": 2}, "it ran on 1 GPUs, now 2"),
    "other precision": ({"precision": "float16"}, "float32, now float16"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_run_is_refused_with_what_has_changed(tmp_path: Path, change: str) -> None:
    changed, words = CHANGES[change]
    folder = saved(tmp_path, 10)
    with pytest.raises(Failure) as refused:
        choose(tmp_path, known(**changed))
    assert refused.value.kind is Kind.BAD_CONFIG
    assert words in refused.value.sentence and "start afresh" in refused.value.sentence
    assert folder.exists(), "somebody's work is never deleted"


def test_settings_that_are_not_part_of_the_identity_refuse_nothing(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    assert choose(tmp_path, known(settings={}))[0] is not None


def test_other_library_versions_are_told_and_go_on(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    found, warnings = checkpoint.choose(tmp_path, known(), {"torch": "3", "peft": "1"})
    assert found is not None and "torch 2 → 3" in warnings[0]


def test_rotation_keeps_the_newest_two_and_the_best(tmp_path: Path) -> None:
    folders = [saved(tmp_path, step) for step in (5, 10, 15, 20)]
    half = written(tmp_path, 30)
    checkpoint.rotate(tmp_path, spare=folders[0])
    assert [folder.exists() for folder in folders] == [True, False, True, True]
    assert half.exists(), "a save in progress is not rotated"


def test_rotation_never_removes_the_only_one(tmp_path: Path) -> None:
    only = saved(tmp_path, 5)
    checkpoint.rotate(tmp_path, keep=0)
    assert only.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=st.text(alphabet="checkpoint-0123456789.x", min_size=1, max_size=20))
def test_other_folders_are_left_alone(tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    other = work / f"x{name}".replace("/", "_")
    other.mkdir(parents=True, exist_ok=True)
    assert choose(work, known())[0] is None
    assert other.exists()


@settings(max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_seal_are_a_broken_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    work = tmp_path_factory.mktemp("work")
    (saved(work, 3) / SEAL).write_bytes(content)
    found, warnings = choose(work, known())
    assert found is None and len(warnings) == 1
