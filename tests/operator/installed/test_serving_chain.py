"""From a tuning Workspace to one that serves: across API versions, namespaces and deletions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rig.asking import CODES, Asking, by_workspace, serving
from rig.installed import Small, furnished
from rig.kube import Kube, namespace_of_its_own

from jobs import marks
from tests.operator.installed.test_serving import REASON, ready

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
Object = dict[str, Any]
OLD, NEW = "kaito.sh/v1alpha1", "kaito.sh/v1beta1"
KINDS = "jobs,statefulsets,pods,services,configmaps,controllerrevisions,persistentvolumeclaims"


def owned(small: Small, name: str) -> dict[str, str]:
    """Everything of a Workspace: kind and name → uid. By label, as pods belong to their Job."""
    found = small.kube("get", KINDS, "-l", f"{marks.WORKSPACE}={name}", "-o", "json")
    uid = small.kube.get("workspace", name)["metadata"]["uid"]
    every = json.loads(small.kube("get", KINDS, "-o", "json"))["items"]
    direct = [one for one in every if belongs(one, uid)]
    items = {one["metadata"]["uid"]: one for one in (*json.loads(found)["items"], *direct)}
    return {f"{one['kind']}/{one['metadata']['name']}": uid for uid, one in items.items()}


def belongs(one: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", ()))


def deleted(small: Small, name: str) -> None:
    """As a user deletes: the Workspace, then nothing of it is left."""
    had = owned(small, name)
    assert had, "nothing would be seen to go"
    small.kube("delete", "workspace", name, "--wait=true", "--timeout=60s")
    limit = ("--request-timeout=0", "--timeout=100s")
    small.kube("wait", "--for=delete", *sorted(had), *limit)


def pod(small: Small) -> tuple[str, int]:
    """The serving pod: which one it is, and how often its server was started again."""
    found = small.kube.get("pod", "serve-0")
    return found["metadata"]["uid"], found["status"]["containerStatuses"][0]["restartCount"]


def chain(small: Small, tuning: str, inference: str) -> str:
    """Tune, serve and ask; the digest that is served."""
    small.kube.apply(
        small.config(steps=160),
        {**serving(by_workspace()), "apiVersion": inference},
        {**small.workspace(), "apiVersion": tuning},
    )
    made = small.succeeded()["output"]["digest"]
    [adapter] = ready(small)["adapters"]
    assert adapter["digest"] == made and adapter["served"]
    assert Asking(small).openai("codes") == CODES
    return str(made)


def test_old_tuning_new_serving_and_the_tuning_goes_first(small: Small) -> None:
    """Whoever only tidies up what has been trained takes nothing away from who uses it."""
    chain(small, OLD, NEW)
    before, mine = pod(small), owned(small, "serve")
    assert {"StatefulSet/serve", "Service/serve", "Service/serve-headless", "Pod/serve-0"} < set(
        mine
    )
    deleted(small, "codes")
    assert pod(small) == before and owned(small, "serve") == mine
    assert small.condition("InferenceReady", "serve")["status"] == "True"
    assert Asking(small).openai("codes") == CODES
    deleted(small, "serve")


def test_new_tuning_old_serving_and_the_serving_goes_first(small: Small) -> None:
    """The other way round; what was tuned stays, and can be served again."""
    made = chain(small, NEW, OLD)
    mine, status = owned(small, "codes"), small.status()
    assert "Job/codes" in mine
    deleted(small, "serve")
    assert owned(small, "codes") == mine and small.status() == status
    assert small.status()["output"]["digest"] == made
    deleted(small, "codes")


@pytest.fixture
def neighbour(small: Small, kube: Kube) -> Iterator[Small]:
    """Another team's namespace."""
    with namespace_of_its_own(kube) as made:
        yield furnished(small.machine, made)


def of_team(team: Small, name: str = "codes") -> Object:
    """A Workspace of another namespace as an adapter; its login is not shared, so one's own."""
    place = f"{team.kube.namespace}/{name}"
    return {"source": {"name": "codes", "workspace": place, "imagePullSecrets": ["push"]}}


def refusal(small: Small, name: str) -> str:
    small.reaches(REASON, "AdapterNotServed", name)
    assert small.kube.attempt("get", "statefulset", name).returncode != 0
    [adapter] = small.status(name)["adapters"]
    assert adapter["reason"] == "NoSource" and not adapter["served"]
    return str(small.condition("InferenceReady", name)["message"])


def test_another_namespace_is_served_only_when_it_says_so(small: Small, neighbour: Small) -> None:
    """Before, nobody can even find out by asking which Workspaces it has."""
    theirs = {**neighbour.workspace(), "apiVersion": OLD}
    theirs["metadata"]["annotations"] = {marks.SHARE_WITH: "somebody-else"}
    neighbour.kube.apply(neighbour.config(steps=160), theirs)
    made = neighbour.succeeded()["output"]["digest"]
    small.kube.apply(serving(of_team(neighbour)), serving(of_team(neighbour, "nobody"), name="try"))
    refused, absent = refusal(small, "serve"), refusal(small, "try")
    assert refused.replace(" codes ", " nobody ") == absent.replace(" codes ", " nobody ")
    share = f"{marks.SHARE_WITH}={small.kube.namespace}"
    neighbour.kube("annotate", "--overwrite", "workspace", "codes", share)
    [adapter] = ready(small)["adapters"]
    assert adapter["digest"] == made and "pullSecret" not in adapter
    assert Asking(small).openai("codes") == CODES
    before = pod(small)
    deleted(neighbour, "codes")
    assert pod(small) == before and ready(small)["adapters"] == [adapter]
    deleted(small, "try")
    deleted(small, "serve")
