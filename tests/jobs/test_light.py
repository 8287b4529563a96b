"""Admission answers in milliseconds and in a small image: nothing of the trainer is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "numpy", "requests", "oras", "huggingface_hub", "pyarrow", "trl")


@pytest.mark.parametrize("module", ["jobs.validate", "jobs.workspace", "jobs.memory"])
def test_importing_it_brings_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
