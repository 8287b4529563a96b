"""Attention by row is the library's own attention, only cheaper: same outputs, same gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rig import tiny
from transformers import AutoConfig, AutoModelForCausalLM

from tuning.run import Run
from tuning.training import attention
from tuning.training.device import Device

_LENGTHS = (5, 1, 14, 9)
_CPU = Device("cpu", "float32", "", "CPU")
_CUDA = Device("cuda", "bfloat16", "", "a card")
_WINDOWED: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 6},
    "phi3": {"sliding_window": 6},
    "qwen2": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "gemma3_text": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
}


def _model(model_type: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **options,
    )
    return AutoModelForCausalLM.from_config(config)


def _run(folder: Path, **training: Any) -> Run:
    return tiny.make_run(folder, folder, training={"packing": True, **training})


def _pack() -> dict[str, Any]:
    """A packed batch as TRL's collator makes it."""
    draw = torch.Generator().manual_seed(1)
    starts = torch.tensor([0, *_LENGTHS]).cumsum(0).to(torch.int32)
    return {
        "input_ids": torch.randint(3, 64, (1, sum(_LENGTHS)), generator=draw),
        "position_ids": torch.cat([torch.arange(length) for length in _LENGTHS])[None],
        "cu_seq_lens_q": starts,
        "cu_seq_lens_k": starts,
        "max_length_q": max(_LENGTHS),
        "max_length_k": max(_LENGTHS),
        "use_cache": False,
    }


def _outcome(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the gradients of every weight."""
    logits = model(**_pack()).logits
    logits.square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    for parameter in model.parameters():
        parameter.grad = None
    return logits.detach(), gradients


@pytest.mark.parametrize("model_type", sorted(attention._TYPES))
@pytest.mark.parametrize("windowed", [False, True])
def test_by_row_is_the_librarys_own_attention(
    model_type: str, windowed: bool, tmp_path: Path
) -> None:
    model = _model(model_type, **(_WINDOWED.get(model_type, {}) if windowed else {}))
    theirs, their_gradients = _outcome(model)
    attention.use(model, _run(tmp_path), _CPU)
    assert model.config._attn_implementation == attention.NAME
    ours, our_gradients = _outcome(model)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(our_gradients, their_gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model_type", sorted(_WINDOWED))
def test_a_window_is_seen_in_these_tests(model_type: str) -> None:
    narrow, _ = _outcome(_model(model_type, **_WINDOWED[model_type]))
    wide, _ = _outcome(_model(model_type, **{**_WINDOWED[model_type], "sliding_window": 64}))
    assert not torch.allclose(narrow, wide, atol=1e-4)


@pytest.mark.parametrize(
    ("training", "device"),
    [({"packing": False}, _CPU), ({"packing_strategy": "wrapped"}, _CPU), ({}, _CUDA)],
)
def test_others_keep_the_librarys_way(
    training: dict[str, Any], device: Device, tmp_path: Path
) -> None:
    model = _model("llama")
    attention.use(model, _run(tmp_path, **training), device)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_was_not_compared_keeps_the_librarys_way(tmp_path: Path) -> None:
    model = _model("gemma2")
    before = model.config._attn_implementation
    attention.use(model, _run(tmp_path), _CPU)
    assert model.config._attn_implementation == before != attention.NAME


def test_what_the_user_chose_stays(tmp_path: Path) -> None:
    run = _run(tmp_path)
    config = run.config.with_values("model", {"attn_implementation": "sdpa"}, "user")
    model = _model("llama")
    attention.use(model, run.model_copy(update={"config": config}), _CPU)
    assert model.config._attn_implementation == "sdpa"


def test_rows_without_their_bounds_are_refused_not_mixed(tmp_path: Path) -> None:
    model = _model("llama")
    attention.use(model, _run(tmp_path), _CPU)
    batch = {k: v for k, v in _pack().items() if not k.startswith("cu_")}
    with pytest.raises(TypeError, match="cu_seq_lens_q"):
        model(**batch)
