"""What the tuning Job's pod promises whatever the Workspace says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rig.manifests import Changes
from rig.pods import IMAGE_INPUT, TOKEN, VOLUME_INPUT, VOLUME_OUTPUT, WEIGHTS, Made, env, sees
from rig.world import INSTALLATION

from jobs.installation import Installation
from jobs.quantity import quantity
from presets import Catalog

EVERYTHING = {**IMAGE_INPUT, **TOKEN}
VARIANTS = {
    "urls to an image": {},
    "image to image, gated": EVERYTHING,
    "volume to volume": {**VOLUME_INPUT, **VOLUME_OUTPUT},
    "mounted weights": WEIGHTS,
    "hub data set": {"tuning.input": {"urls": ["hf://datasets/org/rows"]}},
    "a Workspace called prepare": {"metadata.name": "prepare"},
}
LIMITED = replace(
    INSTALLATION, cpu_limit="1500m", memory_gib=40, registry_ca_config_map="ca", device="cpu"
)


@pytest.mark.parametrize("installation", [INSTALLATION, LIMITED], ids=["plain", "limited"])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
class TestAlways:
    """Promises that hold whatever the Workspace says."""

    @pytest.fixture
    def made(self, catalog: Catalog, changes: Changes, installation: Installation) -> Made:
        return Made(catalog, changes, installation)

    def test_it_meets_pod_security_restricted(self, made: Made) -> None:
        """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
        assert made.pod["securityContext"]["runAsNonRoot"] is True
        assert made.pod["securityContext"]["runAsUser"] == 10001
        assert made.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (made.prepare, made.main):
            secured = container["securityContext"]
            assert secured["allowPrivilegeEscalation"] is False
            assert secured["capabilities"] == {"drop": ["ALL"]}
            assert secured["readOnlyRootFilesystem"] is True
        allowed = {"configMap", "emptyDir", "secret", "persistentVolumeClaim", "image"}
        assert all(set(v) - {"name"} <= allowed for v in made.volumes.values())
        assert not any("hostPort" in port for port in made.main["ports"])

    def test_nothing_of_the_api_reaches_it(self, made: Made) -> None:
        assert made.pod["automountServiceAccountToken"] is False
        assert made.pod["enableServiceLinks"] is False

    def test_every_volume_is_mounted_and_every_mount_has_a_volume(self, made: Made) -> None:
        mounted = set(sees(made.prepare)) | set(sees(made.main))
        assert mounted == set(made.volumes)

    def test_every_path_of_the_run_is_mounted_where_it_is_read(self, made: Made) -> None:
        places, run = made.run.places, made.run
        both = [places.work, places.scratch, places.push_auth, places.registry_ca, run.model.path]
        target = [run.output.target] if run.output.kind == "folder" else []
        for container, paths in (
            (made.prepare, [*both, *target, places.hub_token, run.data.path, *places.pull_auth]),
            (made.main, [*both, *target]),
        ):
            mounts = [m["mountPath"] for m in sees(container).values()]
            for path in filter(None, paths):
                assert any(Path(path).is_relative_to(m) for m in mounts), path

    def test_only_scratch_and_output_can_be_written(self, made: Made) -> None:
        for container in (made.prepare, made.main):
            writable = {n for n, m in sees(container).items() if not m.get("readOnly")}
            assert writable <= {"work", "tmp", "shm", "output"}

    def test_no_secret_is_in_the_environment(self, made: Made) -> None:
        text = json.dumps([made.prepare["env"], made.main["env"]])
        assert "secretKeyRef" not in text
        assert "secretRef" not in json.dumps(made.pod)

    def test_one_image_two_words_one_run(self, made: Made) -> None:
        assert made.prepare["image"] == made.main["image"] == "registry.invalid/tunery-tuner:1"
        assert made.prepare["command"] == made.main["command"] == ["python", "-m", "tuning"]
        assert made.prepare["args"] == ["prepare", "/etc/tunery/run.json"]
        assert made.main["args"] == ["tune", "/etc/tunery/run.json", "--metrics-port", "5000"]
        assert made.volumes["run"]["configMap"]["name"] == made.snapshot["metadata"]["name"]
        assert made.main["name"] == made.job["metadata"]["name"]
        assert made.prepare["name"] != made.main["name"]

    def test_the_card_is_held_by_the_container_that_trains(self, made: Made) -> None:
        for kind in ("requests", "limits"):
            assert made.main["resources"][kind]["nvidia.com/gpu"] == "1"
        assert "nvidia.com/gpu" not in json.dumps(made.prepare["resources"])

    def test_a_request_is_never_above_its_limit(self, made: Made) -> None:
        for container in (made.prepare, made.main):
            asked = container["resources"]
            for name, limit in asked.get("limits", {}).items():
                assert quantity(asked["requests"][name]) <= quantity(limit)

    def test_it_has_time_to_end(self, made: Made) -> None:
        assert made.pod["terminationGracePeriodSeconds"] >= 60
        assert made.pod["restartPolicy"] == "Never"
        assert made.main["terminationMessagePolicy"] == "FallbackToLogsOnError"

    def test_its_home_is_writable(self, made: Made) -> None:
        for container in (made.prepare, made.main):
            found = env(container)
            assert {found["HOME"], found["TMPDIR"]} == {"/tmp"}
            assert found["HF_HOME"].startswith("/tmp/")
            assert found["USER"] == found["LOGNAME"] != ""
            assert found["TQDM_DISABLE"] == "1"
            assert all(value is not None for value in found.values())
