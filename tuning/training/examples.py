"""Checked rows → token ids and labels, as the trainer takes them.

`prepare` has checked every row; here they are tokenised, so that the loss lies on exactly the
tokens that its report showed. TRL gets finished `labels` and leaves them as they are: no custom
collator, no chat-template patching, only its packing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from tuning.dataset.tokens import Encoded, encoded_rows
from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.training.loss import IGNORED


@dataclass(frozen=True, slots=True)
class Examples:
    """One split, tokenised."""

    dataset: Dataset
    """Columns `input_ids` and `labels`, one row per example."""
    tokens: int
    with_loss: int

    @property
    def rows(self) -> int:
        return len(self.dataset)


def load(path: Path, run: Run, tokenizer: Any) -> Examples | None:
    """The rows of one split; None when the file does not exist (no evaluation split).

    Raises Failure (BAD_DATA) when no token would be trained.
    """
    if not path.exists():
        return None
    encoded = list(encoded_rows(path, tokenizer, run.config.training))
    ids = [example.input_ids for example in encoded]
    labels = [_labels(example) for example in encoded]
    if not ids:
        raise Failure(Kind.BAD_DATA, f"{path.name}: no row has a token to learn")
    with_loss = sum(label != IGNORED for row in labels for label in row)
    dataset = Dataset.from_dict({"input_ids": ids, "labels": labels})
    return Examples(dataset, sum(map(len, ids)), with_loss)


def digest(*paths: Path) -> str:
    """sha256 over the row files, in order: the data's part of a run's identity."""
    total = hashlib.sha256()
    for path in paths:
        if path.exists():
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        total.update(b"|")
    return total.hexdigest()


def _labels(example: Encoded) -> list[int]:
    pairs = zip(example.input_ids, example.loss_mask, strict=True)
    return [token if learned else IGNORED for token, learned in pairs]
