"""The adapter folder: exactly what is published, whole or not there at all.

`adapter_config.json`, `adapter_model.safetensors`, `README.md`, `training.json`, `loss.svg`, and
`chat_template.jinja` when the user gave one; readable by every uid, free of local paths, the same
bytes for equal runs. Written under a temporary name, read back, then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.utils.other import EMBEDDING_LAYER_NAMES
from safetensors import SafetensorError
from safetensors.torch import load_file

from tuning.failure import Failure, Kind
from tuning.result import Record
from tuning.run import Run
from tuning.training import card, chart

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
RECORD = "training.json"
CURVE = "loss.svg"
TEMPLATE = "chat_template.jinja"


def rehearse(model: PeftModel, run: Run) -> None:
    """Save and read back the untrained adapter in a folder that is thrown away.

    A save that fails must fail now, not after the training is paid for. Raises Failure (INTERNAL).
    """
    work = run.places.work_dir
    with tempfile.TemporaryDirectory(prefix=".rehearsal-", dir=work) as folder:
        _save(model, Path(folder), run.model.id, run.model.revision)
        _read_back(model, Path(folder))


def export(model: PeftModel, run: Run, record: Record, chat_template: str | None = None) -> str:
    """Write the adapter folder of the run; returns the sha256 of its weights.

    `chat_template` is what it was trained with, where that is not the base model's own: whoever
    serves the adapter needs the same.

    Raises Failure (INTERNAL) when what was written does not read back as what was trained.
    """
    final = run.places.adapter_dir
    with _fresh(final) as folder:
        targets = _save(model, folder, record.base_model, record.revision)
        _write_papers(folder, record, targets, chat_template)
        _read_back(model, folder)
        digest = _finish(folder)
    return digest


def weights_sha256(folder: Path) -> str | None:
    """Of a folder's adapter weights; None when there are none."""
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


@contextlib.contextmanager
def _fresh(final: Path) -> Iterator[Path]:
    """A new folder that takes the place of `final` when the body ends well."""
    folder = final.with_name(f".{final.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if final.exists():
        shutil.rmtree(final)
    folder.rename(final)
    _sync(final.parent)


def _save(model: PeftModel, folder: Path, base: str, revision: str | None) -> list[str]:
    """Weights and canonical configuration; returns the adapted layers' names."""
    config = model.peft_config["default"]
    embeddings = any(name in config.target_modules for name in EMBEDDING_LAYER_NAMES)
    # "auto" would ask the hub whether the vocabulary was resized: it never is here
    model.save_pretrained(str(folder), save_embedding_layers=embeddings)
    (folder / CARD).unlink(missing_ok=True)  # PEFT's own is a form with nothing filled in
    path = folder / CONFIG
    canonical = canonical_config(json.loads(path.read_bytes()), base, revision)
    path.write_text(json.dumps(canonical, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    targets = canonical["target_modules"]
    if isinstance(targets, str):
        return [targets]  # a regular expression of the user's
    return sorted({str(name).rsplit(".", 1)[-1] for name in targets})


def canonical_config(config: dict[str, Any], base: str, revision: str | None) -> dict[str, Any]:
    """PEFT's configuration with public names for the base and sets in a fixed order."""
    unordered = ("target_modules", "exclude_modules", "modules_to_save")
    fixed = {k: sorted(v) for k, v in config.items() if k in unordered and isinstance(v, list)}
    return {**config, **fixed, "base_model_name_or_path": base, "revision": revision}


def _write_papers(
    folder: Path, record: Record, targets: list[str], chat_template: str | None
) -> None:
    text = json.dumps(record.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False)
    papers = {
        RECORD: text + "\n",
        CURVE: chart.loss_curve(record.curve, record.eval_curve),
        CARD: card.readme(record, targets),
    }
    if chat_template is not None:
        papers[TEMPLATE] = chat_template
    for name, content in papers.items():
        (folder / name).write_text(content, encoding="utf-8")


def _read_back(model: PeftModel, folder: Path) -> None:
    """What lies in the folder is what the model holds, name by name and bit by bit."""
    try:
        LoraConfig.from_pretrained(str(folder))
        written = load_file(folder / WEIGHTS)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise Failure(Kind.INTERNAL, f"the saved adapter cannot be read back: {error}") from error
    held = get_peft_model_state_dict(model, save_embedding_layers=False)
    for name, tensor in held.items():
        if name not in written or not torch.equal(written[name], tensor.detach().cpu()):
            sentence = f"the saved adapter differs from the trained one in {name}"
            raise Failure(Kind.INTERNAL, sentence)


def _finish(folder: Path) -> str:
    """Readable by all (safetensors writes 0600, whatever the umask), and on disk."""
    for path in folder.iterdir():
        path.chmod(0o644)
        _sync(path)
    folder.chmod(0o755)
    _sync(folder)
    digest = weights_sha256(folder)
    if digest is None:
        raise Failure(Kind.INTERNAL, f"{WEIGHTS} was not written")
    return digest


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
