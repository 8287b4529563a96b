"""config.json → numbers, or the key that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import Architecture

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 512,
    "max_position_embeddings": 256,
}


def test_what_a_config_leaves_out_has_transformers_defaults() -> None:
    a = Architecture.from_config(LLAMA)
    assert (a.kv_heads, a.head_dim, a.tied, a.experts) == (4, 16, False, 1)


def test_a_decoder_inside_a_vision_model_is_found() -> None:
    text = {**LLAMA, "model_type": "gemma3_text", "head_dim": 32}
    a = Architecture.from_config({"model_type": "gemma3", "text_config": text})
    assert (a.model_type, a.head_dim, a.tied) == ("gemma3_text", 32, True)


@pytest.mark.parametrize(
    ("config", "kv_heads", "ffn"),
    [
        ({"multi_query": True}, 1, 256),
        ({"multi_query": False}, 4, 256),
        ({"new_decoder_architecture": True, "num_kv_heads": 2}, 2, 256),
        ({"ffn_hidden_size": 100}, 1, 100),
    ],
)
def test_falcon_has_its_own_keys(config: dict[str, Any], kv_heads: int, ffn: int) -> None:
    base = {k: v for k, v in LLAMA.items() if k not in ("intermediate_size",)}
    base.pop("max_position_embeddings")
    a = Architecture.from_config({**base, "model_type": "falcon", **config})
    assert (a.kv_heads, a.ffn, a.context, a.tied) == (kv_heads, ffn, 2048, True)


def test_experts_have_their_own_width() -> None:
    moe = {"model_type": "qwen3_moe", "num_experts": 8, "moe_intermediate_size": 32}
    a = Architecture.from_config({**LLAMA, **moe})
    assert (a.experts, a.ffn) == (8, 32)
    assert a.linear_modules() == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert a.expert_parameters == 2 * 8 * 3 * 64 * 32


def test_an_unknown_kind_is_estimated_as_llama_but_names_no_layers() -> None:
    a = Architecture.from_config({**LLAMA, "model_type": "brand_new"})
    assert a.parameters == Architecture.from_config(LLAMA).parameters
    assert a.linear_modules() == () and not a.known


@pytest.mark.parametrize("key", [k for k in LLAMA])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is missing"):
        Architecture.from_config({k: v for k, v in LLAMA.items() if k != key})


@pytest.mark.parametrize("value", ["2", 0, -1, 2.5, True, [2], 2**50, {}])
def test_a_wrong_value_is_named(value: object) -> None:
    with pytest.raises(ValueError, match="hidden_size is"):
        Architecture.from_config({**LLAMA, "hidden_size": value})


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ValueError, match="tie_word_embeddings is 'yes'"):
        Architecture.from_config({**LLAMA, "tie_word_embeddings": "yes"})


_KEYS = st.sampled_from([*LLAMA, "text_config", "head_dim", "num_local_experts", "multi_query"])
_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers())


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _VALUES))
def test_any_config_gives_numbers_or_a_sentence(changes: dict[str, Any]) -> None:
    try:
        a = Architecture.from_config({**LLAMA, **changes})
    except ValueError as error:
        assert str(error)
    else:
        assert a.parameters > 0
