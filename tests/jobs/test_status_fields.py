"""Every field that a status may have is declared in the CRD."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.lives import ACTIVE, RECORDED, SUCCESS, at, life, running
from rig.statuses import NOW, facts

from jobs.seen import Progress
from jobs.status import status

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_every_field_is_declared(version: str) -> None:
    """An undeclared field would be pruned by the API server without a word."""
    crd = yaml.safe_load((ROOT / "charts" / "tunery" / "files" / "crd.yaml").read_text())
    [schema] = [
        v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == version
    ]
    at_9 = Progress("pod-1", 9, 64, 1.0, 100.0, 60.0)
    shown = [*life(*SUCCESS), status(facts(ACTIVE, [running()], progress=at_9), {}, at(2))]
    for told in [*shown, *(status(seen, {}, NOW) for seen in RECORDED.values())]:
        assert undeclared(told, schema["properties"]["status"], "status") == []


def undeclared(value: object, schema: Mapping[str, Any], path: str) -> list[str]:
    if isinstance(value, list):
        return [p for item in value for p in undeclared(item, schema["items"], f"{path}[]")]
    if isinstance(value, dict):
        if "additionalProperties" in schema:
            return []
        known = schema.get("properties", {})
        return [
            problem
            for key, inner in value.items()
            for problem in (
                undeclared(inner, known[key], f"{path}.{key}")
                if key in known
                else [f"{path}.{key}"]
            )
        ]
    kinds = {"string": str, "integer": int, "boolean": bool}
    return [] if isinstance(value, kinds[schema["type"]]) else [f"{path}: {value!r}"]
