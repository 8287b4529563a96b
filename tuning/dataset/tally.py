"""Counting while rows stream by: what data.py sees of each row, summed up for the report.

Eight bytes a row for duplicates and four an example for lengths; nothing else grows with the data.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from typing import Any

from tuning.dataset.report import Lengths, Reason
from tuning.dataset.rows import Bad, Chat, Pair, Row
from tuning.dataset.tokens import TOO_LONG, Encoded, template_ends

_MAX_REASONS = 50
_FIRST_ROWS = 3
_SAMPLE = 100
_HOPELESS_ROWS = 10_000
_LONGEST_EXAMPLE = 2_000
_KINDS = ("chats", "prompt/completion pairs", "texts")


class Tally:
    """Mutable counts; one for a data set."""

    def __init__(self) -> None:
        self.rows = self.kept = self.bad = self.too_long = 0
        self.truncated_examples = self.truncated_tokens = 0
        self.tokens = self.tokens_with_loss = 0
        self.endless = 0
        """Of the first chats, those whose answer no special token ends."""
        self.kinds = dict.fromkeys(_KINDS, 0)
        self.example = ""
        self._reasons: dict[str, Reason] = {}
        self._lengths = array("I")
        self._hashes = array("Q")

    def keep(self, row: Row, line: bytes, encoded: Sequence[Encoded], tokenizer: Any) -> None:
        """Count one row that will be used."""
        self.rows += 1
        self.kept += 1
        self.kinds[_kind(row)] += 1
        self._hashes.append(int.from_bytes(hashlib.blake2b(line, digest_size=8).digest(), "big"))
        for one in encoded:
            self._lengths.append(len(one.input_ids) + one.truncated_tokens)
            self.tokens += len(one.input_ids)
            self.tokens_with_loss += sum(one.loss_mask)
            self.truncated_tokens += one.truncated_tokens
            self.truncated_examples += one.truncated_tokens > 0
        if isinstance(row, Chat) and self.kept <= _SAMPLE:
            self.endless += not template_ends(row, tokenizer)
        self.example = self.example or marked(encoded[0], tokenizer)

    def drop(self, file: str, number: int, bad: Bad, excerpt: str) -> None:
        """Count one row that will not."""
        self.rows += 1
        too_long = bad.reason.startswith(TOO_LONG)
        self.too_long += too_long
        self.bad += not too_long
        reason = bad.reason
        if reason not in self._reasons and len(self._reasons) >= _MAX_REASONS:
            reason = "other reasons"
        known = self._reasons.get(
            reason, Reason(reason=reason, count=0, first=(), excerpt=excerpt, bad=not too_long)
        )
        where = f"{file} row {number}" + (f" ({bad.where})" if bad.where else "")
        first = known.first if len(known.first) >= _FIRST_ROWS else (*known.first, where)
        changes = {"count": known.count + 1, "first": first}
        self._reasons[reason] = known.model_copy(update=changes)

    def knows(self, bad: Bad) -> bool:
        """Whether there has been such a row: then no excerpt is needed."""
        return bad.reason in self._reasons

    @property
    def hopeless(self) -> bool:
        """So many bad rows that reading on only wastes time."""
        return self.bad > _HOPELESS_ROWS and self.bad > self.rows / 2

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Most frequent first."""
        return tuple(sorted(self._reasons.values(), key=lambda r: (-r.count, r.reason)))

    @property
    def examples(self) -> int:
        return len(self._lengths)

    def duplicates(self) -> int:
        """Rows that equal an earlier one."""
        import numpy as np

        return len(self._hashes) - len(np.unique(np.frombuffer(self._hashes, "u8")))

    def shared(self, some: Sequence[int], others: Sequence[int]) -> int:
        """How many of `some` kept rows have an exact copy among `others`."""
        import numpy as np

        hashes = np.frombuffer(self._hashes, "u8")
        mine, theirs = (hashes[np.asarray(which, dtype=int)] for which in (some, others))
        return int(np.isin(mine, theirs).sum())

    def lengths(self) -> Lengths:
        """Of at least one example."""
        ordered = sorted(self._lengths)
        last = len(ordered) - 1
        median, p95 = ordered[last // 2], ordered[-(-last * 95 // 100)]
        return Lengths(min=ordered[0], median=median, p95=p95, max=ordered[last])


def marked(encoded: Encoded, tokenizer: Any) -> str:
    """The example as text, with ⟦ ⟧ around every run of tokens that is learned."""
    parts: list[str] = []
    start = 0
    mask = encoded.loss_mask
    for end in range(1, len(mask) + 1):
        if end == len(mask) or mask[end] != mask[start]:
            text = str(tokenizer.decode(encoded.input_ids[start:end]))
            parts.append(f"⟦{text}⟧" if mask[start] else text)
            start = end
    whole = "".join(parts)
    return whole if len(whole) <= _LONGEST_EXAMPLE else whole[: _LONGEST_EXAMPLE - 1] + "…"


def _kind(row: Row) -> str:
    return _KINDS[0 if isinstance(row, Chat) else 1 if isinstance(row, Pair) else 2]
