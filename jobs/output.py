"""What a run has made: `status.output`, from the last words of the pod that succeeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.attempts import words_of
from jobs.causes.words import digest_of
from jobs.earlier import Object
from jobs.facts import Facts
from jobs.seen import Pod
from tuning.lastwords import LastWords


def output(before: Object, facts: Facts, pods: Sequence[Pod]) -> dict[str, Any] | None:
    """The adapter of a run that succeeded. What was read once is kept: the pod soon is not."""
    run = facts.run
    if run is None:
        return dict(before) or None
    made = {
        "image": run.output_image,
        "baseModel": run.base_model,
        "baseRevision": run.base_revision,
    }
    known = {**before, **{k: v for k, v in made.items() if v and k not in before}}
    said = next(
        (w for pod in reversed(pods) if pod.phase == "Succeeded" for w in words_of(pod)), None
    )
    if said is None or not digest_of(said):
        return known
    return {**known, **_said(said, known)}


def _said(said: LastWords, known: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"digest": digest_of(said)}
    if said.image and not said.image.startswith("/"):  # else a folder of the output volume
        found["image"] = said.image
    if said.size_bytes is not None:
        found["sizeBytes"] = said.size_bytes
    if said.base_revision:
        found["baseRevision"] = said.base_revision
    metrics = _metrics(said)
    return {**found, "metrics": metrics} if metrics else found


def _metrics(said: LastWords) -> dict[str, str]:
    """Numbers of the training as text: Kubernetes has no fractions."""
    values = {
        "steps": said.step,
        "loss": said.loss,
        "evalLoss": said.eval_loss,
        "tokens": said.tokens,
    }
    return {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
        if value is not None
    }
