"""A valid tuning Workspace → the Run that says everything. The step between admission and work.

The operator calls it with what the cluster mounts, `tunery check` and `run` with what this machine
has: one function, so that a laptop and a pod do the same thing. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.memory import TOKENS_PER_STEP, Plan, plan
from jobs.targets import as_the_model_names
from jobs.validate import Context
from jobs.workspace import Tuning, Workspace
from presets import Architecture, Gpu, Preset
from presets.problem import Problem, errors
from tuning.config import CONFIG_KEY, Method, TrainingConfig, parse
from tuning.run import (
    BaseModelSource,
    DataSource,
    Hardware,
    Output,
    Places,
    Resolved,
    Run,
)
from tuning.urls import hub_dataset


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run will happen and what stands in for what the Workspace names."""

    places: Places
    gpu: Gpu | None = None
    """The card to plan for; None: the Workspace's instance type."""
    hardware: Hardware | None = None
    """What the run says of it; None: the card's own numbers. A CPU has 0 GPUs."""
    architecture: Architecture | None = None
    """Read from the weights at hand; None: the preset's."""
    model_path: str | None = None
    data_path: str | None = None
    output: Output | None = None
    insecure_registry: bool = False
    keep_checkpoints: bool = False
    """Beside an output image: the work folder goes with the pod."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A run, the plan behind its memory settings, and what was noticed on the way."""

    run: Run | None
    plan: Plan | None
    problems: tuple[Problem, ...]


def resolve(workspace: Workspace, context: Context, site: Site) -> Resolution:
    """Resolve a tuning Workspace that `validate_create` has let through.

    `run` is None exactly when a problem is an error.
    """
    tuning = workspace.tuning
    if tuning is None or tuning.preset is None:
        return _refused(Problem("tuning", "this Workspace does not tune", "add tuning"))
    preset = context.catalog.preset(tuning.preset.name)
    if preset is None:
        return _refused(Problem("tuning.preset.name", "unknown preset", "see docs/presets.md"))
    method = _method(tuning)
    config, problems = parse(_config_text(workspace, context), method)
    if config is None:
        return Resolution(None, None, problems)
    if preset.lora_targets and config.sources.get("lora.target_modules") != "user":
        targets = {"target_modules": list(preset.lora_targets)}
        config = config.with_values("lora", targets, "preset")
    architecture = site.architecture or preset.architecture
    if architecture is not None:
        config, renamed = as_the_model_names(config, architecture)
        problems += renamed
    gpu = site.gpu or context.catalog.gpu(workspace.resource.instance_type or "")
    fitted, chosen, more = _fit(config, preset, gpu, context, site)
    problems += more
    if errors(problems):
        return Resolution(None, chosen, problems)
    run = _run(workspace, tuning, preset, fitted, gpu, context, site)
    return Resolution(run, chosen, problems)


def _refused(problem: Problem) -> Resolution:
    return Resolution(None, None, (problem,))


def _method(tuning: Tuning) -> Method:
    return "qlora" if tuning.method.lower() == "qlora" else "lora"


def _config_text(workspace: Workspace, context: Context) -> str | None:
    tuning = workspace.tuning
    if tuning is None or not tuning.config or context.config_maps is None:
        return None
    return context.config_maps.get((workspace.namespace, tuning.config), {}).get(CONFIG_KEY)


def _fit(
    config: TrainingConfig, preset: Preset, gpu: Gpu | None, context: Context, site: Site
) -> tuple[TrainingConfig, Plan | None, tuple[Problem, ...]]:
    """The configuration with batch, checkpointing and dtype chosen for the card."""
    architecture = site.architecture or preset.architecture
    if architecture is None or gpu is None:
        return _careful(config), None, (_NO_ESTIMATE,)
    chosen, problems = plan(architecture, gpu, config, context.catalog)
    if chosen is None:
        return config, None, problems
    values = {
        "per_device_train_batch_size": chosen.batch_size,
        "gradient_accumulation_steps": chosen.gradient_accumulation,
        "activation_checkpointing": chosen.checkpointing,
    }
    if chosen.max_length != config.training.get("max_length"):
        values["max_length"] = chosen.max_length
    open_values = {k: v for k, v in values.items() if not _set_by_user(config, f"training.{k}")}
    fitted = config.with_values("training", open_values, "memory")
    if not _set_by_user(config, "model.dtype"):
        fitted = fitted.with_values("model", {"dtype": chosen.dtype}, "hardware")
    return fitted, chosen, problems


_NO_ESTIMATE = Problem(
    "resource.instanceType",
    "memory is not estimated, because the model's numbers or the card are not known here",
    "the smallest batch is taken; set per_device_train_batch_size to take a larger one",
    warning=True,
)


def _careful(config: TrainingConfig) -> TrainingConfig:
    """The least memory, at the usual tokens per step, where nothing is known."""
    length = int(config.training.get("max_length") or 0)
    values = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": max(TOKENS_PER_STEP // length, 1) if length else 1,
        "activation_checkpointing": True,
    }
    if _set_by_user(config, "training.per_device_train_batch_size"):
        values["gradient_accumulation_steps"] = 1
    left = {k: v for k, v in values.items() if not _set_by_user(config, f"training.{k}")}
    return config.with_values("training", left, "default")


def _set_by_user(config: TrainingConfig, path: str) -> bool:
    return config.sources.get(path) == "user"


def _run(
    workspace: Workspace,
    tuning: Tuning,
    preset: Preset,
    config: TrainingConfig,
    gpu: Gpu | None,
    context: Context,
    site: Site,
) -> Run:
    return Run(
        name=workspace.name,
        namespace=workspace.namespace,
        preset=tuning.preset.name if tuning.preset else preset.name,
        method=config.method,
        model=BaseModelSource(
            id=preset.id,
            revision=config.model.revision or preset.revision,
            path=site.model_path,
            gated=preset.gated,
            licence=preset.licence,
        ),
        config=config,
        data=_data(tuning, config, context, site),
        output=site.output or _output(tuning, site),
        hardware=site.hardware or _hardware(gpu),
        places=site.places,
        resolved=_resolved(config),
    )


def _data(tuning: Tuning, config: TrainingConfig, context: Context, site: Site) -> DataSource:
    hosts = context.allow_hosts
    source = tuning.input
    if site.data_path is not None:
        return DataSource(kind="path", path=site.data_path, allow_hosts=hosts)
    if source is not None and source.image:
        return DataSource(kind="image", image=source.image, allow_hosts=hosts)
    dataset = hub_dataset(source.urls[0]) if source is not None and source.urls else None
    if dataset is not None:
        return DataSource(kind="dataset", dataset=dataset, allow_hosts=hosts)
    if source is not None and source.urls:
        return DataSource(kind="urls", urls=source.urls, allow_hosts=hosts)
    return DataSource(kind="path", path=str(site.places.data_dir), allow_hosts=hosts)


def _output(tuning: Tuning, site: Site) -> Output:
    target = tuning.output.image if tuning.output else None
    if target:
        return Output(
            kind="image",
            target=target,
            insecure=site.insecure_registry,
            checkpoints=site.keep_checkpoints,
        )
    return Output(kind="folder", target=str(site.places.work_dir / "output"))


def _hardware(gpu: Gpu | None) -> Hardware:
    if gpu is None:
        return Hardware(gpus=1, gib_per_gpu=0.0, bf16=True)
    return Hardware(gpus=gpu.count, gib_per_gpu=gpu.gib_per_gpu, bf16=gpu.bf16, name=gpu.card)


def _resolved(config: TrainingConfig) -> tuple[Resolved, ...]:
    """Every setting with its source, in the order people look for them."""
    sections = ("model", "quantization", "lora", "training", "dataset")
    found = []
    for section in sections:
        values = getattr(config, section)
        items = values.items() if hasattr(values, "items") else values
        for name, value in items:
            source = config.sources.get(f"{section}.{name}")
            if source is not None:
                found.append(Resolved(path=f"{section}.{name}", value=str(value), source=source))
    return tuple(found)
