"""Root causes: what a pod said, however it arrived, and what comes next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig.statuses import cases, facts, facts_of

from jobs.causes import Why, end_of, waiting_of
from jobs.causes.cause import Cause, short
from jobs.causes.words import digest_of, words
from tuning.failure import Kind
from tuning.lastwords import LIMIT_BYTES, LastWords

ENDS = {case["case"]: facts_of("ends", case) for case in cases("ends")}


def ended(code: int, message: str = "") -> dict[str, Any]:
    state = {"exitCode": code, "reason": "Error", "message": message}
    return {
        "phase": "Failed",
        "containerStatuses": [{"name": "w", "state": {"terminated": state}}],
    }


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_read_from_its_exit_code(kind: Kind) -> None:
    seen = facts({"failed": 1}, [ended(kind.exit_code)])
    cause = end_of(seen.pods[0], seen)
    assert cause is not None
    assert (cause.reason, cause.stage) == (kind.reason, "final" if kind.value.final else "retried")


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_read_from_the_words(kind: Kind) -> None:
    said = LastWords(phase="train", state="failed", kind=kind.reason, sentence="do this")
    seen = facts({"failed": 1}, [ended(kind.exit_code, said.encoded().decode())])
    cause = end_of(seen.pods[0], seen)
    assert cause is not None and cause.sentence.startswith("do this")


def test_what_is_final() -> None:
    """A deadline and the kinds that no retry cures; nothing that somebody else did to the pod."""
    final = set()
    for seen in ENDS.values():
        for pod in seen.pods:
            cause = end_of(pod, seen)
            if cause and cause.stage == "final":
                final.add(cause.reason)
    assert final == {"BadConfig", "BadData", "NoAccess", Why.DEADLINE}


@pytest.mark.parametrize("group", ["images", "starting", "creation", "scheduling"])
def test_what_waits_has_not_failed(group: str) -> None:
    found = [waiting_of(facts_of(group, case)) for case in cases(group)]
    assert any(found)
    assert all(cause is None or cause.stage == "waiting" for cause in found)


def test_a_pod_that_works_has_no_cause() -> None:
    seen = ENDS["resumed"]
    assert end_of(seen.pods[0], seen) is None and waiting_of(seen) is None
    done = ENDS["exit 0, with last words"]
    assert end_of(done.pods[0], done) is None and waiting_of(done) is None


def test_a_refusal_that_was_cured_tells_nothing_any_more() -> None:
    [quota, *_] = cases("creation")
    note = {"about": "job", "reason": "FailedCreate", "message": quota["message"]}
    assert waiting_of(facts({"failed": 1}, [ended(1)], notes=[note])) is None
    assert waiting_of(facts({"active": 1}, [], notes=[note])) is None


def test_a_refusal_of_the_next_attempt_is_told_beside_the_pods_that_failed() -> None:
    [quota, *_] = cases("creation")
    over = ended(1)
    over["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = "2026-11-27T12:00:10Z"

    def told(at: str) -> Cause | None:
        note = {"about": "job", "reason": "FailedCreate", "message": quota["message"], "at": at}
        return waiting_of(facts({"failed": 1}, [over], notes=[note]))

    assert told("2026-11-27T12:00:05Z") is None
    # eventTime has fractions of a second.
    for at in ("2026-11-27T12:00:20Z", "2026-11-27T12:00:20.123456Z"):
        cause = told(at)
        assert cause is not None and cause.reason == "QuotaExceeded"


def test_the_back_off_is_the_same_cause() -> None:
    """The kubelet alternates between the two: that is no news."""
    first, second = (waiting_of(facts_of("images", case)) for case in cases("images")[:2])
    assert first is not None and first == second


@pytest.mark.parametrize("why", Why)
def test_every_cause_is_in_the_table(why: Why) -> None:
    causes: set[str] = set()
    for group in ("ends", "images", "starting", "creation", "scheduling", "kaito"):
        for case in cases(group):
            causes |= {case["want"][2], *case.get("attempts", ())}
    # A pod that vanishes leaves no status to record: tests/jobs/test_status_attempts.py.
    assert why in causes | {Why.POD_GONE}


WORDS = LastWords(
    phase="train",
    state="failed",
    kind="BadData",
    sentence='row 3 says "no" \\ and a very long story ' * 20,
    step=3,
    of=64,
)


def test_whole_words() -> None:
    assert words(WORDS.encoded().decode()) == WORDS


@pytest.mark.parametrize("cut", range(60, len(WORDS.encoded()), 37))
def test_words_cut_anywhere_keep_their_kind(cut: int) -> None:
    said = words(WORDS.encoded()[:cut].decode())
    assert said is not None
    assert (said.phase, said.state, said.kind) == ("train", "failed", "BadData")
    assert WORDS.sentence is not None
    if said.sentence:
        assert WORDS.sentence.startswith(said.sentence.rstrip("…"))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Traceback (most recent call last):",
        "[1, 2]",
        "{",
        "{}",
        '{"phase": "dance"}',
        '{"phase": null}',
        "{" * 5000,
        '{"a":' * 2000,
        '{"phase":"train","step":' + "9" * 4000,
        '{"' + '\\"' * 2000,
        '{"sentence":"' + "\\" * 3999,
    ],
)
def test_what_is_no_word_of_ours(message: str) -> None:
    said = words(message)
    assert said is None or said == LastWords(phase="train")


def test_what_cannot_be_true_is_left_out() -> None:
    message = (
        '{"phase":"train","state":"done","step":-1,"of":1e400,"loss":NaN,"tokens":true,'
        '"size_bytes":9007199254740993,"digest":"sha256:../../etc","unknown":{"a":[[[]]]}}'
    )
    said = words(message)
    assert said == LastWords(phase="train", state="done", digest="sha256:../../etc")
    assert digest_of(said) == ""


def test_another_version_is_read_as_far_as_it_is_known() -> None:
    message = json.dumps({"phase": "push", "state": "elsewhere", "kind": 7, "image": "a/b:1"})
    assert words(message) == LastWords(phase="push", image="a/b:1")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=200) | st.text(alphabet='{}"\\:,[]phasetrain 0123', max_size=400))
@example('{"phase":"train","sentence":"\ud83d')
def test_no_message_raises(text: str) -> None:
    words(text)
    words("{" + text)
    words('{"phase":"train","sentence":"' + text)


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(1, 100))
def test_text_from_outside_is_one_short_line(text: str, limit: int) -> None:
    line = short(text, limit)
    assert len(line) <= limit and line.isprintable()


def test_a_huge_message_takes_no_time() -> None:
    words('{"phase":"train","x":"' + "\\u0000" * 100_000)
    assert len(WORDS.encoded()) < LIMIT_BYTES
