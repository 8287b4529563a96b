"""Adapter against base and runtime, before a server sees it: every problem names the adapter.

vLLM takes a wrong base, wrong layers, too small shapes and a wrong rank without a word and answers
nonsense (measured); what it does refuse, it refuses after minutes of loading. Called by `prepare`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from presets.problem import Problem, shown
from serving.adapter import Adapter, Layer, about, some
from serving.base import Base, Shape

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.]+")

_ALTERS = {
    "use_dora": "DoRA",
    "lora_bias": "biases of its own",
    "modules_to_save": "whole modules beside LoRA (modules_to_save)",
    "trainable_token_indices": "trained embeddings (trainable_token_indices)",
    "target_parameters": "parameters instead of modules (target_parameters)",
    "layer_replication": "repeated layers (layer_replication)",
    "alora_invocation_tokens": "activated LoRA (alora_invocation_tokens)",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
}
"""Keys of LoraConfig that, when set, mean more than B·A: no server adds that."""
_REPLACES_WEIGHTS = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that change the base's weights: the adapter fits only that changed base."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the runtime can hold."""

    runtime: str
    max_rank: int | None
    """None: any."""


VLLM = Limits("vLLM", 512)
TRANSFORMERS = Limits("transformers", None)


def check(adapter: Adapter, base: Base, limits: Limits) -> tuple[Problem, ...]:
    """Everything that is wrong with serving this adapter on this base; warnings are told only."""
    return (
        *_origin(adapter, base),
        *_kind(adapter),
        *_ranks(adapter, limits),
        *_places(adapter, base),
        *_numbers(adapter),
    )


def _origin(adapter: Adapter, base: Base) -> Iterator[Problem]:
    name = adapter.name
    if not adapter.base:
        what = f"does not say which model it was trained for; only its shapes fit {base.id}"
        do = "set base_model_name_or_path in its adapter_config.json"
        yield about(name, what, do, warning=True)
    elif not base.is_(adapter.base):
        what = f"was trained for {adapter.base}, and {base.id} is served"
        yield about(name, what, f"serve {adapter.base}, or name an adapter of {base.id}")
    elif adapter.revision and base.revision and adapter.revision != base.revision:
        what = (
            f"was trained for commit {adapter.revision[:12]} of {base.id}, and "
            f"{base.revision[:12]} is served"
        )
        yield about(name, what, "its answers may differ from those in training", warning=True)


def _kind(adapter: Adapter) -> Iterator[Problem]:
    raw, name = adapter.raw, adapter.name
    do = "train a plain LoRA adapter"
    for key, meaning in _ALTERS.items():
        if raw.get(key):
            yield about(name, f"has {meaning}, which the runtimes do not add", do)
    if raw.get("bias") not in (None, "none"):
        yield about(name, f"trains biases (bias: {shown(raw['bias'])})", do)
    task = raw.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        yield about(name, f"is for the task {shown(task)}, not for text generation", do)
    start = raw.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_REPLACES_WEIGHTS):
        what = f"began as {shown(start)}, which changed the base's weights"
        do = "convert it with PEFT's save_pretrained(path_initial_model_for_weight_conversion=…)"
        yield about(name, what, do)


def _ranks(adapter: Adapter, limits: Limits) -> Iterator[Problem]:
    name, config = adapter.name, adapter.config
    keys = [*config.rank_pattern, *config.alpha_pattern]
    expressions = [key for key in keys if not _PLAIN_KEY.fullmatch(key)]
    if expressions:
        what = f"has regular expressions in rank_pattern or alpha_pattern: {some(expressions)}"
        yield about(name, what, "write the modules' names there")
        return
    if limits.max_rank is not None and adapter.rank > limits.max_rank:
        what = f"has rank {adapter.rank}, and {limits.runtime} takes at most {limits.max_rank}"
        yield about(name, what, f"train with r: {limits.max_rank} or less")
    ranks = {module: _rank(layer) for module, layer in adapter.layers.items()}
    other = [m for m, rank in ranks.items() if rank not in (None, adapter.rank_of(m))]
    if other:
        first = other[0]
        what = (
            f"has tensors of rank {ranks[first]} where its configuration says "
            f"{adapter.rank_of(first)}: {some(other)}"
        )
        yield about(name, what, "save configuration and weights together again")


def _places(adapter: Adapter, base: Base) -> Iterator[Problem]:
    """Modules that the base has, with its shapes."""
    name = adapter.name
    odd = [m for m, layer in adapter.layers.items() if _rank(layer) is None]
    if odd:
        what = f"has lora_A and lora_B that do not fit each other: {some(odd)}"
        yield about(name, what, "save the adapter again")
    if base.modules is None:
        what = f"cannot be compared with the layers of {base.id}: its type is not known"
        yield about(name, what, "look at its answers", warning=True)
        return
    strange = [m for m in adapter.layers if not base.shapes(m)]
    if strange:
        what = f"adapts modules that {base.id} does not have: {some(strange)}"
        yield about(name, what, f"name an adapter of {base.id}")
    yield from _widths(adapter, base)


def _widths(adapter: Adapter, base: Base) -> Iterator[Problem]:
    wrong: dict[str, tuple[Shape, Shape]] = {}
    for module, layer in adapter.layers.items():
        fits, rank = base.shapes(module), _rank(layer)
        if adapter.config.fan_in_fan_out:  # the file holds such a layer the other way round
            fits = frozenset((outputs, inputs) for inputs, outputs in fits)
        found = (layer.a.shape[1], layer.b.shape[0]) if rank is not None else None
        if found and fits and found not in fits:
            wrong[module] = found, min(fits)
    if wrong:
        found, fit = next(iter(wrong.values()))
        what = (
            f"has other shapes than {base.id} ({found[0]}→{found[1]} where the model has "
            f"{fit[0]}→{fit[1]}): {some(list(wrong))}"
        )
        yield about(adapter.name, what, f"name an adapter of {base.id}")


def _numbers(adapter: Adapter) -> Iterator[Problem]:
    tensors = [
        (f"{module}.{part}", tensor)
        for module, layer in adapter.layers.items()
        for part, tensor in (("lora_A", layer.a), ("lora_B", layer.b))
    ]
    other = [f"{name} ({t.dtype})" for name, t in tensors if not t.is_float]
    if other:
        what = f"has tensors that are no 16- or 32-bit numbers: {some(other)}"
        yield about(adapter.name, what, "save it as bfloat16, float16 or float32")
    broken = [name for name, t in tensors if t.is_float and not t.finite()]
    if broken:
        what = f"has numbers that are infinite or not a number: {some(broken)}"
        yield about(adapter.name, what, "its training diverged; train with a lower learning_rate")


def _rank(layer: Layer) -> int | None:
    """The rank of its tensors; None when they do not belong together."""
    whole = len(layer.a.shape) == 2 and len(layer.b.shape) == 2
    return layer.a.shape[0] if whole and layer.a.shape[0] == layer.b.shape[1] else None
