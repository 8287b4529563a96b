"""Attention over packed rows, each by itself: on a CPU its cost grows with rows, not with packs.

The library's own way computes a whole pack against itself and masks what crosses from row to row:
at 4,096 tokens of short rows nearly all of it (measured: 4.2 ms a token instead of 1.1 for a model
of 30 million parameters). Here each row is one causal call. model.py switches a base to it when the
 run packs on a CPU. Cards keep the library's way: there many small calls may cost more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from tuning.run import Run
from tuning.training.device import Device

NAME = "tunery_by_row"
_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "gemma3_text"})
"""Held against the library's own attention by tests/tuning/test_attention.py. Others may use what
is not done here: capped scores, sinks, position biases."""


def use(model: Any, run: Run, device: Device) -> None:
    """Switch a freshly loaded base to attention by row, if it is known to be the same there."""
    training = run.config.training
    packs = bool(training.get("packing")) and training.get("packing_strategy") != "wrapped"
    ours = run.config.model.attn_implementation is None and device.kind == "cpu"
    if packs and ours and model.config.model_type in _TYPES:
        AttentionInterface.register(NAME, by_row)
        model.set_attn_implementation(NAME)


def by_row(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row of a pack (transformers' AttentionInterface).

    query is (1, heads, tokens, width), key and value have their own number of heads;
    `cu_seq_lens_q` holds where each row begins, and the end: TRL's collator gives it with every
    packed batch. Without it there is a TypeError, never attention across rows.
    """
    lengths = cu_seq_lens_q.diff().tolist()
    rows = zip(*(torch.split(t, lengths, dim=2) for t in (query, key, value)), strict=True)
    seen = []
    for row_query, row_key, row_value in rows:
        mask = _window_mask(row_query, sliding_window)
        seen.append(
            scaled_dot_product_attention(
                row_query,
                row_key,
                row_value,
                attn_mask=mask,
                is_causal=mask is None,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=key.shape[1] != query.shape[1],
            )
        )
    return torch.cat(seen, dim=2).transpose(1, 2).contiguous(), None


def _window_mask(query: torch.Tensor, window: int | None) -> torch.Tensor | None:
    """Who sees whom where a layer looks back only `window` tokens; None: all that came before."""
    length = query.shape[2]
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=query.device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < window)
