"""Checkpoints on their way to a real registry, while nothing waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.checkpoints import VERSIONS, known, saved
from rig.fault_proxy import FaultProxy, Hold, Rule, Status, running_proxy
from rig.registry import RunningRegistry, running_registry

from tuning import kept
from tuning.failure import Failure, Kind
from tuning.images import oci, tarball
from tuning.images.oci import Layer
from tuning.images.registry import Registry
from tuning.keeper import Keeper
from tuning.reference import Reference
from tuning.training import checkpoint

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]

UPLOAD = "/blobs/uploads/"
STOPPED = Failure(Kind.INTERRUPTED, "stopped")


@pytest.fixture(scope="module")
def deleting() -> Iterator[RunningRegistry]:
    """A registry that lets images be removed."""
    with running_registry(deletes=True) as found:
        yield found


@pytest.fixture
def proxy(deleting: RunningRegistry) -> Iterator[FaultProxy]:
    with running_proxy(deleting.host) as running:
        yield running


class Kept:
    """A keeper with a work folder, and what it said."""

    def __init__(self, registry: Registry, name: Reference, work: Path) -> None:
        self.notes: list[str] = []
        self.registry, self.name, self.work = registry, name, work
        self.keeper = Keeper(registry, name, work, self._note)
        self._said = threading.Condition()

    def _note(self, text: str) -> None:
        with self._said:
            self.notes.append(text)
            self._said.notify()

    def says(self, text: str) -> None:
        with self._said:
            assert self._said.wait_for(lambda: any(text in note for note in self.notes), 20)

    @property
    def step(self) -> int | None:
        found = kept.find(self.registry, self.name)
        return found and found.step


@pytest.fixture
def make(fresh: Fresh, client: Client, tmp_path: Path) -> Callable[..., Kept]:
    def made(host: str, **options: Any) -> Kept:
        return Kept(client(**options), fresh(host), tmp_path / "work")

    return made


def test_the_newest_is_kept_and_the_one_before_removed(
    make: Callable[..., Kept], deleting: RunningRegistry
) -> None:
    one = make(deleting.host)
    with one.keeper as keeper:
        keeper.offer(saved(one.work, 5))
        one.says("kept the checkpoint of step 5")
        first = one.registry.resolve(one.name)
        keeper.offer(saved(one.work, 10))
        one.says("kept the checkpoint of step 10")
        assert keeper.step == 10
    assert one.step == 10
    assert one.registry.find(one.name.at(first)) is None


def test_where_nothing_is_removed_the_newest_is_kept_all_the_same(
    make: Callable[..., Kept], plain_registry: RunningRegistry
) -> None:
    one = make(plain_registry.host)
    with one.keeper as keeper:
        for step in (5, 10):
            keeper.offer(saved(one.work, step))
            one.says(f"kept the checkpoint of step {step}")
    assert one.step == 10
    assert kept.forget(one.registry, one.name) is False


def test_the_best_one_travels_with_the_newest_and_is_sent_once(
    make: Callable[..., Kept], proxy: FaultProxy, tmp_path: Path
) -> None:
    one = make(proxy.host)
    best = saved(one.work, 5)
    with one.keeper as keeper:
        keeper.offer(best, best)
        one.says("kept the checkpoint of step 5")
        before = len(proxy.log_of("PUT", UPLOAD))
        keeper.offer(saved(one.work, 10), best)
        one.says("kept the checkpoint of step 10")
    # The new layer and the new config.
    assert len(proxy.log_of("PUT", UPLOAD)) == before + 2
    found = kept.find(one.registry, one.name)
    assert found is not None
    kept.fetch(one.registry, found, tmp_path / "next")
    assert [c.step for c in checkpoint.sealed_in(tmp_path / "next")] == [5, 10]
    assert checkpoint.choose(tmp_path / "next", known(), VERSIONS)[1] == ()


@pytest.fixture
def sending(proxy: FaultProxy) -> Callable[[Kept], Hold]:
    """Offers the checkpoint of step 5; returns in the middle of its upload."""

    def begun(one: Kept) -> Hold:
        hold = Hold(10)
        proxy.rules.append(Rule("PUT", UPLOAD, hold))
        one.keeper.offer(saved(one.work, 5))
        assert hold.reached.wait(20)
        return hold

    return begun


def test_a_checkpoint_that_is_rotated_away_is_still_kept(
    make: Callable[..., Kept], proxy: FaultProxy, sending: Callable[[Kept], Hold]
) -> None:
    one = make(proxy.host)
    with one.keeper:
        hold = sending(one)
        saved(one.work, 10)
        checkpoint.rotate(one.work, keep=1)
        hold.release.set()
        one.says("kept the checkpoint of step 5")


def test_while_one_is_sent_only_the_newest_waits(
    make: Callable[..., Kept], proxy: FaultProxy, sending: Callable[[Kept], Hold]
) -> None:
    one = make(proxy.host)
    with one.keeper as keeper:
        hold = sending(one)
        keeper.offer(saved(one.work, 10))
        keeper.offer(saved(one.work, 15))
        hold.release.set()
        one.says("kept the checkpoint of step 15")
    assert [note.split(" as ")[0][-2:].strip() for note in one.notes] == ["5", "15"]


@pytest.mark.parametrize(
    ("error", "left"),
    [(STOPPED, 10), (RuntimeError("out of memory"), 10), (None, None), (KeyboardInterrupt(), None)],
)
def test_a_run_that_stops_keeps_the_newest_and_one_that_is_done_nothing(
    make: Callable[..., Kept],
    proxy: FaultProxy,
    sending: Callable[[Kept], Hold],
    error: BaseException | None,
    left: int | None,
) -> None:
    one = make(proxy.host)
    one.keeper.__enter__()
    hold = sending(one)
    one.keeper.offer(saved(one.work, 10))
    threading.Timer(0.3, hold.release.set).start()
    one.keeper.__exit__(type(error) if error else None, error, None)
    assert one.step == left
    assert not any("step 5" in note for note in one.notes)
    assert not (one.work / ".keeping").exists()


def test_a_registry_that_is_down_costs_that_checkpoint_only(
    make: Callable[..., Kept], proxy: FaultProxy
) -> None:
    one = make(proxy.host)
    down = Rule("HEAD", "", Status(503), times=10**6)
    proxy.rules.append(down)
    with one.keeper as keeper:
        keeper.offer(saved(one.work, 5))
        one.says("step 5 is not kept outside this pod, the next one may be")
        proxy.rules.remove(down)
        keeper.offer(saved(one.work, 10))
        one.says("kept the checkpoint of step 10")


def test_a_registry_that_is_down_at_the_start_is_no_reason_to_start_from_zero(
    make: Callable[..., Kept], proxy: FaultProxy
) -> None:
    one = make(proxy.host)
    proxy.rules.append(Rule("HEAD", "", Status(503), times=10**6))
    with pytest.raises(Failure) as failed:
        one.keeper.fetch(known())
    assert failed.value.kind is Kind.UNAVAILABLE


def test_a_login_that_may_not_pull_is_told_once(
    make: Callable[..., Kept], proxy: FaultProxy
) -> None:
    one = make(proxy.host)
    proxy.rules.append(Rule("HEAD", "", Status(403), times=10**6))
    with one.keeper as keeper:
        keeper.fetch(known())
        keeper.offer(saved(one.work, 5))
    assert len(one.notes) == 1 and "no checkpoint is taken from" in one.notes[0]


def test_a_checkpoint_of_its_own_goes_before_the_one_of_the_registry(
    make: Callable[..., Kept], deleting: RunningRegistry
) -> None:
    one = make(deleting.host)
    with one.keeper as keeper:
        keeper.offer(saved(one.work, 5))
        one.says("kept the checkpoint of step 5")
    keeper.fetch(known())
    assert one.notes == [f"kept the checkpoint of step 5 as {one.name}"]


def _push(one: Kept, files: dict[str, bytes], step: str = "5", folder: str = "") -> None:
    name = f"{oci.FOLDER}/{folder or 'checkpoint-5'}"
    layer = Layer("checkpoint.tar", tarball.tar(name, dict(files)))
    said = {"sh.tunery.checkpoint.facts": known().digest()}
    said["sh.tunery.checkpoint.step"] = step
    one.registry.push(oci.assemble((layer,), said), one.name)


def _files(work: Path) -> dict[str, bytes]:
    folder = saved(work, 5)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("step", ["", "-5", "5.0", "9" * 13, "٥"])
def test_an_image_without_a_step_is_nobodys(
    make: Callable[..., Kept], deleting: RunningRegistry, tmp_path: Path, step: str
) -> None:
    one = make(deleting.host)
    _push(one, _files(tmp_path), step)
    one.keeper.fetch(known())
    assert not checkpoint.sealed_in(one.work) and one.notes == []


def test_a_changed_byte_is_found_and_the_run_starts_afresh(
    make: Callable[..., Kept], deleting: RunningRegistry, tmp_path: Path
) -> None:
    one = make(deleting.host)
    _push(one, {**_files(tmp_path), "optimizer.pt": b"x" * 200})
    one.keeper.fetch(known())
    found, warnings = checkpoint.choose(one.work, known(), VERSIONS)
    assert found is None
    assert "optimizer.pt is damaged" in warnings[0]


def test_files_that_no_checkpoint_has_are_left_out(
    make: Callable[..., Kept], deleting: RunningRegistry, tmp_path: Path
) -> None:
    one = make(deleting.host)
    _push(one, {**_files(tmp_path), "training_args.bin": b"pickle", "evil.py": b"import os"})
    one.keeper.fetch(known())
    found, _ = checkpoint.choose(one.work, known(), VERSIONS)
    assert found is not None and found.step == 5
    names = {path.name for path in found.folder.iterdir()}
    assert not names & {"training_args.bin", "evil.py"}


@pytest.mark.parametrize("folder", ["", "..", "../../outside", "other", "checkpoint-7"])
def test_an_image_with_nothing_in_its_place_is_not_gone_on_from(
    make: Callable[..., Kept], deleting: RunningRegistry, tmp_path: Path, folder: str
) -> None:
    one = make(deleting.host)
    files = {} if not folder else _files(tmp_path)
    _push(one, files, folder=folder)
    one.keeper.fetch(known())
    assert checkpoint.choose(one.work, known(), VERSIONS)[0] is None
    assert {path.name for path in tmp_path.iterdir()} <= {"work", "checkpoint-5"}


def test_the_facts_of_an_equal_run_are_equal_whatever_it_is_called() -> None:
    said = known(settings={"x": 1})
    assert said.digest() == known().digest()
    for field in ("identity", "data_sha256", "base_weights", "precision"):
        assert known(**{field: "other"}).digest() != known().digest()
