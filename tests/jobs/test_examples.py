"""Manifests in the form of KAITO's public quick start are right once they are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.validate import Context, validate_create, validate_update
from jobs.workspace import Workspace, parse
from presets import Catalog
from presets.problem import Problem
from presets.text import read_file

DATA = Path(__file__).parent / "data"
FILLED = (
    "tuning_phi_3.yaml",
    "tuning_phi_3_public.yaml",
    "tuning_phi_3_v1alpha1.yaml",
    "tuning_phi_3_config.yaml",
    "inference_phi_3_adapters.yaml",
)


def judged(file: str, catalog: Catalog) -> tuple[Workspace, Context, tuple[Problem, ...]]:
    documents, problem = read_file(DATA / file)
    assert problem is None
    maps: dict[tuple[str, str], Any] = {
        ("default", d["metadata"]["name"]): d["data"] for d in documents if d["kind"] == "ConfigMap"
    }
    context = Context(catalog, config_maps=maps)
    workspace, problems = parse(next(d for d in documents if d["kind"] == "Workspace"))
    assert workspace is not None
    return workspace, context, problems + validate_create(workspace, context)


@pytest.mark.parametrize("file", FILLED)
def test_a_public_example_is_valid(file: str, catalog: Catalog) -> None:
    _, _, problems = judged(file, catalog)
    assert [p.line() for p in problems if not p.warning] == []


@pytest.mark.parametrize("file", FILLED)
def test_applying_it_again_is_no_change(file: str, catalog: Catalog) -> None:
    workspace, context, first = judged(file, catalog)
    assert validate_create(workspace, context) == first
    assert validate_update(workspace, workspace, context) == ()


def test_the_quick_start_has_nothing_to_warn_of(catalog: Catalog) -> None:
    assert judged("tuning_phi_3.yaml", catalog)[2] == ()


def test_a_volta_card_is_warned_that_bfloat16_becomes_float16(catalog: Catalog) -> None:
    _, _, problems = judged("tuning_phi_3_config.yaml", catalog)
    told = [p for p in problems if "bfloat16" in p.what]
    assert told and all(p.warning for p in told)
    assert told[0].path.startswith("tuning.config (ConfigMap tuning-phi-3).training_config.")


def test_an_example_that_was_never_filled_in_is_refused_once_per_value(catalog: Catalog) -> None:
    _, _, problems = judged("tuning_phi_3_unfilled.yaml", catalog)
    assert [p.line() for p in problems] == [
        'tuning.input.urls[0]: "<your-storage>" is a placeholder from an example; '
        "write your own value",
        'tuning.output.image: "ACR_REPO_HERE" is a placeholder from an example; '
        "write your own value",
        'tuning.output.imagePushSecret: "ACR_REGISTRY_SECRET_HERE" is a placeholder from an '
        "example; write your own value",
    ]
