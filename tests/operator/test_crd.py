"""The CRD without a cluster: KAITO's fields and no other, and the keys that jobs/ reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from rig.manifests import inference, tuning

from jobs import workspace as models
from jobs.workspace import parse
from scripts.crd.__main__ import TARGET, generate

Schema = dict[str, Any]
FACTS = Path(__file__).with_name("data") / "kaito_schema.txt"
VERSIONS = ("v1alpha1", "v1beta1")
# What the schema says beyond KAITO's, which its own webhook would refuse in other words.
NARROWER = {
    "resource.count integer default=1": "resource.count integer default=1 minimum=1",
    "inference.template any open": "inference.template object open",
    **{
        f"{path}.volumeSource any open": f"{path}.volumeSource object open"
        for path in ("inference.adapters[].source", "tuning.input", "tuning.output")
    },
}
OUR_OWN = {"inference.adapters[].source.workspace string"}
"""What a user may write beside KAITO's fields."""
_CONDITIONS = ("ResourceReady", "InferenceReady", "JobStarted", "WorkspaceSucceeded")
KAITO_COLUMNS = {
    "v1alpha1": ["Instance", *_CONDITIONS, "Age"],
    "v1beta1": ["Instance", *_CONDITIONS, "TargetNodeCount", "State", "Age"],
}


def definition() -> Schema:
    found: Schema = yaml.safe_load(TARGET.read_text("utf-8"))
    return found


def version(name: str) -> Schema:
    found: Schema = next(v for v in definition()["spec"]["versions"] if v["name"] == name)
    return found


def schema(name: str) -> Schema:
    found: Schema = version(name)["schema"]["openAPIV3Schema"]
    return found


def facts(part: Schema, path: str = "") -> Iterator[str]:
    """One line for every field: its path, its type, and what else is asked of it."""
    said = [part.get("type", "any")]
    said += [f"{k}={part[k]}" for k in ("format", "default", "minimum") if k in part]
    said += [f"enum={'|'.join(part['enum'])}"] if part.get("enum") else []
    said += [f"required={','.join(sorted(part['required']))}"] if part.get("required") else []
    said += ["open"] if part.get("x-kubernetes-preserve-unknown-fields") else []
    said += [part[k] for k in ("x-kubernetes-map-type", "x-kubernetes-list-type") if k in part]
    if path:
        yield f"{path} {' '.join(said)}"
    for key, inner in part.get("properties", {}).items():
        yield from facts(inner, f"{path}.{key}" if path else key)
    if "items" in part:
        yield from facts(part["items"], f"{path}[]")
    if "additionalProperties" in part:
        yield from facts(part["additionalProperties"], f"{path}{{}}")


def kaito(name: str) -> set[str]:
    """The same lines for KAITO's CRD, v0.12."""
    parts = FACTS.read_text("utf-8").split("# ")[1:]
    lines = {p.split("\n", 1)[0]: p.split("\n", 1)[1].splitlines() for p in parts}
    return {NARROWER.get(line, line) for line in lines[name]}


def test_the_committed_file_is_what_the_script_makes() -> None:
    assert TARGET.read_text("utf-8") == generate(), "run: python -m scripts.crd"


@pytest.mark.parametrize("name", VERSIONS)
def test_the_fields_are_those_of_kaito_one_for_one(name: str) -> None:
    ours = set(facts(schema(name)))
    assert kaito(name) - ours == set()
    assert {line for line in ours - kaito(name) if not line.startswith("status.")} == OUR_OWN


def test_the_status_is_the_same_in_both_versions_so_that_either_may_have_made_the_object() -> None:
    old, new = (schema(name)["properties"]["status"] for name in VERSIONS)
    assert old == new
    assert {"run", "attempts", "progress", "output", "observedGeneration"} <= set(old["properties"])


def test_both_versions_are_served_and_the_newer_is_stored_without_a_spec() -> None:
    spec = definition()["spec"]
    assert [(v["name"], v["served"], v["storage"]) for v in spec["versions"]] == [
        ("v1alpha1", True, False),
        ("v1beta1", True, True),
    ]
    assert all("spec" not in schema(name)["properties"] for name in VERSIONS)
    names = spec["names"]
    assert (names["shortNames"], names["categories"]) == (["wk", "wks"], ["workspace"])


@pytest.mark.parametrize("name", VERSIONS)
def test_the_columns_are_those_of_kaito_then_progress(name: str) -> None:
    columns = version(name)["additionalPrinterColumns"]
    narrow = [c["name"] for c in columns if not c.get("priority")]
    assert narrow == [*KAITO_COLUMNS[name], "Progress", "ETA", "Loss"]
    wide = [c["name"] for c in columns if c.get("priority")]
    assert wide == ["Output", "Revision", "Message"]


@pytest.mark.parametrize("name", VERSIONS)
def test_every_column_reads_a_field_that_exists(name: str) -> None:
    paths = {line.split(" ")[0] for line in facts(schema(name))}
    for column in version(name)["additionalPrinterColumns"]:
        path = column["jsonPath"].removeprefix(".").split("[?")[0]
        assert path in paths | {"metadata.creationTimestamp"}, column


def test_uninstalling_the_chart_keeps_the_crd_and_so_every_workspace() -> None:
    assert definition()["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_of(inner)


def keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """What jobs/workspace.py reads, in the user's spelling."""
    for name, field in model.model_fields.items():
        key = f"{path}.{field.alias or name}" if path else field.alias or name
        yield key
        for inner in models_of(field.annotation):
            yield from keys(inner, key)


def written(part: Schema, path: str = "") -> Iterator[str]:
    """What the schema lets a user write."""
    for key, inner in part.get("properties", {}).items():
        where = f"{path}.{key}" if path else key
        yield where
        yield from written(inner.get("items", inner), where)


def test_jobs_read_every_key_of_the_schema_and_no_other() -> None:
    read = {key for key in keys(models._Document) if not key.startswith("metadata.")}
    newest = {key for key in written(schema("v1beta1")) if not key.startswith("status.")}
    assert read == newest


def test_what_only_v1beta1_has_is_refused_by_jobs_in_v1alpha1() -> None:
    old, new = (set(written(schema(name))) for name in VERSIONS)
    only = {key for key in new - old if not key.startswith("resource.partition.")}
    values = {"resource.partition": {"mode": "mig", "profile": "1g.10gb"}}
    refused = set()
    for key in only:
        make = inference if key.startswith(("inference", "resource")) else tuning
        change = {"apiVersion": "kaito.sh/v1alpha1", key: values.get(key, "x")}
        _, problems = parse(make(change))
        refused |= {p.path for p in problems if "exists only in" in p.what}
    assert refused == only
    assert old - new == set()


def test_the_default_instance_type_is_that_of_jobs() -> None:
    default = schema("v1alpha1")["properties"]["resource"]["properties"]["instanceType"]["default"]
    assert default == models.V1ALPHA1_INSTANCE_TYPE
    assert (
        "default" not in schema("v1beta1")["properties"]["resource"]["properties"]["instanceType"]
    )
