"""`tunery render` prints what the operator would make, or says why nothing would be made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.manifests import inference, tuning
from rig.world import World

from jobs import marks
from presets import load
from tunery.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples" / "tuning").glob("*.yaml"))
EXAMPLE = str(ROOT / "examples" / "tuning" / "local.yaml")
IN_ORDER = ["ControllerRevision", "ConfigMap", "Job"]


def write(path: Path, *documents: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def rendered(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    code = main(["render", *words])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    return list(yaml.safe_load_all(said.out))


def test_the_objects_come_in_the_operators_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert [found["kind"] for found in rendered(capsys, EXAMPLE)] == IN_ORDER


def test_they_are_the_objects_that_the_operator_applies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = tuning()
    world = World(tuning(), load()).settle()
    file = write(tmp_path / "w.yaml", body)
    printed = rendered(capsys, file, "--tuner-image", world.installation.tuner_image)
    assert len(printed) == len(world.objects)
    for found in printed:
        applied = dict(world.objects[found["kind"], found["metadata"]["name"]])
        for name in ("uid", "ownerReferences"):
            applied["metadata"].pop(name)
        applied.get("spec", {}).pop("parallelism", None)  # the API server's
        assert found == applied


def test_json_is_a_list_that_kubectl_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", EXAMPLE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert [item["kind"] for item in found["items"]] == IN_ORDER


def test_a_namespace_places_what_names_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = rendered(capsys, EXAMPLE, "--namespace", "research")
    assert {found["metadata"]["namespace"] for found in printed} == {"research"}
    assert printed[2]["metadata"]["labels"][marks.WORKSPACE_NAMESPACE] == "research"
    assert '"namespace":"research"' in printed[1]["data"]["run.json"]
    own = write(tmp_path / "w.yaml", tuning({"metadata.namespace": "mine"}))
    printed = rendered(capsys, own, "--namespace", "research")
    assert {found["metadata"]["namespace"] for found in printed} == {"mine"}


def test_several_workspaces_several_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "w.yaml", tuning(), tuning({"metadata.name": "another"}))
    printed = rendered(capsys, file)
    assert [o["metadata"]["name"] for o in printed if o["kind"] == "Job"] == [
        "tune-phi-3",
        "another",
    ]


def test_problems_are_told_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(
        tmp_path / "w.yaml", tuning(), tuning({"metadata.name": "b", "tuning.method": "x"})
    )
    assert main(["render", file]) == 78
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"{file}: tuning.method: ")


def test_a_config_map_that_is_elsewhere_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "w.yaml", tuning({"tuning.config": "in-the-cluster"}))
    assert main(["render", file]) == 0
    said = capsys.readouterr()
    assert "warning: tuning.config: ConfigMap 'in-the-cluster'" in said.err
    assert "kind: Job" in said.out


def test_on_nodes_of_ones_own_one_card_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = tuning()
    del body["resource"]["instanceType"]
    job = rendered(capsys, write(tmp_path / "w.yaml", body), "--byo")[2]
    (main_container,) = job["spec"]["template"]["spec"]["containers"]
    assert main_container["resources"]["limits"] == {"nvidia.com/gpu": "1"}


def test_what_waits_for_a_tuning_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"name": "phi", "workspace": "tune-phi-3"}
    waits = inference({"inference.adapters": [{"source": source}]})
    file = write(tmp_path / "w.yaml", waits, tuning())
    assert main(["render", file]) == 0
    said = capsys.readouterr()
    assert "the tuning of tune-phi-3 (adapter phi) has not finished" in said.err
    assert [found["kind"] for found in yaml.safe_load_all(said.out)] == IN_ORDER


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_renders_without_a_warning(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = list(yaml.safe_load_all(file.read_text()))
    tuned = [d for d in documents if "tuning" in d]
    own_nodes = any("instanceType" not in d["resource"] for d in tuned)
    assert main(["render", str(file), *(["--byo"] if own_nodes else [])]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    jobs = [o for o in yaml.safe_load_all(said.out) if o["kind"] == "Job"]
    assert [job["metadata"]["name"] for job in jobs] == [d["metadata"]["name"] for d in tuned]


SERVING = sorted((ROOT / "examples" / "inference").glob("*.yaml"))
SERVED = ["ControllerRevision", "ConfigMap", "Service", "Service", "StatefulSet"]


@pytest.mark.parametrize("file", SERVING, ids=lambda path: path.stem)
def test_what_serves_is_rendered(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(file)]) == 0
    said = capsys.readouterr()
    kinds = [found["kind"] for found in yaml.safe_load_all(said.out) if found]
    # What a tuning Workspace makes is not known before it has run.
    later = file.stem in ("by-workspace", "demo")
    assert kinds == ([] if later else SERVED)
    assert ("no Workspace " in said.err) == later


def test_kaitos_quick_start_with_a_strength(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On both runtimes; KAITO refuses the strength on vLLM."""
    quick_start = ROOT / "tests" / "jobs" / "data" / "inference_phi_3_adapters.yaml"
    body = yaml.safe_load(quick_start.read_text())
    for runtime in ("transformers", "vllm"):
        body["metadata"]["annotations"]["kaito.sh/runtime"] = runtime
        made = {o["kind"]: o for o in rendered(capsys, write(tmp_path / "w.yaml", body))}
        plan = json.loads(made["ConfigMap"]["data"]["plan.json"])
        assert plan["runtime"] == runtime
        assert [(a["name"], a["strength"]) for a in plan["adapters"]] == [("phi-3-adapter", 1.0)]
        [server] = made["StatefulSet"]["spec"]["template"]["spec"]["containers"]
        assert (server["command"][:2] == ["vllm", "serve"]) == (runtime == "vllm")
