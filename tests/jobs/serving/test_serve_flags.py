"""Flags of a server: from model and cards, from who pays for cores, and the user's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from jobs.serving import flags
from presets import Catalog
from tests.jobs.serving.conftest import INSTALLATION, Ordered
from tests.jobs.serving.test_serve import TRANSFORMERS, Made, env

FLAGS: list[tuple[str, str, dict[str, Any]]] = [
    ("phi-3-mini-128k-instruct", "Standard_NC24ads_A100_v4", {"tensor-parallel-size": 1}),
    ("llama-3.1-8b-instruct", "Standard_NC96ads_A100_v4", {"tensor-parallel-size": 4}),
    ("phi-4-mini-instruct", "Standard_ND96isr_H100_v5", {"tensor-parallel-size": 8}),
    ("org/unknown", "Standard_NC96ads_A100_v4", {"tensor-parallel-size": 4}),
]


@pytest.mark.parametrize(("preset", "sku", "more"), FLAGS)
def test_flags_follow_model_and_cards(
    catalog: Catalog, preset: str, sku: str, more: dict[str, Any]
) -> None:
    model, card = catalog.preset(preset), catalog.gpu(sku)
    assert model is not None and card is not None
    found = flags.vllm(model, card, card.count, on_cpu=False)
    heads = model.architecture.heads if model.architecture else more["tensor-parallel-size"]
    assert heads % found["tensor-parallel-size"] == 0
    always = {"max-model-len": "auto", "gpu-memory-utilization": 0.9}
    if model.architecture is None or heads % card.count == 0:
        assert found == {**always, **more}


def test_a_card_without_bfloat16_gets_float16(catalog: Catalog, ordered: Ordered) -> None:
    t4 = next(g for g in catalog.gpus if g.cuda and not g.bf16)
    model = catalog.preset("phi-4")
    assert model is not None
    assert flags.vllm(model, t4, 1, on_cpu=False)["dtype"] == "half"
    made = Made(ordered({**TRANSFORMERS, "resource.instanceType": t4.sku}))
    assert made.main["args"][-2:] == ["--dtype", "float16"]


def test_a_pretended_gpu_serves_on_the_cpu(ordered: Ordered) -> None:
    cpu = replace(INSTALLATION, device="cpu", cpu_limit="1", serving_memory_gib=4)
    made = Made(ordered(installation=cpu), cpu)
    assert made.plan.flags == {"enforce-eager": True, "max-model-len": "auto", "max-num-seqs": 8}
    assert made.main["resources"]["limits"] == {
        "cpu": "1",
        "memory": "4Gi",
        "nvidia.com/gpu": "1",
    }
    assert env(made.main)["OMP_NUM_THREADS"] == {"resourceFieldRef": {"resource": "limits.cpu"}}
    other = Made(ordered(TRANSFORMERS, cpu), cpu)
    assert other.main["args"][-4:] == ["--device", "cpu", "--dtype", "auto"]


def test_a_limit_of_cores_is_not_what_the_node_must_have_free(ordered: Ordered) -> None:
    wide = Made(ordered(TRANSFORMERS), replace(INSTALLATION, cpu_limit="8")).main["resources"]
    assert (wide["requests"]["cpu"], wide["limits"]["cpu"]) == ("1", "8")
    narrow = Made(ordered(TRANSFORMERS), replace(INSTALLATION, cpu_limit="500m")).main["resources"]
    assert (narrow["requests"]["cpu"], narrow["limits"]["cpu"]) == ("500m", "500m")


def test_the_users_own_flags_are_handed_on(ordered: Ordered) -> None:
    config = yaml.safe_dump({"vllm": {"max_model_len": 512, "--swap-space": 4, "enforce-eager": 1}})
    plan = Made(ordered({"inference.config": "mine"}, config=config)).plan
    assert plan.user_flags == {"max-model-len": 512, "swap-space": 4, "enforce-eager": 1}
    assert (
        Made(ordered({"inference.config": "mine", **TRANSFORMERS}, config=config)).plan.user_flags
        == {}
    )
