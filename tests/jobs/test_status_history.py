"""Any history in any order, with clocks that disagree, and any edited status is survived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig.lives import PROBLEMS, RECORDED, at
from rig.statuses import HASH, NOW, RUN

from jobs.events import events
from jobs.seen import Progress
from jobs.status import Facts, status

PROGRESS = st.builds(
    Progress,
    pod_uid=st.sampled_from(["pod-1", "pod-2", "other"]),
    step=st.integers(0, 64),
    of=st.just(64),
    loss=st.none() | st.floats(0, 9),
    tokens_per_s=st.none() | st.floats(0, 1e6),
    eta_s=st.none() | st.floats(0, 1e6),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Facts, str]]:
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        seen = RECORDED[draw(st.sampled_from(sorted(RECORDED)))]
        run = draw(st.sampled_from([RUN, RUN, RUN, replace(RUN, hash="b" * 64), None]))
        more = {
            "run": run,
            "problems": draw(st.sampled_from([(), (), PROBLEMS])),
            "error": draw(st.sampled_from(["", "", "500"])),
            "seen": replace(seen.seen, progress=draw(st.none() | PROGRESS)),
        }
        steps.append(
            (replace(seen, **more), at(draw(st.integers(0, 20)), draw(st.integers(0, 59))))
        )
    return steps


@settings(deadline=None, max_examples=200)
@given(histories())
def test_a_status_made_from_itself_is_itself(history: Sequence[tuple[Facts, str]]) -> None:
    before: Mapping[str, Any] = {}
    for seen, now in history:
        told = status(seen, before, now)
        assert status(seen, told, now) == told
        assert events(told, told) == ()
        outcome = before.get("run", {}).get("outcome")
        if outcome and before["run"]["hash"] == told.get("run", {}).get("hash"):
            assert told["run"]["outcome"] == outcome, "what has ended stays so"
            assert told["run"]["finishedAt"] == before["run"]["finishedAt"]
        before = told


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from([HASH, NOW]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("run", "hash", "outcome", "attempts", "pod", "attempt", "startedAt", "step"),
                    *("progress", "updatedAt", "of", "output", "metrics", "conditions", "type"),
                    *("status", "message", "workerNodes", "kind", "endedAt", "gpuSeconds"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(RECORDED)), st.dictionaries(st.text(max_size=9), ANYTHING) | ANYTHING)
@example(sorted(RECORDED)[0], [{"endedAt": True, "pod": []}])
def test_an_edited_status_is_survived(case: str, previous: Any) -> None:
    before = (
        previous if isinstance(previous, dict) else {"run": {"hash": HASH}, "attempts": previous}
    )
    events(before, status(RECORDED[case], before, NOW))
