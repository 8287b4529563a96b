"""The Job around the pod: its names, its run, its retries, and how its image is pulled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rig.pods import IMAGE_INPUT, VOLUME_OUTPUT, WEIGHTS
from rig.world import INSTALLATION

from tuning.failure import Kind

# Names and the run.


def test_names_and_labels_are_those_that_kaitos_users_know(make: Any) -> None:
    made = make()
    assert made.job["metadata"]["name"] == "tune-phi-3"
    assert made.job["metadata"]["annotations"]["workspace.kaito.io/revision"] == "1"
    for labels in (made.job["metadata"]["labels"], made.template["metadata"]["labels"]):
        assert labels["kaito.sh/workspace"] == "tune-phi-3"
    assert made.main["ports"][0]["containerPort"] == 5000


def test_a_queue_of_kueue_is_chosen_on_the_workspace(make: Any) -> None:
    made = make({"metadata.labels": {"kueue.x-k8s.io/queue-name": "research", "team": "blue"}})
    assert made.job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert "team" not in made.job["metadata"]["labels"]


def test_the_snapshot_never_changes(make: Any) -> None:
    made = make()
    assert made.snapshot["immutable"] is True
    assert made.run.name == "tune-phi-3"
    assert made.run.model.revision == "072cb7562cb8c4adf682a8e186aaafa49469eb5d"


def test_kaitos_default_method_names_are_read_in_any_case(make: Any) -> None:
    assert make({"tuning.method": "QLoRA"}).run.method == "qlora"
    assert make({"tuning.method": "LORA"}).run.method == "lora"


# Failures.


def test_the_failure_policy_is_the_table(make: Any) -> None:
    ignore, fail = make().job["spec"]["podFailurePolicy"]["rules"]
    assert ignore["action"] == "Ignore"
    assert [c["type"] for c in ignore["onPodConditions"]] == ["DisruptionTarget"]
    assert fail["action"] == "FailJob"
    assert "containerName" not in fail["onExitCodes"], "prepare's codes count as well"
    values = fail["onExitCodes"]["values"]
    assert values == sorted(kind.exit_code for kind in Kind if kind.value.final)


def test_retries_are_the_installations(make: Any) -> None:
    assert make({}, replace(INSTALLATION, backoff_limit=7)).job["spec"]["backoffLimit"] == 7


# The kubelet pulls.


def test_pull_secrets_of_the_installation_come_first_and_none_twice(make: Any) -> None:
    own = replace(INSTALLATION, image_pull_secrets=("tuner-pull", "push"))
    made = make({**IMAGE_INPUT, **WEIGHTS}, own)
    names = [secret["name"] for secret in made.pod["imagePullSecrets"]]
    assert names == ["tuner-pull", "push", "weights-pull", "pull-a", "pull-b"]


def test_kaitos_pods_can_pull_with_the_push_secret_and_so_can_ours(make: Any) -> None:
    assert make().pod["imagePullSecrets"] == [{"name": "push"}]
    assert "imagePullSecrets" not in make(VOLUME_OUTPUT).pod


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
def test_a_pull_policy_is_passed_on(make: Any, policy: Any) -> None:
    made = make({}, replace(INSTALLATION, image_pull_policy=policy))
    assert made.prepare["imagePullPolicy"] == made.main["imagePullPolicy"] == policy
    assert "imagePullPolicy" not in make().main
