"""Parts that a model has fused into one layer are trained as that layer."""

from __future__ import annotations

import pytest

from jobs.targets import as_the_model_names
from presets import Architecture, Catalog
from tuning.config import TrainingConfig, parse


def of(catalog: Catalog, preset: str) -> Architecture:
    found = catalog.preset(preset)
    assert found is not None and found.architecture is not None
    return found.architecture


def config(targets: object) -> TrainingConfig:
    read, problems = parse(
        f"training_config: {{LoraConfig: {{target_modules: {targets}}}}}", "lora"
    )
    assert read is not None, problems
    return read


@pytest.mark.parametrize(
    ("preset", "written", "trained"),
    [
        ("phi-4", ["q_proj", "v_proj"], ["qkv_proj"]),
        ("phi-4", ["o_proj", "gate_proj", "up_proj"], ["o_proj", "gate_up_proj"]),
        ("phi-4", ["layers.3.self_attn.k_proj"], ["layers.3.self_attn.qkv_proj"]),
        ("falcon-7b", ["q_proj", "dense"], ["query_key_value", "dense"]),
        ("phi-4", "all-linear", "all-linear"),
        ("phi-4", ["nothing"], ["nothing"]),
        ("mistral-7b", ["q_proj", "gate_proj"], ["q_proj", "gate_proj"]),
        ("phi-2", ["q_proj", "fc1"], ["q_proj", "fc1"]),
    ],
)
def test_what_is_trained(catalog: Catalog, preset: str, written: object, trained: object) -> None:
    fitted, warnings = as_the_model_names(config(written), of(catalog, preset))
    assert fitted.lora["target_modules"] == trained
    assert bool(warnings) is (written != trained)
    assert all(w.warning for w in warnings)
