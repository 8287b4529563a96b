"""The numbers of a decoder: from config.json to linear layers and parameter counts.

Read from a preset's row or a hub model's config.json; used by the memory estimate and by whoever
checks which layers a LoRA adapter may name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Query, key, value and a gated MLP as six separate layers, as Llama named them. Each is built and
# compared with transformers in tests/presets/test_real_models.py.
_LLAMA_LIKE = frozenset(
    ["cohere", "gemma", "gemma2", "gemma3_text", "granite", "llama", "ministral3", "mistral"]
) | frozenset(["olmo", "olmo2", "olmo3", "qwen2", "qwen3", "smollm3", "stablelm"])
# Their experts are one fused tensor each, no Linear: neither LoRA nor bitsandbytes reaches them.
_FUSED_EXPERTS = frozenset(["mixtral", "qwen3_moe", "gpt_oss"])
_OTHER = frozenset(["phi", "phi3", "falcon"])


@dataclass(frozen=True, slots=True)
class Linear:
    """One linear layer of a decoder block: the last part of its module name, and its shape."""

    name: str
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Weights; a bias does not count in an estimate."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers of a decoder that the memory estimate needs (transformers' config.json)."""

    model_type: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool
    context: int
    """Longest sequence, in tokens."""
    experts: int = 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Architecture:
        """From a parsed config.json. Raises ValueError naming the key that is missing or wrong."""
        return _from_config(config)

    @property
    def known(self) -> bool:
        """Whether the layers of this model_type are known; else Llama's shape is assumed."""
        return self.model_type in _LLAMA_LIKE | _FUSED_EXPERTS | _OTHER

    @property
    def kv_width(self) -> int:
        """Outputs of the key (or value) projection."""
        return self.kv_heads * self.head_dim

    def linears(self) -> tuple[Linear, ...]:
        """Every linear layer of one decoder block: what "all-linear" means here."""
        return _attention(self) + _mlp(self)

    def linear_modules(self) -> tuple[str, ...]:
        """Names that LoraConfig.target_modules may hold; empty when the model_type is unknown."""
        return tuple(layer.name for layer in self.linears()) if self.known else ()

    @property
    def linear_parameters(self) -> int:
        """Weights of all decoder blocks that are Linear layers: these can be held in 4 bits."""
        return self.layers * sum(layer.parameters for layer in self.linears())

    @property
    def expert_parameters(self) -> int:
        """Weights of fused experts, all blocks: always in 16 bits. 0 without experts."""
        return self.layers * self.experts * 3 * self.hidden * self.ffn if self.experts > 1 else 0

    @property
    def embedding_parameters(self) -> int:
        """Weights of the input and output embeddings: always in 16 bits."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights, but norms and biases (together under 0.1 %)."""
        return self.linear_parameters + self.expert_parameters + self.embedding_parameters


def _attention(a: Architecture) -> tuple[Linear, ...]:
    queries, kv = a.heads * a.head_dim, a.kv_width
    if a.model_type == "phi3":
        fused = Linear("qkv_proj", a.hidden, queries + 2 * kv)
        return fused, Linear("o_proj", queries, a.hidden)
    if a.model_type == "falcon":
        fused = Linear("query_key_value", a.hidden, queries + 2 * kv)
        return fused, Linear("dense", queries, a.hidden)
    out = "dense" if a.model_type == "phi" else "o_proj"
    return (
        Linear("q_proj", a.hidden, queries),
        Linear("k_proj", a.hidden, kv),
        Linear("v_proj", a.hidden, kv),
        Linear(out, queries, a.hidden),
    )


def _mlp(a: Architecture) -> tuple[Linear, ...]:
    if a.experts > 1:
        return ()
    if a.model_type == "phi":
        return Linear("fc1", a.hidden, a.ffn), Linear("fc2", a.ffn, a.hidden)
    if a.model_type == "falcon":
        up, down = "dense_h_to_4h", "dense_4h_to_h"
        return Linear(up, a.hidden, a.ffn), Linear(down, a.ffn, a.hidden)
    if a.model_type == "phi3":
        fused = Linear("gate_up_proj", a.hidden, 2 * a.ffn)
        return fused, Linear("down_proj", a.ffn, a.hidden)
    return (
        Linear("gate_proj", a.hidden, a.ffn),
        Linear("up_proj", a.hidden, a.ffn),
        Linear("down_proj", a.ffn, a.hidden),
    )


# transformers' defaults where a published config.json leaves the key out.
_TIED_BY_DEFAULT = frozenset(["gemma", "gemma2", "gemma3", "gemma3_text", "falcon", "cohere"])
_LARGEST = 2**40


def _from_config(config: Mapping[str, Any]) -> Architecture:
    # Models with an image or sound encoder keep the decoder's numbers in a section of their own.
    inner = config.get("text_config")
    text = {**config, **inner} if isinstance(inner, Mapping) else config
    model_type = text.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ValueError("model_type is missing")
    hidden = _number(text, "hidden_size", "n_embd", "d_model")
    heads = _number(text, "num_attention_heads", "n_head")
    return Architecture(
        model_type=model_type,
        layers=_number(text, "num_hidden_layers", "n_layer"),
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(text, model_type, heads),
        head_dim=_number(text, "head_dim", default=max(hidden // heads, 1)),
        ffn=_ffn(text, model_type, hidden),
        vocab=_number(text, "vocab_size"),
        tied=_flag(text, "tie_word_embeddings", default=model_type in _TIED_BY_DEFAULT),
        context=_context(text, model_type),
        experts=_number(text, "num_local_experts", "num_experts", "n_routed_experts", default=1),
    )


def _kv_heads(text: Mapping[str, Any], model_type: str, heads: int) -> int:
    if model_type != "falcon":
        return _number(text, "num_key_value_heads", default=heads)
    if _flag(text, "new_decoder_architecture", default=False):
        return _number(text, "num_kv_heads", default=heads)
    return 1 if _flag(text, "multi_query", default=True) else heads


def _ffn(text: Mapping[str, Any], model_type: str, hidden: int) -> int:
    if model_type == "falcon":
        return _number(text, "ffn_hidden_size", default=4 * hidden)
    return _number(text, "moe_intermediate_size", "intermediate_size", "n_inner")


def _context(text: Mapping[str, Any], model_type: str) -> int:
    keys = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
    return _number(text, *keys, default=2048 if model_type == "falcon" else None)


def _number(text: Mapping[str, Any], *keys: str, default: int | None = None) -> int:
    key = next((k for k in keys if text.get(k) is not None), None)
    if key is None:
        if default is None:
            raise ValueError(f"{keys[0]} is missing")
        return default
    value = text[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST:
        raise ValueError(f"{key} is {value!r:.40}, not a whole number above 0")
    return value


def _flag(text: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = text.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r:.40}, not true or false")
    return value
