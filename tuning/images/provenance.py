"""Provenance: what an adapter was made from, as annotations of its image and back.

Everything here follows from the run alone. Times, job names and nodes stay out, so that the same
run gives the same digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

PREFIX = "sh.tunery."
KAITO_MODEL = "sh.kaito.model.name"
"""KAITO's own annotation: the preset's name (its pusher sets it, its controller reads it)."""

_OCI = "org.opencontainers.image."


class Provenance(BaseModel):
    """Facts about one adapter; all are optional, since a foreign adapter knows few of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = ""
    """The name the user wrote."""
    base_model: str = ""
    """Public id `org/name`, never a path."""
    base_revision: str = ""
    dataset: str = ""
    """A name for people: a data set id, a file name."""
    dataset_digest: str = ""
    config_digest: str = ""
    """`Run.identity()`: all that decides the adapter, without the data."""
    method: str = ""
    rank: int | None = None
    alpha: float | None = None
    seed: int | None = None
    steps: int | None = None
    final_loss: float | None = None
    eval_loss: float | None = None
    versions: Mapping[str, str] = {}
    """Package → version: torch, peft, transformers, trl, bitsandbytes, tunery."""
    title: str = ""
    description: str = ""
    licenses: str = ""
    """SPDX expression, from the base model."""
    version: str = ""

    def annotations(self) -> dict[str, str]:
        """Manifest annotations, sorted; unknown facts are left out."""
        own = self.model_dump(exclude={*_STANDARD, "versions", "preset"})
        found = {PREFIX + key.replace("_", "-"): _text(value) for key, value in own.items()}
        found |= {f"{PREFIX}versions.{name}": text for name, text in self.versions.items()}
        found |= {_OCI + key: getattr(self, key) for key in _STANDARD}
        found[KAITO_MODEL] = self.preset
        return {key: found[key] for key in sorted(found) if found[key]}


_STANDARD = ("title", "description", "licenses", "version")


def read(annotations: Mapping[str, str]) -> Provenance:
    """What `annotations` say, as far as they can be read: a foreign image may say nothing."""
    known: dict[str, Any] = {key: annotations.get(_OCI + key, "") for key in _STANDARD}
    known["preset"] = annotations.get(KAITO_MODEL, "")
    start = f"{PREFIX}versions."
    known["versions"] = {k[len(start) :]: v for k, v in annotations.items() if k.startswith(start)}
    for field in set(Provenance.model_fields) - set(known):
        key = PREFIX + field.replace("_", "-")
        if key in annotations:
            known[field] = annotations[key]
    return _lenient(known)


def _lenient(known: Mapping[str, Any]) -> Provenance:
    """The facts that have the right type; the others were written by somebody else."""
    try:
        return Provenance.model_validate(known)
    except ValidationError as error:
        wrong = {str(e["loc"][0]) for e in error.errors()}
        return Provenance.model_validate({k: v for k, v in known.items() if k not in wrong})


def whole(value: object) -> int | None:
    """A number of somebody's JSON as an integer; None when it is none."""
    return int(value) if isinstance(value, int | float) else None


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
