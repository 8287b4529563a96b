"""Which device trains and in which precision, and why: decided once, told to the user.

Pure apart from `here`, which looks at the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from tuning.failure import Failure, Kind
from tuning.run import Run

Precision = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What torch sees."""

    cuda: bool
    bf16: bool
    name: str


@dataclass(frozen=True, slots=True)
class Device:
    """The choice for this run."""

    kind: Literal["cuda", "cpu"]
    precision: Precision
    """Of the frozen base (unless it is quantised) and of autocast; the adapter is float32."""
    reason: str
    name: str

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype


def here() -> Machine:
    """The machine that this process runs on."""
    if not torch.cuda.is_available():
        return Machine(False, True, "CPU")
    real = torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(True, real, torch.cuda.get_device_name())


def choose(run: Run, machine: Machine) -> Device:
    """Device and precision of a run on a machine.

    Raises Failure (UNAVAILABLE) when the run was resolved for a GPU and none is visible: training
    on the CPU instead would look alive and take weeks.
    """
    if run.hardware.gpus and not machine.cuda:
        wanted = run.hardware.name or "GPU"
        sentence = f"the run needs {wanted} and no GPU is visible here; check the node's GPU driver"
        raise Failure(Kind.UNAVAILABLE, sentence)
    asked = run.config.model.dtype
    if run.hardware.gpus:
        precision, why = _on_gpu(asked, machine.bf16)
        return Device("cuda", precision, why, machine.name)
    precision, why = _on_cpu(asked)
    return Device("cpu", precision, why, "CPU")


def _on_gpu(asked: str | None, bf16: bool) -> tuple[Precision, str]:
    if asked == "float32":
        return "float32", "float32 as configured"
    if asked == "float16":
        return "float16", "float16 as configured"
    if bf16:
        return "bfloat16", "bfloat16, which this card computes natively"
    return "float16", "float16, because this card has no bfloat16"


def _on_cpu(asked: str | None) -> tuple[Precision, str]:
    if asked == "float32":
        return "float32", "float32 as configured"
    if asked == "float16":
        return "bfloat16", "bfloat16, because float16 cannot be trained on a CPU"
    return "bfloat16", "bfloat16, half the memory and faster than float32"
