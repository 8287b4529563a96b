"""What a pod says before it is gone: JSON in the termination message, at most 4 KiB.

Rewritten at each phase, because a SIGKILL or the OOM killer leaves whatever was written last. The
operator reads status from it (`jobs/status.py`), never from logs. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

LIMIT_BYTES = 4096
"""Kubernetes cuts a termination message here."""
DEFAULT_PATH = Path("/dev/termination-log")
_LONGEST_SENTENCE_BYTES = 2048


class LastWords(BaseModel):
    """How far it came and, if it failed, of what kind and what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Literal["prepare", "train", "push"]
    state: Literal["running", "done", "failed"] = "running"
    kind: str | None = None
    """A reason of tuning/failure.py."""
    sentence: str | None = None
    step: int | None = None
    of: int | None = None
    kept_step: int | None = None
    """Of the newest checkpoint that outlives the pod."""
    loss: float | None = None
    eval_loss: float | None = None
    tokens: int | None = None
    base_revision: str | None = None
    """The commit of the base model that was tuned, where a hub said it."""
    image: str | None = None
    digest: str | None = None
    size_bytes: int | None = None

    def encoded(self) -> bytes:
        """The JSON, shortened at the sentence so that Kubernetes never cuts it in the middle."""
        raw = self.model_dump_json(exclude_none=True).encode()
        if len(raw) <= LIMIT_BYTES or self.sentence is None:
            return raw
        kept = self.sentence.encode()[:_LONGEST_SENTENCE_BYTES].decode(errors="ignore")
        # Characters that JSON escapes can still be six times as long.
        while len(raw) > LIMIT_BYTES:
            raw = (
                self.model_copy(update={"sentence": kept + "…"})
                .model_dump_json(exclude_none=True)
                .encode()
            )
            kept = kept[: len(kept) // 2]
        return raw


def path_of(configured: str | None) -> Path | None:
    """Where the words go: as configured, else Kubernetes' default where it exists."""
    if configured is not None:
        return Path(configured)
    return DEFAULT_PATH if DEFAULT_PATH.is_file() else None


def write(path: Path | None, words: LastWords) -> None:
    """Overwrite the message. A message that cannot be written must not end the run."""
    if path is None:
        return
    try:
        # Not by rename: the kubelet mounts this very file.
        path.write_bytes(words.encoded())
    except OSError:
        return
