"""Why a serving pod does not answer, by what its containers say."""

from __future__ import annotations

import pytest
from rig.world import NOW, World

from serving.lastwords import ServeWords
from tests.jobs.serving.test_decide import FACTS, MADE, Object, ready, world

__all__ = ["world"]

CRASHES: dict[str, tuple[Object, str, str]] = {
    "prepare says why": (
        {
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {
                "terminated": {
                    "exitCode": 77,
                    "message": ServeWords(state="failed", kind="NoAccess", sentence="accept it")
                    .encoded()
                    .decode(),
                }
            },
        },
        "NoAccess",
        "accept it",
    ),
    "memory": (
        {
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        },
        "ContainerOOMKilled",
        "serving.memoryGiB",
    ),
    "an end without words": (
        {
            "state": {"running": {"startedAt": NOW}},
            "lastState": {
                "terminated": {"exitCode": 1, "message": "a\nValueError: bad thing\nbye\n"}
            },
        },
        "ContainerCrashLoopBackOff",
        "ValueError: bad thing",
    ),
    "an image": (
        {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}},
        "ImagePullError",
        "cannot be pulled",
    ),
}


@pytest.mark.parametrize("case", CRASHES)
def test_why_it_does_not_answer(world: World, case: str) -> None:
    status, reason, sentence = CRASHES[case]
    world.tuned = {FACTS: MADE}
    world.settle()
    world.serve(ready=False, **status)
    world.settle()
    assert ready(world)[1] == reason and sentence in ready(world)[2]
