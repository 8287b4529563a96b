"""How far a run is: a pod's /metrics → seen.Progress → `status.progress`.

The operator's poller reads tuning/metrics.py's answer with `parse` while a pod trains;
jobs/status.py asks `told` what to show of it, and how seldom.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jobs.earlier import Object, section, text
from jobs.facts import Facts
from jobs.reached import Reached
from jobs.seen import Pod, Progress

LEAST_S = 10
"""Between two writes of the same run's progress: also how often it is worth asking."""

_MOST_CHARACTERS = 64 * 1024
_MOST_STEPS = 2**53
_GAUGE = re.compile(
    r"^tunery_(step|steps|loss|tokens_per_second|eta_seconds|kept_step) ([0-9eE+.-]{1,32})\r?$",
    re.MULTILINE,
)


def parse(text: str, pod_uid: str) -> Progress | None:
    """Prometheus text → the progress it tells of; None when it tells none that makes sense."""
    values = {name: _number(value) for name, value in _GAUGE.findall(text[:_MOST_CHARACTERS])}
    step, of = values.get("step"), values.get("steps")
    if step is None or of is None or not 0 <= step <= of < _MOST_STEPS or of < 1:
        return None
    return Progress(
        pod_uid=pod_uid,
        step=int(step),
        of=int(of),
        loss=values.get("loss"),
        tokens_per_s=_positive(values.get("tokens_per_second")),
        eta_s=_positive(values.get("eta_seconds")),
        kept_step=_kept(values.get("kept_step"), of),
    )


def told(before: Object, facts: Facts, reached: Reached, now: str) -> dict[str, Any] | None:
    """`status.progress` as it should be now; None before anything is known.

    `before` is the one written last for this run; what it says of the present is kept only while
    the pod that said it still runs: a run that waits has no end in sight.
    """
    gpu_s = max(_gpu_seconds(facts, reached, now), _whole(before.get("gpuSeconds")))
    if reached.outcome:
        return _final(before, reached, gpu_s)
    pod = _running(facts.pods)
    newest = facts.seen.progress
    if pod and newest and newest.pod_uid == pod.uid and newest.of and _due(before, newest, now):
        return _fresh(newest, gpu_s, now)
    if not before:
        steps = _planned(reached.attempts)
        return _shown(0, steps, gpu_s, now) if pod and steps else None
    return dict(before) if pod and _said_by(pod, before, newest) else _stale(before, reached)


def seconds(then: object, now: object) -> float:
    """Between two RFC 3339 texts; 0 when one of them is none."""
    try:
        return (
            datetime.fromisoformat(str(now)) - datetime.fromisoformat(str(then))
        ).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _due(before: Object, newest: Progress, now: str) -> bool:
    """At most every ten seconds and only for another step; the last step at once."""
    if (before.get("step"), before.get("of")) == (newest.step, newest.of) and "updatedAt" in before:
        return False
    last = newest.step == newest.of
    return last or not before or not 0 <= seconds(before.get("updatedAt"), now) < LEAST_S


def _fresh(newest: Progress, gpu_s: int, now: str) -> dict[str, Any]:
    shown = _shown(newest.step, newest.of, gpu_s, now)
    if newest.loss is not None:
        shown["loss"] = f"{newest.loss:.4g}"
    if newest.tokens_per_s is not None:
        shown["tokensPerSecond"] = f"{newest.tokens_per_s:.0f}"
    if newest.eta_s is not None:
        shown["eta"] = duration(newest.eta_s)
    if newest.kept_step is not None:
        shown["keptStep"] = newest.kept_step
    return shown


def _shown(step: int, of: int, gpu_s: int, now: str) -> dict[str, Any]:
    shown = {"step": step, "of": of, "percent": 100 * step // of, "updatedAt": now}
    return {**shown, "gpuSeconds": gpu_s} if gpu_s else shown


def _final(before: Object, reached: Reached, gpu_s: int) -> dict[str, Any] | None:
    """After the end: all steps of a run that succeeded, those that were reached of another."""
    last = reached.attempts[-1] if reached.attempts else {}
    of = _whole(last.get("of")) or _whole(before.get("of"))
    if not of:
        return None
    whole = reached.outcome == "Succeeded"
    step = of if whole else _whole(last.get("step", before.get("step")))
    shown = _shown(min(step, of), of, gpu_s, text(reached.run, "finishedAt"))
    loss = text(section(reached.output, "metrics"), "loss") or text(before, "loss")
    if loss:
        shown["loss"] = loss
    # Still there after a failure: whoever tries again goes on from it.
    return shown if whole else {**shown, **_last_kept(before, reached)}


def _stale(before: Object, reached: Reached) -> dict[str, Any]:
    stays = {k: v for k, v in before.items() if k not in ("eta", "tokensPerSecond")}
    return {**stays, **_last_kept(before, reached)}


def _last_kept(before: Object, reached: Reached) -> dict[str, Any]:
    """What the last attempt kept at its end, after it had been asked for the last time."""
    last = reached.attempts[-1] if reached.attempts else {}
    kept = max(_whole(before.get("keptStep")), _whole(last.get("keptStep")))
    return {"keptStep": kept} if kept else {}


def _running(pods: Sequence[Pod]) -> Pod | None:
    """The pod whose main container runs."""
    return next(
        (
            pod
            for pod in reversed(pods)
            if any(c.state == "running" and not c.init for c in pod.containers)
        ),
        None,
    )


def _said_by(pod: Pod, before: Object, newest: Progress | None) -> bool:
    """The progress was written after this pod's main container had started."""
    if newest and newest.pod_uid == pod.uid:
        return True
    started = [c.started_at for c in pod.containers if c.state == "running" and not c.init]
    return str(before.get("updatedAt", "")) >= min(started)


def _planned(attempts: Sequence[Object]) -> int:
    """How many steps `prepare` has counted."""
    return _whole(attempts[-1].get("of")) if attempts else 0


def _gpu_seconds(facts: Facts, reached: Reached, now: str) -> int:
    """GPUs times the seconds that pods had them, finished or not."""
    end = text(reached.run, "finishedAt") or now
    held = (seconds(a.get("startedAt"), a.get("endedAt", end)) for a in reached.attempts)
    return int(facts.gpus_per_pod * sum(max(0.0, s) for s in held))


def duration(seconds_: float) -> str:
    """`4m10s`, `2h5m`, `3d4h`: two units are enough."""
    left = round(seconds_)
    for unit, lower, unit_s, lower_s in (
        ("d", "h", 86400, 3600),
        ("h", "m", 3600, 60),
        ("m", "s", 60, 1),
    ):
        if left >= unit_s:
            rest = left % unit_s // lower_s
            return f"{left // unit_s}{unit}{rest}{lower}" if rest else f"{left // unit_s}{unit}"
    return f"{left}s"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _positive(value: float | None) -> float | None:
    return value if value is not None and 0 <= value < _MOST_STEPS else None


def _kept(step: float | None, of: float) -> int | None:
    return int(step) if step is not None and 0 < step <= of else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
