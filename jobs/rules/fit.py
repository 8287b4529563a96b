"""Does the training configuration fit the model and the card? Memory, layers, context.

What tuning/config.py cannot know: it sees neither the preset nor the instance type. KAITO checks
none of it, and PEFT silently skips a target module that the model does not have.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.context import Context
from jobs.memory import plan
from jobs.rules.config import prefix
from jobs.targets import as_the_model_names
from jobs.workspace import Workspace
from presets import Architecture
from presets.problem import Problem, nearest, shown
from tuning.config import TrainingConfig

_LORA = "training_config.LoraConfig"
_TRAINING = "training_config.TrainingArguments"
# Not Linear layers of a block, but PEFT adapts them when they are named.
_EMBEDDINGS = ("embed_tokens", "lm_head")


def fit_problems(
    workspace: Workspace, config: TrainingConfig, context: Context
) -> Iterator[Problem]:
    """Everything that needs the configuration and the model (and the card) together."""
    tuning = workspace.tuning
    preset = context.catalog.preset(tuning.preset.name) if tuning and tuning.preset else None
    if tuning is None or preset is None or preset.architecture is None:
        return
    architecture = preset.architecture
    where = prefix(tuning.config)
    config, renamed = as_the_model_names(config, architecture)
    for problem in (
        *renamed,
        *_target_problems(config, architecture),
        *_length_problems(config, architecture),
    ):
        yield problem.under(where)
    gpu = context.catalog.gpu(workspace.resource.instance_type or "")
    if gpu is not None and gpu.cuda and context.auto_provisioning:
        for problem in plan(architecture, gpu, config, context.catalog)[1]:
            inside = problem.path.startswith("training_config")
            yield problem.under(where) if inside else problem


def _target_problems(config: TrainingConfig, architecture: Architecture) -> Iterator[Problem]:
    layers = architecture.linear_modules()
    targets = config.lora.get("target_modules")
    # A single text is "all-linear" or a pattern of PEFT's; patterns of users are never run here.
    if not layers or isinstance(targets, str) or not isinstance(targets, list | tuple | set):
        return
    known = (*layers, *_EMBEDDINGS)
    for number, target in enumerate(targets):
        if str(target).rsplit(".", 1)[-1] not in known:
            what = f"no layer of {architecture.model_type} is called {shown(str(target))}"
            yield Problem(f"{_LORA}.target_modules[{number}]", what, _layers(str(target), layers))


def _layers(target: str, layers: tuple[str, ...]) -> str:
    close = nearest(target, layers)
    listed = f"it has {', '.join(layers)}; all-linear means all of them"
    return f'did you mean "{close}"? {listed}' if close else listed


def _length_problems(config: TrainingConfig, architecture: Architecture) -> Iterator[Problem]:
    longest = config.training.get("max_length")
    asked = config.sources.get("training.max_length") == "user"
    if asked and isinstance(longest, int) and longest > architecture.context:
        what = f"{longest} tokens are more than the model's context of {architecture.context}"
        yield Problem(f"{_TRAINING}.max_length", what, f"write at most {architecture.context}")
    chosen = config.lora.get("layers_to_transform")
    for layer in chosen if isinstance(chosen, list | tuple) else [chosen]:
        if isinstance(layer, int) and not 0 <= layer < architecture.layers:
            what = f"the model has no layer {layer}: they are 0 to {architecture.layers - 1}"
            yield Problem(f"{_LORA}.layers_to_transform", what, "choose layers that it has")
