"""What parse() accepts, the real TRL, PEFT and PyTorch take: nothing passes here and dies there."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch.utils.checkpoint import checkpoint
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, Trainer
from transformers.optimization import get_scheduler
from trl import SFTConfig

from tuning.config import TrainingConfig, parse
from tuning.settings.options import Option, installed
from tuning.settings.read import options

SAMPLES: Mapping[str, list[Any]] = {
    "bool": [True, False],
    "int": [-1, 0, 1, 2, 7, 4096],
    "float": [-1.0, 0.0, 1e-8, 0.05, 0.5, 1.0, 2.0, 2.5, 100.0],
    "str": ["", "x", "steps", "auto", "a=b", "none"],
    "dict": [{}, {"a": 1}, {"num_cycles": 2}, {"use_reentrant": False}, {"min_lr": 1e-6}],
    "list": [[], ["x"]],
    "list[str]": [[], ["q_proj"], ["q_proj", "v_proj"]],
    "list[int]": [[], [0], [0, 1]],
    "list[list[int]]": [[[0, 1]]],
    "object": [{}, {"rho": 2.0}],
    "null": [None],
}


def samples(option: Option) -> list[Any]:
    """Values of its types, good and bad, and every choice and the library's own default."""
    own = [] if option.default is None else [option.default]
    return [*option.choices, *own, *itertools.chain(*(SAMPLES[kind] for kind in option.types))]


def accepted(sections: Mapping[str, Any]) -> TrainingConfig | None:
    return parse(yaml.safe_dump({"training_config": dict(sections)}), "lora")[0]


def build(config: TrainingConfig) -> tuple[SFTConfig, LoraConfig]:
    """As tuning/training/arguments.py does on a CPU: precision and device are not the user's."""
    training = {k: v for k, v in config.training.items() if k not in ("bf16", "fp16")}
    training.setdefault("activation_checkpointing", False)
    with warnings.catch_warnings():
        # TRL 1.16 means to drop it in 2.0; until then it does what it says
        warnings.filterwarnings("ignore", message=".*'keep_end'.*", category=FutureWarning)
        arguments = SFTConfig(output_dir="unused", use_cpu=True, bf16=False, **training)
    return arguments, LoraConfig(task_type="CAUSAL_LM", **config.lora)


# an option that takes effect only beside another one
BESIDE: Mapping[str, dict[str, Any]] = {
    "dataloader_prefetch_factor": {"dataloader_num_workers": 1},
    "dataloader_persistent_workers": {"dataloader_num_workers": 1},
    "dataloader_multiprocessing_context": {"dataloader_num_workers": 1},
    "load_best_model_at_end": {
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 5,
        "save_steps": 10,
    },
    "lr_scheduler_type": {"eval_strategy": "epoch"},
    "padding_free": {"packing": True},
}
SPLIT = {"DatasetConfig": {"train_test_split": 0.9}}
TRAINING = sorted(options("TrainingArguments"))


@pytest.mark.parametrize("name", TRAINING)
def test_every_accepted_training_option_is_taken_by_trl(name: str) -> None:
    for value in samples(options("TrainingArguments")[name]):
        keys = {**BESIDE.get(name, {}), name: value}
        config = accepted({"TrainingArguments": keys, **SPLIT})
        if config is not None:
            build(config)


@pytest.mark.parametrize("name", TRAINING)
def test_the_librarys_own_default_is_never_refused(name: str) -> None:
    default = options("TrainingArguments")[name].default
    assert accepted({"TrainingArguments": {name: default}, **SPLIT}) is not None


@functools.cache
def good_alone(section: str) -> dict[str, list[Any]]:
    """Of each option of a section, the values that are accepted when nothing else is said."""
    found = {}
    for name, option in options(section).items():
        beside = BESIDE.get(name, {}) if section == "TrainingArguments" else {}
        values = [v for v in samples(option) if accepted({section: {**beside, name: v}, **SPLIT})]
        if any(value is not None for value in values):
            found[name] = values
    return found


def test_most_options_can_be_set() -> None:
    assert len(good_alone("TrainingArguments")) > 120 and len(good_alone("LoraConfig")) > 18


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_mixture_that_is_accepted_is_taken(data: st.DataObject) -> None:
    sections: dict[str, Any] = dict(SPLIT) if data.draw(st.booleans()) else {}
    for section in ("TrainingArguments", "LoraConfig"):
        good = good_alone(section)
        names = data.draw(st.lists(st.sampled_from(sorted(good)), max_size=8, unique=True))
        sections[section] = {name: data.draw(st.sampled_from(good[name])) for name in names}
    config = accepted(sections)
    if config is not None:
        build(config)


@pytest.fixture(scope="module")
def llama() -> LlamaConfig:
    return LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=32,
    )


def lora_cases() -> list[dict[str, Any]]:
    named = {"target_modules": ["q_proj", "v_proj"]}
    return [
        *({"r": r, "lora_alpha": r} for r in (1, 8)),
        {"target_modules": "q_proj, v_proj"},
        {"target_modules": ".*(q|v)_proj"},
        {"target_modules": "all-linear", "exclude_modules": ["down_proj"]},
        {"target_modules": ["embed_tokens"]},
        {**named, "layers_to_transform": [1]},
        {**named, "layers_to_transform": 1, "layers_pattern": "layers"},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 0.5}},
        {"use_dora": True, "use_rslora": True, "lora_dropout": 0.1},
        *({"init_lora_weights": start} for start in (True, False, "gaussian")),
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": False},
        {"trainable_token_indices": [1, 2]},
        {"trainable_token_indices": {"embed_tokens": [1]}},
        {"bias": "all"},
        {"bias": "lora_only"},
        {**named, "target_parameters": None, "fan_in_fan_out": False},
    ]


# PEFT 0.21.2 asks a model by the name that transformers 5.24 has just deprecated
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("keys", lora_cases(), ids=str)
def test_an_accepted_adapter_is_made_on_a_real_model(
    keys: dict[str, Any], llama: LlamaConfig
) -> None:
    config = accepted({"LoraConfig": keys})
    assert config is not None
    model = get_peft_model(LlamaForCausalLM(llama), build(config)[1])
    assert any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", sorted(installed().schedulers))
def test_an_accepted_schedule_is_made(kind: str) -> None:
    needs = {
        "cosine_with_min_lr": {"min_lr_rate": 0.1},
        "cosine_warmup_with_min_lr": {"min_lr": 1e-6},
        "warmup_stable_decay": {"num_decay_steps": 2},
        "polynomial": {"power": 2},
        "cosine": {"num_cycles": 0.5},
        "reduce_lr_on_plateau": {"factor": 0.5},
        "greedy": {"patience": 3},
    }
    keys: dict[str, Any] = {"lr_scheduler_type": kind, "eval_strategy": "epoch"}
    if kind in needs:
        keys["lr_scheduler_kwargs"] = needs[kind]
    config = accepted({"TrainingArguments": keys, **SPLIT})
    assert config is not None
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    given_ = config.training.get("lr_scheduler_kwargs")
    get_scheduler(kind, optimizer, 1, 10, scheduler_specific_kwargs=given_)


@pytest.mark.parametrize("kind", options("TrainingArguments")["optim"].choices)
def test_an_accepted_optimizer_is_installed(kind: str) -> None:
    config = accepted({"TrainingArguments": {"optim": kind}})
    if config is not None:
        Trainer.get_optimizer_cls_and_kwargs(build(config)[0])


@pytest.mark.parametrize(
    "given_",
    [
        {"use_reentrant": False},
        {"use_reentrant": True, "preserve_rng_state": False},
        {"use_reentrant": False, "determinism_check": "none", "debug": False, "early_stop": True},
    ],
)
def test_accepted_checkpointing_settings_are_pytorchs(given_: dict[str, Any]) -> None:
    config = accepted({"TrainingArguments": {"activation_checkpointing_kwargs": given_}})
    assert config is not None
    where = torch.ones(1, requires_grad=True)
    made = checkpoint(torch.exp, where, **config.training["activation_checkpointing_kwargs"])
    torch.autograd.backward(made)
    assert where.grad is not None


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", None])
def test_accepted_quantization_is_bitsandbytes(quant_type: str, dtype: str | None) -> None:
    keys = {"bnb_4bit_quant_type": quant_type, "bnb_4bit_compute_dtype": dtype}
    text = yaml.safe_dump({"training_config": {"QuantizationConfig": keys}})
    config, _ = parse(text, "qlora")
    assert config is not None
    made = BitsAndBytesConfig(**config.quantization.model_dump())
    assert made.load_in_4bit and made.bnb_4bit_quant_type == quant_type
