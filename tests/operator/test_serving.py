"""Serving, as the loop sees it: who is woken by what, and whose objects are left alone."""

from __future__ import annotations

import asyncio
from typing import Any

from rig.apiserver import ApiServer, running
from rig.operating import node, operating, settled, until, workspace

from jobs.revision import hash_of
from lending import Lending, lent

Object = dict[str, Any]
LENDER, BORROWER = ("default", "one"), ("default", "serve")
DIGEST = "sha256:" + "1" * 64


def serving(*sources: str, name: str = "serve") -> Object:
    body = workspace(name)
    preset = body.pop("tuning")["preset"]
    adapters = [{"source": {"name": f"a{n}", "workspace": w}} for n, w in enumerate(sources)]
    return {**body, "inference": {"preset": preset, "adapters": adapters}}


def tuned(digest: str = DIGEST) -> Object:
    base = "microsoft/Phi-3-mini-128k-instruct"
    output = {"image": "registry.example.com/a/b:1", "digest": digest, "baseModel": base}
    run = {"outcome": "Succeeded", "hash": hash_of(workspace(), None), "revision": 1}
    return {**workspace(), "status": {"run": run, "output": output}}


def test_whoever_borrows_is_woken_by_a_change_of_what_is_lent() -> None:
    lending, before = Lending(), workspace()
    assert lending.changed(LENDER, None, before) == set()
    lending.changed(BORROWER, None, serving("one"))
    assert lending.changed(LENDER, before, tuned()) == {BORROWER}
    progress = {**tuned(), "metadata": {**tuned()["metadata"], "labels": {"a": "b"}}}
    assert lending.changed(LENDER, tuned(), progress) == set(), "nothing that matters to it"
    assert lending.changed(LENDER, progress, None) == {BORROWER}
    lending.changed(BORROWER, serving("one"), serving("two"))
    assert lending.changed(LENDER, None, tuned()) == set()
    lending.changed(BORROWER, serving("two"), None)
    assert lending.changed(("default", "two"), None, tuned()) == set()


def test_a_name_of_another_namespace() -> None:
    body = serving("elsewhere/one", "gone")
    found = lent(body, {("elsewhere", "one"): tuned(), LENDER: tuned()})
    assert list(found) == [("elsewhere", "one")]
    assert found["elsewhere", "one"].digest == DIGEST
    assert lent(None, {}) == {}


def status(api: ApiServer) -> Object:
    found: Object = api.objects["workspaces", "default", "serve"].get("status") or {}
    return found


def reason(api: ApiServer) -> str:
    listed = status(api).get("conditions", ())
    return next((str(c["reason"]) for c in listed if c["type"] == "InferenceReady"), "")


def test_what_is_tuned_is_served_and_kept() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            api.put("workspaces", serving("one"))
            async with operating(api) as engine:
                await until(lambda: reason(api) == "AdapterNotServed")
                api.put("workspaces", tuned())
                await until(lambda: ("statefulsets", "default", "serve") in api.objects)
                await settled(api, engine)
                names = {key[2] for key in api.objects if key[0] == "services"}
                assert names == {"serve", "serve-headless"}
                writes = len(api.writes("/serve"))
                api.remove("services", "default", "serve")
                await until(lambda: ("services", "default", "serve") in api.objects)
                await settled(api, engine)
                assert len(api.writes("/serve")) <= writes + 2
                [pin] = status(api)["adapters"]
                assert pin["image"] == f"registry.example.com/a/b@{DIGEST}"
            api.log.clear()
            async with operating(api) as engine:
                await until(lambda: not engine.unready())
                await settled(api, engine)
                assert api.writes() == []

    asyncio.run(scenario())


def test_a_service_of_somebody_else_is_left_alone_until_it_is_gone() -> None:
    async def scenario() -> None:
        async with running() as api:
            api.put("nodes", node())
            theirs = {"apiVersion": "v1", "kind": "Service"}
            named = {"metadata": {"name": "serve", "namespace": "default"}, "spec": {"a": 1}}
            api.put("services", {**theirs, **named})
            api.put("workspaces", tuned())
            api.put("workspaces", serving("one"))
            async with operating(api) as engine:
                await until(lambda: reason(api) == "NameTaken")
                await settled(api, engine)
                assert api.objects["services", "default", "serve"]["spec"] == {"a": 1}
                api.remove("services", "default", "serve")
                await until(lambda: ("statefulsets", "default", "serve") in api.objects)

    asyncio.run(scenario())
