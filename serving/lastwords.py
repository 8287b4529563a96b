"""What the init container of a serving pod says: which adapters are served, and why others are not.

JSON in the termination message, at most 4 KiB, as tuning/lastwords.py does it for tuning pods. The
operator makes conditions from it (jobs/serving status), never from logs. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tuning.lastwords import LIMIT_BYTES

_SHORTEST_BYTES = 40


class AdapterWords(BaseModel):
    """One adapter of the Workspace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str | None = None
    """Of the image it came from, where it came from one."""
    rank: int | None = None
    sentence: str | None = None
    """Why it is not served; None when it is."""
    kind: str | None = None
    """A reason of tuning/failure.py, beside the sentence."""
    warning: str | None = None
    asked: str | None = None
    """Of a live adapter: AdapterPlan.asked of what these words are about."""


class ServeWords(BaseModel):
    """How far `prepare` came and, if it failed as a whole, of what kind and what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Literal["running", "done", "failed"] = "running"
    kind: str | None = None
    sentence: str | None = None
    warning: str | None = None
    revision: str | None = None
    """Commit of the base model that is served."""
    models: tuple[str, ...] = ()
    """What clients may write as `model`: the base and every good adapter."""
    adapters: tuple[AdapterWords, ...] = ()
    adapter_set: str | None = None
    """Of live adapters: which set these words are about."""
    restart: str | None = None
    """Why only another pod can serve that set; the one before goes on here."""

    def encoded(self) -> bytes:
        """The JSON; the longest sentences are cut so that Kubernetes never cuts it in the middle.

        Ten adapters with names of 63 characters fit even when every sentence is cut to the bone.
        """
        words, longest = self, LIMIT_BYTES
        while len(raw := words.model_dump_json(exclude_none=True).encode()) > LIMIT_BYTES:
            if longest <= _SHORTEST_BYTES:
                return raw[:LIMIT_BYTES]
            longest = longest * 3 // 4
            words = _shortened(self, longest)
        return raw


def _shortened(words: ServeWords, longest: int) -> ServeWords:
    adapters = tuple(
        a.model_copy(update={"sentence": _cut(a.sentence, longest), "warning": _cut(a.warning, 0)})
        for a in words.adapters
    )
    return words.model_copy(
        update={
            "sentence": _cut(words.sentence, longest),
            "warning": _cut(words.warning, longest),
            "adapters": adapters,
        }
    )


def _cut(text: str | None, longest: int) -> str | None:
    """Shortened to so many bytes of JSON; None (left out) when nothing may stay."""
    if text is None or not longest:
        return None
    kept = text
    # Characters that JSON escapes are up to six times as long there.
    while len(kept.encode("unicode_escape")) > longest:
        kept = kept[: len(kept) * 3 // 4]
    return kept if kept == text else kept + "…"


def write(path: Path | None, words: ServeWords) -> None:
    """Overwrite the message. A message that cannot be written must not end the pod."""
    if path is None:
        return
    try:
        # Not by rename: the kubelet mounts this very file.
        path.write_bytes(words.encoded())
    except OSError:
        return
