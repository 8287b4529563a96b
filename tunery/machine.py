"""This machine as an instance type: what `tunery run` plans for instead of the Workspace's card.

A laptop with the same YAML must choose a batch that fits the laptop. Imports torch only when asked
for a GPU, so call it from words that need torch anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from presets import Gpu
from tuning.run import Hardware

_GIB = 2**30
_CPU_SHARE = 0.7
"""Of the memory that is free now: the rest of the machine goes on living."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What to plan for and what the run says of it."""

    gpu: Gpu
    hardware: Hardware


def here() -> Machine:
    """The first GPU of this machine, or its CPU."""
    import torch

    if not torch.cuda.is_available():
        return _cpu(free_bytes() * _CPU_SHARE / _GIB)
    properties = torch.cuda.get_device_properties(0)
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    name, gib = properties.name, properties.total_memory / _GIB
    gpu = _gpu(name, gib, bf16=bf16, architecture=f"sm_{properties.major}{properties.minor}")
    return Machine(gpu, Hardware(gpus=1, gib_per_gpu=gib, bf16=bf16, name=name))


def _cpu(gib: float) -> Machine:
    gpu = _gpu("CPU", gib, bf16=True, architecture="cpu")
    return Machine(gpu, Hardware(gpus=0, gib_per_gpu=gib, bf16=True, name="CPU"))


def _gpu(card: str, gib: float, *, bf16: bool, architecture: str) -> Gpu:
    return Gpu(
        sku="this machine",
        cloud="local",
        card=card,
        count=1,
        gib_per_gpu=gib,
        architecture=architecture,
        bf16=bf16,
    )


def free_bytes() -> int:
    """Memory that this process may still take: the kernel's estimate, within the cgroup's limit."""
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    available = next(int(f[1]) * 1024 for f in fields if f[0] == "MemAvailable:")
    return min([available, *_cgroup_limits()])


def _cgroup_limits() -> list[int]:
    files = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    texts = (Path(file).read_text().strip() for file in files if Path(file).is_file())
    return [int(text) for text in texts if text.isdigit()]
