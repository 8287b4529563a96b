"""Model and cards → vLLM's flags; the user's own from inference_config.yaml go before them.

What adapters need (ranks, their number) is added by `prepare`, which has seen them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from presets import Architecture, Gpu, Preset

_MEMORY_SHARE = 0.9
"""Of a card: one server has it alone, and a little is left for what CUDA graphs take."""
_LENGTH = "auto"
"""The model's own, or as much of it as memory has room for: more than the model's is refused, and
what a preset does not tell is known only to the server."""
_CPU_SEQUENCES = 8


def vllm(preset: Preset, card: Gpu | None, gpus: int, *, on_cpu: bool) -> dict[str, Any]:
    """Flags as they stand in vLLM's configuration file."""
    if on_cpu:
        # Compiling costs more than it saves where a server lives for minutes (measured: 28 %).
        return {
            "enforce-eager": True,
            "max-model-len": _LENGTH,
            "max-num-seqs": _CPU_SEQUENCES,
        }
    flags: dict[str, Any] = {
        "max-model-len": _LENGTH,
        "gpu-memory-utilization": _MEMORY_SHARE,
        "tensor-parallel-size": _parallel(preset.architecture, gpus),
    }
    if card is not None and not card.bf16:
        flags["dtype"] = "half"
    return flags


def of_user(options: Mapping[str, Any]) -> dict[str, Any]:
    """The `vllm:` map in one spelling: vLLM takes - and _ alike, and no flag may stand twice."""
    return {str(key).strip().lstrip("-").replace("_", "-"): v for key, v in options.items()}


def _parallel(architecture: Architecture | None, gpus: int) -> int:
    """Cards that one model is spread over: heads are dealt out evenly, or not at all."""
    heads = architecture.heads if architecture else gpus
    return max((n for n in range(1, gpus + 1) if heads % n == 0), default=1)
