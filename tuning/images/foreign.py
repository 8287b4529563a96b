"""What an adapter folder says of itself → provenance of its image.

For `tunery push` of a folder that no run of ours is at hand for: our own training.json when it is
there, else PEFT's adapter_config.json. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuning.failure import Failure, Kind
from tuning.images import oci
from tuning.images.provenance import Provenance, whole
from tuning.result import Record

RECORD_FILE = "training.json"


def provenance_of(folder: Path) -> Provenance:
    """Raises Failure (BAD_CONFIG) when the folder holds no adapter."""
    config = _adapter_config(folder)
    record = _record(folder)
    if record is None:
        return Provenance(
            base_model=_public_id(config.get("base_model_name_or_path")),
            base_revision=str(config.get("revision") or ""),
            rank=whole(config.get("r")),
            alpha=whole(config.get("lora_alpha")),
        )
    lora = record.settings.get("lora", {})
    return Provenance(
        base_model=record.base_model,
        base_revision=record.revision or "",
        dataset=record.data,
        config_digest=record.identity,
        method=record.method,
        rank=whole(lora.get("r")),
        alpha=whole(lora.get("lora_alpha")),
        seed=record.seed,
        steps=record.steps,
        final_loss=record.final_loss,
        eval_loss=record.eval_loss,
        versions=record.versions,
        description=f"{record.method} adapter for {record.base_model}",
    )


def _adapter_config(folder: Path) -> Mapping[str, Any]:
    path = folder / oci.CONFIG_FILE
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        sentence = f"{folder} holds no adapter: {oci.CONFIG_FILE}: {error.strerror}"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    except ValueError as error:
        raise Failure(Kind.BAD_CONFIG, f"{path} is not JSON; save the adapter again") from error
    if not isinstance(found, dict):
        raise Failure(Kind.BAD_CONFIG, f"{path} is not a JSON object; save the adapter again")
    return found


def _record(folder: Path) -> Record | None:
    try:
        return Record.model_validate_json((folder / RECORD_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _public_id(name: object) -> str:
    """A hub id `org/name`; nothing for a local path, which must not be published."""
    text = name if isinstance(name, str) else ""
    return text if text.count("/") == 1 and not text.startswith((".", "/", "~")) else ""
