"""Every refusal becomes one error of a known kind, in words that fit into a condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from rig.apiserver import ApiServer, Fault, running

import apierror
from apierror import ApiError
from jobs.decision import Apply, Delete, Patch, Ref
from kube import Kube

JOB = Ref("batch/v1", "Job", "default", "one")
WANTED = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "one", "namespace": "default"},
    "spec": {"a": 1},
}


def told(scenario: Callable[[ApiServer, Kube], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with running() as api:
            wire = api.wire()
            try:
                return await scenario(api, Kube(wire))
            finally:
                await wire.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, "invalid"),
        (401, "forbidden"),
        (403, "forbidden"),
        (404, "absent"),
        (409, "conflict"),
        (410, "gone"),
        (422, "invalid"),
        (429, "throttled"),
        (500, "transient"),
        (502, "transient"),
        (503, "transient"),
        (504, "transient"),
    ],
)
def test_a_status_code_is_a_kind(code: int, kind: str) -> None:
    async def scenario(api: ApiServer, kube: Kube) -> ApiError:
        api.faults.append(Fault("PATCH", "/jobs/one", status=code))
        with pytest.raises(ApiError) as caught:
            await kube.do(Apply(WANTED))
        return caught.value

    error = told(scenario)
    assert (error.kind, error.code, error.sentence) == (kind, code, f"Fault {code}")


def test_causes_are_told_field_by_field_and_briefly() -> None:
    dump = "Invalid value: {" + "x" * 4000 + "}: field is immutable"
    error = apierror.of_status(
        {
            "code": 422,
            "message": 'Job.batch "one" is invalid: ' + dump,
            "details": {
                "causes": [
                    {"field": "spec.template", "message": dump},
                    {"field": "spec.parallelism", "message": "must be positive"},
                    {"field": "", "message": "and more"},
                ]
            },
        }
    )
    assert error.sentence == (
        "spec.template: field is immutable; spec.parallelism: must be positive; and more"
    )
    assert len(apierror.of_status({"code": 500, "message": "é" * 4000}).sentence) == 256


def test_a_page_of_a_proxy_is_an_error_too() -> None:
    assert apierror.refused(502, b"<html>Bad gateway", {}).sentence == "HTTP 502"
    assert apierror.refused(503, b"[]", {}).kind == "transient"


def test_the_server_says_how_long_to_wait() -> None:
    async def scenario(api: ApiServer, kube: Kube) -> list[float]:
        found = []
        for fault in (
            Fault("PATCH", "", status=429, headers={"Retry-After": "7"}),
            Fault("PATCH", "", status=429, body={"details": {"retryAfterSeconds": 3}}),
        ):
            api.faults.append(fault)
            with pytest.raises(ApiError) as caught:
                await kube.apply(WANTED)
            found.append(caught.value.retry_after_s)
        return found

    assert told(scenario) == [7, 3]


def test_no_answer_is_an_error_too() -> None:
    async def scenario(api: ApiServer, kube: Kube) -> str:
        api.faults.append(Fault("PATCH", "", lost=True))
        with pytest.raises(ApiError) as caught:
            await kube.apply(WANTED)
        assert caught.value.kind == "transient"
        return caught.value.sentence

    assert told(scenario).startswith("the API server did not answer: ")


def test_deleting_what_is_gone_is_well_but_a_namesake_is_left_alone() -> None:
    async def scenario(api: ApiServer, kube: Kube) -> None:
        assert await kube.do(Delete(JOB)) == {}
        made = await kube.do(Apply(WANTED))
        with pytest.raises(ApiError) as caught:
            await kube.do(Delete(Ref("batch/v1", "Job", "default", "one", uid="other")))
        assert caught.value.kind == "conflict"
        assert api.of("jobs") == [made]
        await kube.do(Delete(Ref("batch/v1", "Job", "default", "one", uid=made["metadata"]["uid"])))
        assert api.of("jobs") == []
        assert api.writes()[-1].body["propagationPolicy"] == "Foreground"

    told(scenario)


def test_what_is_deleted_at_once_has_no_grace_period() -> None:
    async def scenario(api: ApiServer, kube: Kube) -> None:
        await kube.do(Apply(WANTED))
        assert await kube.do(Delete(JOB, at_once=True)) == {}
        assert api.writes()[-1].body["gracePeriodSeconds"] == 0

    told(scenario)


def test_one_owner_writes_all_and_every_request_is_counted() -> None:
    async def scenario(api: ApiServer, _: Kube) -> list[tuple[str, int]]:
        counted: list[tuple[str, int]] = []
        wire = api.wire()
        kube = Kube(wire, lambda verb, code: counted.append((verb, code)))
        await kube.do(Apply(WANTED))
        await kube.do(Patch(JOB, {"spec": {"a": 2}}))
        await kube.patch_status(JOB, {"b": 3})
        with pytest.raises(ApiError):
            await kube.read(Ref("batch/v1", "Job", "default", "two"))
        await wire.close()
        assert all("fieldManager=tunery" in asked.path for asked in api.writes())
        assert api.of("jobs")[0]["spec"] == {"a": 2}
        assert api.of("jobs")[0]["status"] == {"b": 3}
        return counted

    assert told(scenario) == [
        ("apply", 200), ("patch", 200), ("patch_status", 200), ("get", 404),
    ]  # fmt: skip
