"""`inference`: preset or template, runtime, memory, inference_config.yaml.

KAITO's InferenceSpec.validateCreate, ResourceSpec.validateCreateWithInference (the part about the
model's size) and validateInferenceConfig.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.context import Context
from jobs.plain import told
from jobs.rules.config import config_map_text
from jobs.rules.general import BYPASS, runtime
from jobs.rules.preset import preset_problems
from jobs.workspace import V1ALPHA1, Workspace
from presets import Gpu, Preset
from presets.problem import Problem
from presets.text import read_documents

CONFIG_KEY = "inference_config.yaml"
NEITHER = "Preset or Template must be specified"
BOTH = "Preset and Template cannot be set at the same time"
LENGTH_REQUIRED = (
    "max-model-len is required in the vllm section of inference_config.yaml when using multi-GPU "
    "instances with <20GB of memory per GPU or distributed inference"
)
_LONGEST_NAME = 52
"""Of a StatefulSet: 63 for a label, less the eleven of its revision."""
_SMALL_CARD_GIB = 20
_BYTES_PER_WEIGHT = 2
_GIB = 2**30


def inference_problems(workspace: Workspace, context: Context) -> Iterator[Problem]:
    """Every rule of `inference` but its adapters' own; nothing for a Workspace that tunes."""
    inference = workspace.inference
    if inference is None:
        return
    yield from _name_problems(workspace.name)
    if inference.preset is None and inference.template is None:
        do = "name a model: preset: {name: …}"
        yield Problem("inference", NEITHER, do, "missing sentence")
    if inference.preset is not None and inference.template is not None:
        yield Problem("inference", BOTH, "remove one", "generic")
    if inference.preset is not None:
        yield from preset_problems(workspace, inference.preset, "inference", context)
        yield from _size_problems(workspace, context.catalog.preset(inference.preset.name), context)
    if runtime(workspace) == "vllm" and inference.config is not None:
        yield from _config_problems(workspace, inference.config, context)


def _name_problems(name: str) -> Iterator[Problem]:
    """Services and pods have the Workspace's name; a pod's labels have more in front and behind."""
    do = f"it is {name[:80]}; write for example my-model"
    if name[:1].isdigit():
        yield Problem("metadata.name", "of a served model begins with a letter", do)
    if len(name) > _LONGEST_NAME:
        what = f"of a served model has at most {_LONGEST_NAME} characters"
        yield Problem("metadata.name", what, do)


def _size_problems(
    workspace: Workspace, preset: Preset | None, context: Context
) -> Iterator[Problem]:
    """Weights that are larger than all cards together; vLLM's share is estimated elsewhere."""
    gpu = context.catalog.gpu(workspace.resource.instance_type or "")
    if runtime(workspace) == "vllm" or gpu is None or preset is None:
        return
    architecture = preset.architecture
    if architecture is None or not architecture.known:
        return
    needed_gib = architecture.parameters * _BYTES_PER_WEIGHT / _GIB
    total_gib = workspace.resource.count * gpu.count * gpu.gib_per_gpu
    if needed_gib > total_gib:
        what = (
            f"Insufficient total GPU memory: Instance type {gpu.sku} has a total of "
            f"{total_gib:.0f}Gi, but preset {preset.name} requires at least {needed_gib:.0f}Gi"
        )
        bypass = BYPASS in workspace.annotations
        yield Problem("resource.instanceType", what, "choose a larger one", warning=bypass)


def _config_problems(workspace: Workspace, name: str, context: Context) -> Iterator[Problem]:
    text, problems = config_map_text(
        "inference.config", name, CONFIG_KEY, workspace.namespace, context
    )
    yield from problems
    if text is None:
        return
    where = f"inference.config (ConfigMap {name}).{CONFIG_KEY}"
    options, problem = vllm_options(text, where)
    if problem is not None:
        yield problem
    else:
        yield from _length_problems(workspace, options.get("max-model-len"), where, context)


def vllm_options(text: str, where: str) -> tuple[Mapping[str, Any], Problem | None]:
    """The `vllm:` map of an inference_config.yaml, or why there is none."""
    documents, problem = read_documents(text)
    if problem is not None:
        what = f"Failed to parse {CONFIG_KEY}: {problem.what}"
        return {}, Problem(where, what, problem.do, "generic")
    content = documents[0] if documents else {}
    options = content.get("vllm", {}) if isinstance(content, Mapping) else content
    if options is None:
        return {}, None
    if not isinstance(options, Mapping):
        what = f"Failed to parse {CONFIG_KEY}: must be a map of options, not {told(options)}"
        return {}, Problem(f"{where}: vllm", what, "write vllm: and options below it", "generic")
    return options, None


def _length_problems(
    workspace: Workspace, written: object, where: str, context: Context
) -> Iterator[Problem]:
    path = f"{where}: vllm.max-model-len"
    if written is None or not str(written).strip():
        if _length_required(workspace, context):
            yield Problem(where, LENGTH_REQUIRED, "add max-model-len", "missing sentence")
        return
    length = _whole_number(written)
    if length is None:
        what = f"max-model-len must be an integer, not {told(written)}"
        yield Problem(path, what, "write tokens, for example 4096")
        return
    inference = workspace.inference
    ref = inference.preset if inference else None
    preset = context.catalog.preset(ref.name) if ref else None
    limit = preset.architecture.context if preset and preset.architecture else None
    if limit is not None and length > limit:
        what = (
            f"max-model-len {length} exceeds model's maximum supported context window {limit} "
            "(ModelTokenLimit)"
        )
        yield Problem(path, what, f"write at most {limit}")


def _whole_number(written: object) -> int | None:
    text = str(written).strip()
    digits = text.removeprefix("-").removeprefix("+")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _length_required(workspace: Workspace, context: Context) -> bool:
    """v1alpha1 asks for the length where a default would not fit."""
    gpu = context.catalog.gpu(workspace.resource.instance_type or "")
    return workspace.api_version == V1ALPHA1 and (
        workspace.resource.count > 1 or (gpu is not None and _many_small_cards(gpu))
    )


def _many_small_cards(gpu: Gpu) -> bool:
    return gpu.count > 1 and gpu.gib_per_gpu < _SMALL_CARD_GIB
