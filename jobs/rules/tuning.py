"""`tuning`: method, preset, input, output, and what they mean together.

KAITO's TuningSpec.validateCreate; here it holds on update too.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.rules.config import method_of, training_config
from jobs.rules.data import destination_problems, same_image, source_problems
from jobs.rules.fit import fit_problems
from jobs.rules.preset import preset_problems
from jobs.workspace import Tuning, Workspace
from presets.problem import Problem, did_you_mean, shown

_METHODS = ("lora", "qlora")


def tuning_problems(workspace: Workspace, context: Context) -> Iterator[Problem]:
    """Every rule of `tuning`; nothing when the Workspace does not tune."""
    tuning = workspace.tuning
    if tuning is None:
        return
    yield from _method_problems(tuning)
    if tuning.preset is None:
        yield _missing("preset", "name the model, for example preset: {name: phi-4-mini-instruct}")
    else:
        yield from preset_problems(workspace, tuning.preset, "tuning", context)
    if tuning.input is None:
        yield _missing("input", "say where the training data is: urls, volumeSource or image")
    else:
        yield from source_problems(tuning.input, "tuning.input", context)
    if tuning.output is None:
        yield _missing("output", "say where the adapter goes: image or volumeSource")
    else:
        yield from destination_problems(tuning.output, "tuning.output", context)
    yield from same_image(tuning.input, tuning.output)
    config, problems = training_config(workspace, context)
    yield from problems
    if config is not None:
        yield from fit_problems(workspace, config, context)


def _method_problems(tuning: Tuning) -> Iterator[Problem]:
    if method_of(tuning.method) is not None:
        return
    what = f"{shown(tuning.method)} is not a tuning method" if tuning.method else "is missing"
    do = did_you_mean(tuning.method, _METHODS) or "write lora or qlora"
    yield Problem("tuning.method", what, do, "invalid" if tuning.method else "missing")


def _missing(field: str, do: str) -> Problem:
    return Problem(f"tuning.{field}", "is missing", do, "missing")
