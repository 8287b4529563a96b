"""Every preset against the model that transformers builds from the same numbers (meta device)."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from presets import Architecture, Preset, load

_CATALOG = load()
_TUNABLE = [p for p in _CATALOG.presets if p.tuning]
_ARCHITECTURES = {p.architecture: p for p in _TUNABLE if p.architecture}
# Layouts that no shipped preset has, but a hub model may.
_HUB_ONLY = [
    Architecture(t, 2, 64, 4, 2, 16, 128, 256, t in ("cohere", "gemma"), 512)
    for t in ("cohere", "gemma", "granite", "ministral3", "olmo", "olmo2", "olmo3", "stablelm")
]
_EXPERTS = [
    Architecture(t, 2, 64, 4, 2, 16, 128, 256, False, 512, experts=4)
    for t in ("mixtral", "qwen3_moe", "gpt_oss")
]


def _config(a: Architecture) -> PretrainedConfig:
    numbers = {
        "num_hidden_layers": 2,
        "hidden_size": a.hidden,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim,
        "intermediate_size": a.ffn,
        "vocab_size": a.vocab,
        "tie_word_embeddings": a.tied,
        "max_position_embeddings": a.context,
    }
    if a.model_type == "falcon":
        numbers.pop("head_dim")
        numbers |= {"num_kv_heads": a.kv_heads, "new_decoder_architecture": a.kv_heads > 1}
    if a.experts > 1:
        experts = "num_experts" if a.model_type == "qwen3_moe" else "num_local_experts"
        numbers |= {experts: a.experts, "moe_intermediate_size": a.ffn}
    return AutoConfig.for_model(a.model_type, **numbers, pad_token_id=0)


def _built(a: Architecture) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(_config(a))


def _block_linears(model: PreTrainedModel) -> dict[str, torch.nn.Linear]:
    """Linear layers outside the output head, by the last part of their name."""
    head = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            found[name.rsplit(".", 1)[-1]] = module
    return found


def _parameters(model: PreTrainedModel, a: Architecture) -> int:
    """Of the whole model: the two blocks that were built, counted `layers` times."""
    sizes = {name: int(p.numel()) for name, p in model.named_parameters()}
    block = sum(size for name, size in sizes.items() if ".0." in name)
    rest = sum(size for name, size in sizes.items() if ".0." not in name and ".1." not in name)
    return a.layers * block + rest


def _name(value: Preset | Architecture) -> str:
    return value.name if isinstance(value, Preset) else value.model_type


_BY_PRESET = list(_ARCHITECTURES.values())


@pytest.mark.parametrize("preset", _BY_PRESET, ids=_name)
def test_an_estimate_counts_the_parameters_of_the_real_model(preset: Preset) -> None:
    a = preset.architecture
    assert a is not None
    assert a.parameters == pytest.approx(_parameters(_built(a), a), rel=0.002)


@pytest.mark.parametrize("preset", _BY_PRESET, ids=_name)
def test_all_linear_means_every_linear_layer_of_a_block_with_its_shape(preset: Preset) -> None:
    a = preset.architecture
    assert a is not None
    real = {n: (m.in_features, m.out_features) for n, m in _block_linears(_built(a)).items()}
    assert {x.name: (x.inputs, x.outputs) for x in a.linears()} == real


@pytest.mark.parametrize("preset", _TUNABLE, ids=_name)
def test_every_lora_target_of_a_preset_exists(preset: Preset) -> None:
    a = preset.architecture
    assert a is not None and a.known
    assert set(preset.lora_targets) <= set(a.linear_modules())


@pytest.mark.parametrize("a", [*_HUB_ONLY, *_EXPERTS], ids=_name)
def test_other_known_layouts_are_as_built(a: Architecture) -> None:
    model = _built(a)
    assert set(a.linear_modules()) == set(_block_linears(model))


@pytest.mark.parametrize("a", _EXPERTS, ids=_name)
def test_experts_are_counted_whole(a: Architecture) -> None:
    real = sum(p.numel() for n, p in _built(a).named_parameters() if ".experts." in n)
    assert a.expert_parameters == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("preset", _BY_PRESET, ids=_name)
def test_a_config_json_gives_the_same_numbers_as_the_preset(preset: Preset) -> None:
    a = preset.architecture
    assert a is not None
    config = {**_config(a).to_dict(), "num_hidden_layers": a.layers}
    assert Architecture.from_config(config) == a


def test_fused_layers_have_no_name_of_the_separate_ones() -> None:
    phi3 = next(a for a in _ARCHITECTURES if a.model_type == "phi3")
    assert phi3.linear_modules() == ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
