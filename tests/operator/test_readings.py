"""A Workspace is read when somebody has written it, and not when its pods change."""

from __future__ import annotations

from typing import Any

from rig.manifests import tuning

from jobs.installation import Installation
from readings import Readings

KEY = ("default", "w")


def body(**metadata: Any) -> dict[str, Any]:
    made = tuning()
    made["metadata"] = {"name": "w", "namespace": "default", "uid": "u", "generation": 1} | metadata
    return made


def readings() -> Readings:
    return Readings(Installation(tuner_image="registry.invalid/tuner:1"))


def test_it_is_read_once() -> None:
    kept = readings()
    first = kept.of(KEY, body())
    assert kept.of(KEY, {**body(), "status": {"state": "Running"}}) is first
    assert kept.of(KEY, body(resourceVersion="9")) is first


def test_whatever_a_user_writes_is_read() -> None:
    kept = readings()
    first = kept.of(KEY, body())
    changed = body(generation=2)
    changed["tuning"]["method"] = "lora"
    second = kept.of(KEY, changed)
    assert second.workspace and second.workspace.tuning
    assert second.workspace.tuning.method == "lora" and second.bare_hash != first.bare_hash
    retried = kept.of(KEY, body(generation=2, annotations={"tunery.sh/retry": "1"}))
    assert retried.bare_hash not in (first.bare_hash, second.bare_hash)


def test_another_one_of_the_same_name_is_read() -> None:
    kept = readings()
    first = kept.of(KEY, body())
    assert kept.of(KEY, body(uid="other")) is not first


def test_without_a_generation_nothing_is_kept() -> None:
    kept = readings()
    first = kept.of(KEY, body(generation=None))
    assert kept.of(KEY, body(generation=None)) is not first


def test_what_cannot_be_read_is_kept_too() -> None:
    kept = readings()
    found = kept.of(KEY, {**body(), "tuning": 7})
    assert found.workspace is None and found.problems
    assert kept.of(KEY, {**body(), "tuning": 7}) is found


def test_it_is_forgotten() -> None:
    kept = readings()
    first = kept.of(KEY, body())
    kept.forget(KEY)
    kept.forget(KEY)
    assert kept.of(KEY, body()) is not first
