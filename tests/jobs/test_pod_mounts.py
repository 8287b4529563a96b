"""Where the pod finds rows, weights and logins, and where it leaves the adapter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rig.manifests import ABSENT
from rig.pods import CLAIM, IMAGE_INPUT, TOKEN, VOLUME_INPUT, VOLUME_OUTPUT, WEIGHTS, env, sees
from rig.world import INSTALLATION

# Inputs.


def test_urls_are_fetched_by_prepare_without_any_login(make: Any) -> None:
    made = make()
    assert made.run.data.urls == ("https://data.invalid/train.parquet",)
    assert set(made.volumes) == {"run", "work", "tmp", "shm", "push"}


def test_an_image_is_pulled_by_prepare_with_its_secrets_as_files(make: Any) -> None:
    made = make(IMAGE_INPUT)
    assert made.run.data.image == "registry.invalid/data/rows:1"
    paths = [sees(made.prepare)[n]["mountPath"] for n in ("pull-0", "pull-1")]
    assert list(made.run.places.pull_auth) == paths
    assert made.volumes["pull-1"]["secret"] == {"secretName": "pull-b"}
    assert not {"pull-0", "pull-1"} & set(sees(made.main))


def test_a_volume_is_mounted_read_only_where_the_rows_are_read(make: Any) -> None:
    made = make(VOLUME_INPUT)
    assert made.volumes["data"] == {"name": "data", **CLAIM}
    assert sees(made.prepare)["data"] == {
        "name": "data",
        "mountPath": "/data",
        "readOnly": True,
    }
    assert "data" not in sees(made.main)
    assert (made.run.data.kind, made.run.data.path) == ("path", "/data")


def test_any_kind_of_volume_is_passed_on_as_it_was_written(make: Any) -> None:
    nfs = {"nfs": {"server": "nfs.invalid", "path": "/rows"}}
    assert make({"tuning.input": {"volumeSource": nfs}}).volumes["data"] == {"name": "data", **nfs}


def test_an_unused_secret_is_not_mounted(make: Any) -> None:
    changes = {"tuning.input.imagePullSecrets": ["unused"], "tuning.config": ABSENT}
    assert not any(name.startswith("pull") for name in make(changes).volumes)


# Outputs.


def test_the_push_login_is_where_the_push_is_checked_and_where_it_happens(make: Any) -> None:
    made = make()
    for container in (made.prepare, made.main):
        assert sees(container)["push"]["mountPath"] == made.run.places.push_auth
    assert made.run.output.target == "registry.invalid/adapters/phi-3:1"
    assert (made.run.places.work, made.run.places.scratch) == ("/work", None)


def test_with_a_volume_the_adapter_goes_to_its_root_and_the_work_is_hidden_on_it(
    make: Any,
) -> None:
    made = make(VOLUME_OUTPUT)
    run_label = made.job["metadata"]["labels"]["tunery.sh/run"]
    assert (made.run.output.kind, made.run.output.target) == ("folder", "/output")
    assert made.run.places.work == f"/output/.tunery/{run_label}"
    assert made.run.places.scratch == "/work", "downloads need not outlive the pod"
    assert made.volumes["output"] == {"name": "output", **CLAIM}
    assert "push" not in made.volumes
    assert len(made.pod["containers"]) == 1


def test_one_claim_may_be_both(make: Any) -> None:
    made = make({**VOLUME_INPUT, **VOLUME_OUTPUT})
    assert {"data", "output"} <= set(made.volumes)
    assert sees(made.prepare)["data"].get("readOnly") is True
    assert "readOnly" not in sees(made.prepare)["output"]


def test_a_registry_without_tls_must_be_named_by_the_installation(make: Any) -> None:
    assert make().run.output.insecure is False
    plain = replace(INSTALLATION, insecure_registries=("registry.invalid",))
    assert make({}, plain).run.output.insecure is True


def test_in_house_servers_are_trusted_where_the_installation_says_so(make: Any) -> None:
    made = make({}, replace(INSTALLATION, registry_ca_config_map="company-ca"))
    assert made.volumes["ca"]["configMap"] == {"name": "company-ca", "optional": True}
    assert made.run.places.registry_ca == "/var/run/tunery/ca/ca.crt"


# The model.


def test_the_hubs_token_is_a_file_that_only_prepare_has(make: Any) -> None:
    made = make(TOKEN)
    assert made.run.places.hub_token == "/var/run/tunery/hub/HF_TOKEN"
    assert made.volumes["hub"]["secret"] == {
        "secretName": "hub-token",
        "items": [{"key": "HF_TOKEN", "path": "HF_TOKEN"}],
    }
    assert "hub" in sees(made.prepare)
    assert "hub" not in sees(made.main)


def test_weights_in_an_image_are_mounted_and_nothing_is_downloaded(make: Any) -> None:
    made = make(WEIGHTS)
    assert made.volumes["weights"]["image"] == {"reference": "registry.invalid/weights/phi-3:1"}
    assert made.run.model.path == "/weights"
    assert made.run.model.id == "microsoft/Phi-3-mini-128k-instruct", "its public name stays"
    assert env(made.prepare)["HF_HUB_OFFLINE"] == "1"
    disk = made.main["resources"]["requests"]["ephemeral-storage"]
    assert int(disk[:-2]) < int(make().main["resources"]["requests"]["ephemeral-storage"][:-2])


def test_an_installation_may_keep_weights_in_its_own_registry(make: Any) -> None:
    own = replace(INSTALLATION, weights_registry="registry.invalid/kaito/")
    found = make({}, own).volumes["weights"]["image"]["reference"]
    assert found.startswith("registry.invalid/kaito/kaito-phi-3-mini-128k-instruct:")
    assert make(WEIGHTS, own).volumes["weights"]["image"]["reference"].endswith("/phi-3:1")


def test_training_needs_no_hub_and_prepare_does(make: Any) -> None:
    made = make({}, replace(INSTALLATION, hub_endpoint="https://mirror.invalid"))
    assert env(made.main)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in env(made.prepare)
    assert env(made.prepare)["HF_ENDPOINT"] == "https://mirror.invalid"


def test_a_hub_data_set_needs_the_hub_although_the_weights_are_there(make: Any) -> None:
    made = make({**WEIGHTS, "tuning.input": {"urls": ["hf://datasets/org/rows"]}})
    assert made.run.data.dataset is not None
    assert "HF_HUB_OFFLINE" not in env(made.prepare)
