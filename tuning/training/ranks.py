"""The processes of one run: one per GPU under torchrun, else a single one.

Decisions that end or save a run must be the same in all of them, or the others wait for ever.
"""

from __future__ import annotations

import os

import torch
from torch import distributed


def world_size() -> int:
    """How many processes train together (torchrun's WORLD_SIZE)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Which card of this machine is ours."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """True in the one process that writes files and reports."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Return once every process has arrived here."""
    if _together():
        distributed.barrier()


def any_of(flag: bool) -> bool:
    """True everywhere if it is true in one process."""
    if not _together():
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    shared = torch.tensor(int(flag), device=device)
    distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
    return bool(shared.item())


def _together() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())
