"""A pod that is gone: the next, with an empty disk, goes on from the image beside the adapter."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import tiny
from rig.fault_proxy import Rule, Status, running_proxy
from rig.registry import RunningRegistry, running_registry
from rig.trained import Trained, Watcher, folder_sha256, go, go_elsewhere

from tuning import keeper, kept
from tuning.dataset.rows import Chat
from tuning.failure import Failure, Kind
from tuning.images import oci
from tuning.images.registry import Registry
from tuning.images.unpack import ADAPTER
from tuning.run import Output, Run
from tuning.train import train

STEPS = 20
SAVES = {"save_strategy": "steps", "save_steps": 5}
EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}


@pytest.fixture(scope="module")
def registry() -> Iterator[RunningRegistry]:
    with running_registry(deletes=True) as found:
        yield found


def pod(work: Path, base: Path, target: str, **training: object) -> Run:
    """The run of a pod with an empty disk, whatever was in the work folder before."""
    shutil.rmtree(work, ignore_errors=True)
    options = {"max_steps": STEPS, "num_train_epochs": 1, **training}
    run = tiny.make_run(work, base, lora={"lora_dropout": 0.2}, training=options)
    tiny.write_rows(run.places.rows_file)
    if "eval_strategy" in training:
        rows = [Chat(tuple(chat), (1,)) for chat in tiny.chats()[:8]]
        tiny.write_rows(run.places.eval_rows_file, rows)
    output = Output(kind="image", target=target, checkpoints=True)
    return run.model_copy(update={"output": output})


def stopped(run: Run, at: int = 6) -> Watcher:
    watcher = Watcher(stop_at=at)
    with pytest.raises(Failure) as stop:
        train(run, watcher.stop, watcher)
    assert stop.value.kind is Kind.INTERRUPTED
    return watcher


def noted(trained: Trained, text: str) -> bool:
    return any(text in note for note in trained.watcher.notes)


@pytest.mark.parametrize("training", [{}, EPOCHS], ids=["lora", "best kept"])
def test_the_next_pod_goes_on_to_the_same_bytes(
    registry: RunningRegistry, base: Path, tmp_path: Path, training: dict[str, object]
) -> None:
    target = f"{registry.host}/team/{tmp_path.name}:v1"
    whole = pod(tmp_path / "whole", base, f"{target}-whole", **training)
    expected = folder_sha256(go(whole).adapter)
    work = tmp_path / "pod"
    stopped(pod(work, base, target, **training), at=6)
    told = stopped(pod(work, base, target, **training), at=10).steps[-1]
    assert (told.step, told.kept_step) == (11, 11)
    resumed = go(pod(work, base, target, **training))
    assert noted(resumed, f"fetched the checkpoint of step 11 from {target}-checkpoint")
    assert noted(resumed, "going on from step 11 of 20")
    assert resumed.watcher.steps[0].kept_step == 11
    assert folder_sha256(resumed.adapter) == expected
    keeper.forget(resumed.run, pytest.fail)
    assert Registry().find(kept.place(resumed.run)) is None


def test_the_last_step_is_not_kept(registry: RunningRegistry, base: Path, tmp_path: Path) -> None:
    """The adapter itself is published next, so a short run leaves nothing to remove."""
    run = pod(tmp_path / "pod", base, f"{registry.host}/team/{tmp_path.name}:v1")
    go(run)
    assert Registry().find(kept.place(run)) is None


def test_a_changed_run_starts_afresh_and_takes_the_name_over(
    registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    target, work = f"{registry.host}/team/{tmp_path.name}:v1", tmp_path / "pod"
    stopped(pod(work, base, target))
    changed = pod(work, base, target, learning_rate=1e-3)
    other = go(changed)
    assert noted(other, f"{target}-checkpoint is of other settings, rows or weights and is not")
    assert not noted(other, "going on")
    stopped(pod(work, base, target, learning_rate=1e-3))
    assert noted(go(pod(work, base, target, learning_rate=1e-3)), "going on from step 7 of 20")


def test_an_image_of_somebody_else_is_left_alone(
    registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    run = pod(tmp_path / "pod", base, f"{registry.host}/team/{tmp_path.name}:v1")
    foreign = oci.assemble((), {"org.opencontainers.image.title": "mine"})
    Registry().push(foreign, kept.place(run))
    stopped(run)
    assert go(run).result.steps == STEPS
    keeper.forget(run, pytest.fail)
    assert Registry().find(kept.place(run)) == foreign.digest


def test_a_checkpoint_is_never_taken_for_an_adapter(
    registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    run = pod(tmp_path / "pod", base, f"{registry.host}/team/{tmp_path.name}:v1")
    stopped(run)
    with pytest.raises(Failure, match=r"no /data/adapter_config\.json"):
        Registry().pull(kept.place(run), tmp_path / "out", ADAPTER)


def test_a_registry_that_takes_no_checkpoint_does_not_hold_up_the_run(
    registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    with running_proxy(registry.host) as proxy:
        run = pod(tmp_path / "pod", base, f"{proxy.host}/team/{tmp_path.name}:v1", **SAVES)
        proxy.rules.append(Rule("PUT", "-checkpoint", Status(400), times=99))
        trained = go(run)
    assert trained.result.steps == STEPS
    (told,) = [note for note in trained.watcher.notes if "not kept outside this pod" in note]
    assert "no other will be" in told and "refused the tag v1-checkpoint (400)" in told


def test_a_run_that_fails_keeps_what_it_had(
    registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    """Out of memory at step 13, say: the next attempt goes on from the save before."""
    target, work = f"{registry.host}/team/{tmp_path.name}:v1", tmp_path / "pod"
    assert go_elsewhere(pod(work, base, target, **SAVES), fail_at=13) != 0
    assert noted(go(pod(work, base, target, **SAVES)), "going on from step 10 of 20")


def test_processes_that_train_together_go_on_together(
    registry: RunningRegistry, base: Path, tmp_path: Path
) -> None:
    digests = []
    for fail_at in (None, 13):
        target = f"{registry.host}/team/{tmp_path.name}:v{fail_at}"
        run = pod(tmp_path / "pod", base, target, **SAVES)
        if fail_at:
            assert go_elsewhere(run, fail_at=fail_at, processes=2) != 0
            found = kept.find(Registry(), kept.place(run))
            assert found is not None and found.step == 10
            run = pod(tmp_path / "pod", base, target, **SAVES)
        assert go_elsewhere(run, processes=2) == 0
        digests.append(folder_sha256(run.places.adapter_dir))
    assert digests[0] == digests[1]


def test_on_a_volume_what_is_saved_is_kept(base: Path, tmp_path: Path) -> None:
    run = pod(tmp_path / "pod", base, "unused/x:v1", **SAVES)
    places = run.places.model_copy(update={"scratch": str(tmp_path / "scratch")})
    output = Output(kind="folder", target=str(tmp_path / "out"))
    trained = go(run.model_copy(update={"places": places, "output": output}))
    seen = {now.kept_step for now in trained.watcher.steps}
    assert {None, 5, 10, 15} <= seen
