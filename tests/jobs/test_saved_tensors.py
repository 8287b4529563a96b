"""The bytes that autograd really keeps in a block, against the estimate's count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from jobs.estimate import Work, activation_bytes, adapter_bytes
from presets import Architecture
from tuning.training.model import leave_casts_to_autocast

_TOKENS, _RANK = 128, 8
_ALL = Work(weight_bits=16, rank=_RANK, targets=(), batch=1, length=_TOKENS, checkpointing=False)
_BLOCK = Architecture("llama", 1, 256, 4, 2, 64, 768, 128, False, 512)
_EACH_ITS_KEYS = replace(_BLOCK, kv_heads=4)
_CASES = [
    *(replace(_BLOCK, model_type=t) for t in ("llama", "qwen2", "qwen3", "gemma3_text", "gemma2")),
    *(replace(_BLOCK, model_type=t) for t in ("phi3", "olmo2", "mistral")),
    *(replace(_EACH_ITS_KEYS, model_type=t) for t in ("llama", "phi3", "phi", "qwen3")),
    replace(_BLOCK, model_type="falcon", kv_heads=1),
]


def _model(a: Architecture, layers: int, targets: tuple[str, ...]) -> PeftModel:
    numbers = {
        "num_hidden_layers": layers,
        "hidden_size": a.hidden,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim,
        "intermediate_size": a.ffn,
        "vocab_size": a.vocab,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 1,
    }
    if a.model_type == "falcon":
        numbers.pop("head_dim")
        numbers["ffn_hidden_size"] = a.ffn
    config = AutoConfig.for_model(a.model_type, **numbers)
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    chosen = list(targets) or "all-linear"
    model = get_peft_model(base, LoraConfig(r=_RANK, target_modules=chosen, task_type="CAUSAL_LM"))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    leave_casts_to_autocast(model)
    return model


def _kept_bytes(model: PeftModel, vocab: int) -> int:
    """Of one forward pass over a packed batch, shared storage counted once."""
    fixed = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in fixed:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    ids = torch.randint(2, vocab, (1, _TOKENS))
    positions = torch.arange(_TOKENS // 2).repeat(2)[None]
    decoder = model.get_base_model().base_model
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        decoder(input_ids=ids, position_ids=positions, use_cache=False)
    return sum(kept.values())


def _block_bytes(a: Architecture, targets: tuple[str, ...]) -> float:
    """What one more block keeps, without autocast's copies of the adapter.

    The third is compared with the second: before its first adapter, the first block keeps nothing.
    """
    two, three = (_kept_bytes(_model(a, n, targets), a.vocab) for n in (2, 3))
    work = replace(_ALL, targets=targets)
    copies = adapter_bytes(a, work) * 2 / 18
    return three - two - copies


@pytest.mark.parametrize("a", _CASES, ids=lambda a: f"{a.model_type}-{a.kv_heads}")
def test_a_block_keeps_what_the_estimate_says(a: Architecture) -> None:
    assert activation_bytes(a, _ALL) == pytest.approx(_block_bytes(a, ()), rel=0.04)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("o_proj",), ("down_proj", "up_proj")])
def test_fewer_targets_keep_less(targets: tuple[str, ...]) -> None:
    work = replace(_ALL, targets=targets)
    assert activation_bytes(_BLOCK, work) == pytest.approx(_block_bytes(_BLOCK, targets), rel=0.04)
