"""Will it fit: what is chosen, what is kept, and what a refusal says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.demand import demand
from jobs.estimate import estimate
from jobs.memory import TOKENS_PER_STEP, Plan, plan
from presets import Architecture, Catalog, Gpu, load
from presets.problem import Problem, errors
from tuning.config import TrainingConfig, parse

_CATALOG = load()
_NAMES = [p.name for p in _CATALOG.presets if p.architecture]
_CUDA = [g.sku for g in _CATALOG.gpus if g.cuda]
Method = Literal["lora", "qlora"]
Made = tuple[Plan | None, tuple[Problem, ...]]


def _config(method: Method, **sections: dict[str, Any]) -> TrainingConfig:
    text = yaml.safe_dump({"training_config": sections}) if sections else None
    config, problems = parse(text, method)
    assert config is not None, [p.line() for p in problems]
    return config


def _architecture(name: str) -> Architecture:
    preset = _CATALOG.preset(name)
    assert preset and preset.architecture
    return preset.architecture


def _gpu(sku: str) -> Gpu:
    gpu = _CATALOG.gpu(sku)
    assert gpu
    return gpu


def _plan(name: str, sku: str, method: Method = "qlora", **sections: dict[str, Any]) -> Made:
    return plan(_architecture(name), _gpu(sku), _config(method, **sections), _CATALOG)


def _fitted(name: str, sku: str, method: Method = "qlora", **sections: dict[str, Any]) -> Plan:
    chosen, problems = _plan(name, sku, method, **sections)
    assert chosen is not None, [p.line() for p in problems]
    return chosen


def _refusal(name: str, sku: str, method: Method = "qlora", **sections: dict[str, Any]) -> str:
    chosen, problems = _plan(name, sku, method, **sections)
    assert chosen is None
    (problem,) = errors(problems)
    return problem.line()


# preset, instance type, method → batch, accumulation, checkpointing, dtype
CHOSEN = [
    ("phi-3-mini-128k-instruct", "Standard_NC6s_v3", "qlora", 1, 2, False, "float16"),
    ("phi-3-mini-128k-instruct", "Standard_NC24ads_A100_v4", "qlora", 2, 1, False, "bfloat16"),
    ("falcon-7b", "Standard_NC12s_v3", "qlora", 1, 1, False, "float16"),
    ("llama-3.1-8b-instruct", "g5.xlarge", "lora", 2, 1, True, "bfloat16"),
    ("llama-3.1-8b-instruct", "Standard_NC24ads_A100_v4", "lora", 2, 1, False, "bfloat16"),
    ("phi-4", "Standard_NC4as_T4_v3", "qlora", 2, 1, True, "float16"),
    ("qwen2.5-coder-32b-instruct", "Standard_NC24ads_A100_v4", "qlora", 1, 2, False, "bfloat16"),
    ("llama-3.3-70b-instruct", "Standard_NC24ads_A100_v4", "qlora", 2, 1, True, "bfloat16"),
    ("smollm2-135m-instruct", "p5.48xlarge", "lora", 1, 1, False, "bfloat16"),
]


@pytest.mark.parametrize(
    ("name", "sku", "method", "batch", "accumulation", "checkpointing", "dtype"), CHOSEN
)
def test_the_fastest_way_that_fits_is_chosen(
    name: str,
    sku: str,
    method: Method,
    batch: int,
    accumulation: int,
    checkpointing: bool,
    dtype: str,
) -> None:
    chosen = _fitted(name, sku, method)
    assert (chosen.batch_size, chosen.gradient_accumulation) == (batch, accumulation)
    assert (chosen.checkpointing, chosen.dtype) == (checkpointing, dtype)


def test_a_step_sees_the_same_number_of_tokens_on_every_card() -> None:
    for sku in ("Standard_NC6s_v3", "g5.xlarge", "Standard_NC24ads_A100_v4"):
        chosen = _fitted("phi-3.5-mini-instruct", sku)
        tokens = chosen.batch_size * chosen.gradient_accumulation * chosen.max_length
        assert tokens == TOKENS_PER_STEP


def test_what_the_user_set_is_kept() -> None:
    chosen = _fitted(
        "smollm2-360m-instruct",
        "g5.xlarge",
        TrainingArguments={
            "per_device_train_batch_size": 3,
            "gradient_accumulation_steps": 5,
            "gradient_checkpointing": True,
            "max_length": 777,
        },
    )
    assert (chosen.batch_size, chosen.gradient_accumulation) == (3, 5)
    assert chosen.checkpointing and chosen.max_length == 777


def test_a_batch_alone_is_not_accumulated() -> None:
    arguments = {"per_device_train_batch_size": 1}
    chosen = _fitted("smollm2-360m-instruct", "g5.xlarge", TrainingArguments=arguments)
    assert (chosen.batch_size, chosen.gradient_accumulation) == (1, 1)


def test_an_accumulation_alone_leaves_the_batch_to_be_chosen() -> None:
    arguments = {"gradient_accumulation_steps": 2}
    chosen = _fitted("smollm2-360m-instruct", "g5.xlarge", TrainingArguments=arguments)
    assert (chosen.batch_size, chosen.gradient_accumulation) == (1, 2)


def test_a_sequence_is_never_longer_than_the_context() -> None:
    tiny = replace(_architecture("smollm2-135m-instruct"), context=512)
    chosen, _ = plan(tiny, _gpu("g5.xlarge"), _config("lora"), _CATALOG)
    assert chosen and chosen.max_length == 512


def test_kaitos_template_on_a_v100_is_warned_and_computed_in_float16() -> None:
    chosen, problems = _plan(
        "phi-3-mini-128k-instruct", "Standard_NC6s_v3", ModelConfig={"torch_dtype": "bfloat16"}
    )
    assert chosen and chosen.dtype == "float16"
    (problem,) = problems
    assert problem.warning and problem.path == "training_config.ModelConfig.dtype"
    assert "NVIDIA V100 16GB of Standard_NC6s_v3; float16 is used instead" in problem.line()


def test_a_users_float16_is_kept_where_bfloat16_would_do() -> None:
    chosen = _fitted("phi-4-mini-instruct", "g5.xlarge", ModelConfig={"torch_dtype": "float16"})
    assert chosen.dtype == "float16"


REFUSED: list[tuple[str, str, Method, dict[str, dict[str, Any]], list[str]]] = [
    (
        "llama-3.1-8b-instruct",
        "Standard_NC6s_v3",
        "lora",
        {},
        ["has 15.7 GiB and this needs 1", "method: qlora", "Standard_NV36ads_A10_v5 (22.0 GiB)"],
    ),
    (
        "phi-4-mini-instruct",
        "Standard_NC4as_T4_v3",
        "qlora",
        {"TrainingArguments": {"per_device_train_batch_size": 64}},
        ["batch 64 of 2048 tokens", "per_device_train_batch_size: ", "max_length: "],
    ),
    (
        "phi-3-mini-4k-instruct",
        "g5.xlarge",
        "lora",
        {"TrainingArguments": {"gradient_checkpointing": False, "max_length": 4096}},
        ["without activation checkpointing", "gradient_checkpointing: true", "max_length: 2048"],
    ),
    (
        "llama-3.3-70b-instruct",
        "Standard_NC24ads_A100_v4",
        "lora",
        {},
        ["has 79.1 GiB and this needs 15", "what fits: method: qlora"],
    ),
    (
        "llama-3.3-70b-instruct",
        "Standard_NC6s_v3",
        "lora",
        {},
        ["method: qlora on Standard_NC24ads_A100_v4"],
    ),
    (
        "llama-3.3-70b-instruct",
        "Standard_NC4_A2",
        "qlora",
        {},
        ["no known type of arc holds it: use a smaller model"],
    ),
]


@pytest.mark.parametrize(("name", "sku", "method", "sections", "told"), REFUSED)
def test_a_refusal_names_both_sizes_and_what_would_fit(
    name: str, sku: str, method: Method, sections: dict[str, dict[str, Any]], told: list[str]
) -> None:
    line = _refusal(name, sku, method, **sections)
    assert line.startswith("resource.instanceType: ")
    assert [t for t in told if t not in line] == [], line


@pytest.mark.parametrize(
    ("sku", "card", "instead"),
    [
        ("Standard_NG32ads_V620_v1", "AMD Radeon PRO V620", "Standard_"),
        ("trn1.2xlarge", "AWS Trainium", "g"),
        ("inf2.xlarge", "AWS Inferentia2", "g"),
        ("g4ad.xlarge", "AMD Radeon Pro V520", "g"),
    ],
)
def test_cards_of_other_makers_are_refused(sku: str, card: str, instead: str) -> None:
    line = _refusal("smollm2-135m-instruct", sku)
    assert f"{sku} has {card}, and tuning needs NVIDIA cards" in line
    assert f"use {instead}" in line


def test_the_whole_table_of_presets_and_cards_is_answered() -> None:
    config = {m: _config(m) for m in ("lora", "qlora")}
    for name in _NAMES:
        for gpu in _CATALOG.gpus:
            for each in config.values():
                chosen, problems = plan(_architecture(name), gpu, each, _CATALOG)
                assert (chosen is None) == bool(errors(problems))


def test_every_tunable_preset_fits_some_instance_type() -> None:
    config = _config("qlora")
    for name in _NAMES:
        plans = [plan(_architecture(name), _gpu(s), config, _CATALOG)[0] for s in _CUDA]
        assert any(plans), name


def _suggested(line: str, pattern: str, read: Callable[[str], Any]) -> Any:
    part = next((p for p in line.split("; ") if pattern in p), None)
    return read(part.split(pattern)[1].split(" ")[0]) if part else None


@settings(deadline=None)
@given(
    name=st.sampled_from(_NAMES),
    sku=st.sampled_from(_CUDA),
    method=st.sampled_from(["lora", "qlora"]),
    batch=st.none() | st.integers(1, 512),
    accumulation=st.none() | st.integers(1, 64),
    checkpointing=st.none() | st.booleans(),
    max_length=st.none() | st.integers(16, 4096),
    packing=st.none() | st.booleans(),
    rank=st.integers(1, 256),
)
def test_a_plan_fits_and_keeps_what_was_set(
    name: str,
    sku: str,
    method: Method,
    batch: int | None,
    accumulation: int | None,
    checkpointing: bool | None,
    max_length: int | None,
    packing: bool | None,
    rank: int,
) -> None:
    given_values = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_checkpointing": checkpointing,
        "max_length": max_length,
        "packing": packing,
    }
    arguments = {k: v for k, v in given_values.items() if v is not None}
    config = _config(method, TrainingArguments=arguments, LoraConfig={"r": rank})
    a, gpu = _architecture(name), _gpu(sku)
    chosen, problems = plan(a, gpu, config, _CATALOG)
    if chosen is None:
        assert f"has {gpu.gib_per_gpu:.1f} GiB" in problems[-1].line()
        _holds_what_it_suggests(a, gpu, config, problems[-1].line())
        return
    assert chosen.estimate.total_gib <= gpu.gib_per_gpu
    assert batch in (None, chosen.batch_size)
    assert accumulation in (None, chosen.gradient_accumulation)
    assert checkpointing in (None, chosen.checkpointing)
    assert max_length is None or chosen.max_length == min(max_length, a.context)


def _holds_what_it_suggests(a: Architecture, gpu: Gpu, config: TrainingConfig, line: str) -> None:
    wanted = demand(a, config, gpu)
    least = replace(
        wanted.work,
        batch=wanted.batch or 1,
        checkpointing=True if wanted.checkpointing is None else wanted.checkpointing,
    )
    length = _suggested(line, "max_length: ", int)
    if length:
        assert estimate(a, replace(least, length=length)).total_gib <= gpu.gib_per_gpu
    batch = _suggested(line, "per_device_train_batch_size: ", int)
    if batch:
        assert estimate(a, replace(least, batch=batch)).total_gib <= gpu.gib_per_gpu


def test_a_cpu_needs_more_for_the_output_head_than_a_card() -> None:
    a, config = _architecture("smollm2-135m-instruct"), _config("lora")
    cpu = replace(_gpu("g5.xlarge"), architecture="cpu")
    on_card, on_cpu = (plan(a, g, config, _CATALOG)[0] for g in (_gpu("g5.xlarge"), cpu))
    assert on_card and on_cpu
    assert on_cpu.estimate.head_gib > on_card.estimate.head_gib + 1


def test_a_catalog_without_other_types_still_answers() -> None:
    alone = Catalog((), ())
    chosen, problems = plan(
        _architecture("llama-3.3-70b-instruct"), _gpu("g5.xlarge"), _config("lora"), alone
    )
    assert chosen is None and "use a smaller model" in problems[0].line()
