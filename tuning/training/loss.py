"""The loss on a CPU: only the positions that are learned go through the language-model head.

TRL does the same on a GPU (its Triton path); elsewhere it projects every token of the batch on the
whole vocabulary, twice, with a gradient product in float32: half of a small model's time, most of
it for prompts. The loss is the same mean over the learned tokens.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100
"""Label of a token without loss (torch's cross-entropy)."""
MAX_LOGITS = 64 * 1024 * 1024
"""Above so many logits (about 0.9 GiB with their gradients) TRL's tiles need less memory."""


def learned_positions(labels: torch.Tensor) -> torch.Tensor:
    """Where any row of `labels` (batch, length) has a next token to learn: indexes into length."""
    return (labels[:, 1:] != IGNORED).any(dim=0).nonzero().flatten()


def fits(model: Any, labels: torch.Tensor) -> bool:
    """Whether the model can skip positions, and the logits that are left are few enough."""
    base = model.get_base_model()
    if "logits_to_keep" not in inspect.signature(type(base).forward).parameters:
        return False
    count = labels.shape[0] * len(learned_positions(labels))
    return 0 < count * int(base.get_output_embeddings().weight.shape[0]) <= MAX_LOGITS


def loss(model: Any, inputs: dict[str, Any], items: Any) -> torch.Tensor:
    """Cross entropy summed over the learned tokens, divided by `items` (None: by their number)."""
    labels = inputs["labels"]
    kept = learned_positions(labels)
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    logits = model(**rest, use_cache=False, logits_to_keep=kept).logits
    targets = labels[:, 1:][:, kept]
    summed = cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), reduction="sum", ignore_index=IGNORED
    )
    count = (targets != IGNORED).sum() if items is None else torch.as_tensor(items)
    return summed / count.clamp(min=1)
