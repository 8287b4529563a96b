"""Keep the training libraries' own noise off the terminal: their bars, and warnings that are known.

What is silenced is listed here one by one with its reason; everything else still shows. Imports
nothing heavy: enter it before the first import of torch.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_LOGGERS = (
    # "Failed to load CPU gemm_4bit_forward": an inference kernel that training does not use
    "bitsandbytes.backends.cpu.ops",
)
_WARNINGS = (
    # PEFT 0.21 and TRL 1.16 read a property that transformers 5.24 has renamed
    ("`is_gradient_checkpointing` is deprecated", FutureWarning),
)


@contextlib.contextmanager
def libraries() -> Iterator[None]:
    """Silence them inside the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message, category in _WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=category)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            with _no_bars():
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
        transformers_logging.enable_progress_bar()
