"""What the libraries say that no user can act on, left out of the log.

Called by the two mains, never at import. Each line says why it is harmless.
"""

from __future__ import annotations

import logging
import os
import warnings


def quiet() -> None:
    """For this process. What is left in the log is ours, or a library's error."""
    # Asks for the optional package `kernels`; the built-in kernel gives the same numbers.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # Deprecations inside transformers, TRL and PEFT: ours to follow, not the user's.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for chatty in ("httpx", "huggingface_hub", "urllib3", "datasets"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # Read when transformers, datasets and huggingface_hub are imported.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Read at the first model: looking for plugins opens every installed package, a tenth of a start
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
