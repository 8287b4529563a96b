"""A refusal or an error stands in the status, and nothing is forgotten for it."""

from __future__ import annotations

from dataclasses import replace

from rig.lives import (
    ACTIVE,
    FAILED,
    GAVE_UP,
    PROBLEMS,
    SUCCESS,
    at,
    condition,
    ended,
    life,
    running,
)
from rig.statuses import NOW, facts

from jobs.status import status
from presets.problem import Problem


def test_a_refusal_tells_every_problem_in_one_condition() -> None:
    told = status(replace(facts(None, []), problems=PROBLEMS, run=None), {}, NOW)
    started = condition(told, "JobStarted")
    assert (started["status"], started["reason"], told["state"]) == ("False", "Refused", "Pending")
    assert started["message"] == (
        "the Workspace is refused for 2 problems: "
        '(1) tuning.method: unknown method "x"; write lora or qlora '
        "(2) tuning.input: is empty; name a source"
    )


def test_a_warning_refuses_nothing() -> None:
    warned = replace(facts(ACTIVE, [running()]), problems=PROBLEMS[2:])
    assert status(warned, {}, NOW)["state"] == "Running"


def test_many_problems_fit_a_condition() -> None:
    many = tuple(Problem(f"urls[{n}]", "x" * 5000, "y") for n in range(200))
    told = status(replace(facts(None, []), problems=many, run=None), {}, NOW)
    message = condition(told, "JobStarted")["message"]
    assert len(message) < 32768 and message.endswith("… and 180 more")


def test_a_change_that_is_refused_does_not_stop_what_runs() -> None:
    runs = life(*SUCCESS[:6])[-1]
    told = status(replace(facts(ACTIVE, [running()]), problems=PROBLEMS), runs, at(2))
    started = condition(told, "JobStarted")
    assert (told["state"], started["status"], started["reason"]) == ("Running", "True", "Refused")
    assert started["message"].startswith("the run of revision 1 goes on; the Workspace is refused")
    assert told["run"] == runs["run"]


def test_a_refused_change_of_a_finished_run_forgets_nothing() -> None:
    last = life(*SUCCESS)[-1]
    refused = status(replace(facts(None, []), problems=PROBLEMS), last, at(30))
    assert refused["state"] == "Pending"
    assert {k: refused[k] for k in ("run", "attempts", "output", "progress")} == {
        k: last[k] for k in ("run", "attempts", "output", "progress")
    }
    healed = status(facts(None, []), refused, at(31))
    assert (healed["state"], healed["output"]) == ("Succeeded", last["output"])


def test_an_unreadable_workspace_forgets_nothing() -> None:
    last = life(*SUCCESS)[-1]
    unread = replace(facts(None, []), run=None, workspace=None, problems=PROBLEMS[:1])
    told = status(unread, last, at(30))
    assert told["run"] == last["run"] and told["output"] == last["output"]
    assert told["state"] == "Pending"


def test_serving_that_cannot_be_read_keeps_its_adapters() -> None:
    before = {"adapters": [{"name": "facts", "image": "r.invalid/a@sha256:1", "served": True}]}
    told = status(replace(facts(None, []), kind="inference", run=None), before, NOW)
    assert [(c["type"], c["status"], c["message"]) for c in told["conditions"]][2:] == [
        ("InferenceReady", "False", "Inference workload is not ready"),
        ("WorkspaceSucceeded", "False", "workspace is waiting for inference workload readiness"),
    ]
    assert told["adapters"] == before["adapters"] and told["state"] == "Pending"


def test_the_last_error_stands_behind_every_message() -> None:
    wrong = replace(facts(ACTIVE, [running()]), error="409 Conflict")
    first = status(wrong, {}, NOW)
    for told in (first, status(wrong, first, NOW)):
        assert all(
            c["message"].count(" (last reconcile error: 409 Conflict)") == 1
            for c in told["conditions"]
        )
    healed = status(facts(ACTIVE, [running()]), first, NOW)
    assert "error" not in str(healed["conditions"])


def test_the_last_error_does_not_stay_on_a_finished_run() -> None:
    [failed] = life((replace(facts(GAVE_UP, [ended(71, FAILED)]), error="500"), at(4)))
    assert "last reconcile error" not in str(status(facts(None, []), failed, at(5)))
