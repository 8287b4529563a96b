"""Recorded pod and Job statuses → state, condition, reason, sentence: statuses/*.yaml."""

from __future__ import annotations

import pytest
from rig.statuses import NOW, Case, cases, facts_of

from jobs.status import status

GROUPS = ("ends", "images", "starting", "creation", "scheduling", "kaito")
TABLE = [
    pytest.param(group, case, id=f"{group}: {case['case']}")
    for group in GROUPS
    for case in cases(group)
]


def test_the_table_is_long() -> None:
    assert len(TABLE) >= 60


@pytest.mark.parametrize(("group", "case"), TABLE)
def test_what_is_told(group: str, case: Case) -> None:
    told = status(facts_of(group, case), {}, NOW)
    conditions = {c["type"]: c for c in told["conditions"]}
    started = conditions["JobStarted"]
    assert [told["state"], started["status"], started["reason"], started["message"]] == case["want"]
    if "then" in case:
        assert conditions["WorkspaceSucceeded"]["message"] == case["then"]
    if "attempts" in case:
        assert [a.get("kind", "") for a in told.get("attempts", [])] == case["attempts"]


@pytest.mark.parametrize(("group", "case"), TABLE)
def test_told_twice_is_told_once(group: str, case: Case) -> None:
    facts = facts_of(group, case)
    told = status(facts, {}, NOW)
    assert status(facts, told, NOW) == told
    later = status(facts, told, "2026-11-28T10:10:00Z")
    assert later == told, "the clock alone changes nothing"


@pytest.mark.parametrize(("group", "case"), TABLE)
def test_only_a_failed_job_fails_the_workspace(group: str, case: Case) -> None:
    facts = facts_of(group, case)
    job = facts.job
    failed = bool(job and any(c.type == "Failed" and c.status == "True" for c in job.conditions))
    assert (status(facts, {}, NOW)["state"] == "Failed") == failed
