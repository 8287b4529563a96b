"""The base's modules as we know them against the classes of transformers (meta device)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rig.loras import loaded
from rig.tiny import MODEL_ID
from transformers import AutoConfig, AutoModelForCausalLM

from presets import Architecture
from serving.base import Base, modules_of, read
from serving.plan import ServedModel

_TYPES = ["cohere", "falcon", "gemma", "gemma2", "gemma3_text", "gpt_oss", "granite", "llama"]
_TYPES += ["ministral3", "mistral", "mixtral", "olmo", "olmo2", "olmo3", "phi", "phi3", "qwen2"]
_TYPES += ["qwen3", "qwen3_moe", "smollm3", "stablelm"]
_TIED = {"cohere", "gemma", "gemma2", "gemma3_text", "falcon"}


def architecture(model_type: str) -> Architecture:
    experts = 4 if model_type in ("mixtral", "qwen3_moe", "gpt_oss") else 1
    kv_heads = 1 if model_type == "falcon" else 2
    tied = model_type in _TIED
    return Architecture(model_type, 2, 64, 4, kv_heads, 16, 128, 256, tied, 512, experts)


@pytest.mark.parametrize("model_type", _TYPES)
def test_modules_are_named_and_shaped_as_transformers_builds_them(model_type: str) -> None:
    a = architecture(model_type)
    numbers = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": a.kv_heads,
        "head_dim": 16,
        "intermediate_size": 128,
        "moe_intermediate_size": 128,
        "ffn_hidden_size": 128,
        "num_experts": a.experts,
        "num_local_experts": a.experts,
        "vocab_size": 256,
        "tie_word_embeddings": a.tied,
    }
    if model_type == "falcon":
        numbers.pop("head_dim")
    with torch.device("meta"):
        config = AutoConfig.for_model(model_type, **numbers, pad_token_id=0)
        model = AutoModelForCausalLM.from_config(config)
    head = {"lm_head"} if a.tied else set()
    real = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in head
    }
    assert dict(modules_of(a)) == real


def test_a_folder_says_its_modules(tiny: Path, base: Base) -> None:
    model = loaded(tiny)
    real = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert base.modules == real
    assert not base.by_tail


def test_an_unknown_type_is_read_from_its_files(tiny: Path, tmp_path: Path) -> None:
    config = json.loads((tiny / "config.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "brand_new"}))
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    found = read(ServedModel(name="new", id="org/new"), tmp_path, None)
    assert found.by_tail
    assert found.shapes("model.layers.1.mlp.up_proj") == {(128, 256)}
    assert found.shapes("language_model.model.layers.1.mlp.up_proj") == {(128, 256)}
    assert found.shapes("model.layers.2.mlp.up_proj") == frozenset()
    assert found.shapes("mlp.up_proj") == frozenset()


@pytest.mark.parametrize("config", [b"", b"[]", b"{}", b'{"model_type": "brand_new"}', None])
def test_a_model_that_says_nothing_has_no_known_modules(
    tmp_path: Path, config: bytes | None
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_bytes(config)
    assert read(ServedModel(name="new", id="org/new"), tmp_path, None).modules is None


def test_packed_weights_of_an_unknown_type_are_not_taken_for_shapes(
    tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "new", "quantization_config": {}}')
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    assert read(ServedModel(name="new", id="org/new"), tmp_path, None).modules is None


def test_who_it_is(base: Base) -> None:
    mirrored = Base("Org/Model", ("mirror/model",))
    assert mirrored.is_("org/model") and mirrored.is_("Mirror/Model")
    assert not mirrored.is_("org/model-2") and not mirrored.is_("")
    assert base.is_(MODEL_ID)
