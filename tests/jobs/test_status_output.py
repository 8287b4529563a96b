"""The status names the adapter that a run has made, and no other."""

from __future__ import annotations

from dataclasses import replace

from rig.lives import COMPLETE, DIGEST, PUSHED, SUCCESS, at, condition, ended, life
from rig.statuses import HASH, RUN, facts

from jobs.status import status


def test_the_adapter_is_known_after_everything_is_gone() -> None:
    last = life(*SUCCESS)[-1]
    assert last["output"] == {
        "image": "registry.example/team/adapter:1",
        "digest": DIGEST,
        "sizeBytes": 1234,
        "baseModel": "org/base",
        "baseRevision": "abcdef",
        "metrics": {"steps": "64", "loss": "0.0213", "evalLoss": "0.5", "tokens": "57600"},
    }
    assert last["run"] == {
        "revision": 1,
        "hash": HASH,
        "snapshot": RUN.snapshot,
        "startedAt": at(0, 2),
        "finishedAt": at(4),
        "outcome": "Succeeded",
    }
    assert last["progress"] == {
        "step": 64,
        "of": 64,
        "percent": 100,
        "loss": "0.0213",
        "gpuSeconds": 240,
        "updatedAt": at(4),
    }


def test_a_digest_that_comes_late_is_taken() -> None:
    missed, known = life((facts(COMPLETE, []), at(4)), (facts(COMPLETE, [ended(0, PUSHED)]), at(5)))
    assert "digest" not in missed["output"]
    assert "no digest is known" in condition(missed, "WorkspaceSucceeded")["message"]
    assert known["output"]["digest"] == DIGEST
    assert condition(known, "WorkspaceSucceeded")["message"].endswith(f"adapter@{DIGEST}")


def test_success_needs_no_job() -> None:
    """Deleted by hand in the second between the pod's end and its own completion."""
    told = status(facts(None, [ended(0, PUSHED)]), {}, at(5))
    assert (told["state"], told["output"]["digest"]) == ("Succeeded", DIGEST)


def test_a_digest_that_is_none_is_not_told() -> None:
    lies = PUSHED.replace(DIGEST, "sha256:x")
    assert "digest" not in status(facts(COMPLETE, [ended(0, lies)]), {}, at(5))["output"]


def test_an_output_on_a_volume_has_no_image() -> None:
    words = PUSHED.replace("registry.example/team/adapter:1", "/mnt/results")
    seen = replace(facts(COMPLETE, [ended(0, words)]), run=replace(RUN, output_image=""))
    told = status(seen, {}, at(5))
    assert "image" not in told["output"]
    assert condition(told, "WorkspaceSucceeded")["message"].endswith("to the output volume")
