"""The Workspace of kaito.sh, v1alpha1 and v1beta1 → frozen values. The only reader of CRD keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from presets.problem import Problem


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class PresetOptions(_Part):
    image: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    model_access_secret: str | None = None


class PresetRef(_Part):
    name: str
    access_mode: Literal["public", "private"] = "public"
    options: PresetOptions = PresetOptions()


class Source(_Part):
    """DataSource: tuning input and adapters' source."""

    name: str | None = None
    urls: tuple[str, ...] = ()
    volume: Mapping[str, Any] | None = None
    """core/v1 VolumeSource, as written."""
    image: str | None = None
    image_pull_secrets: tuple[str, ...] = ()


class Destination(_Part):
    volume: Mapping[str, Any] | None = None
    image: str | None = None
    image_push_secret: str | None = None


class Tuning(_Part):
    preset: PresetRef | None = None
    method: str = ""
    config: str | None = None
    """Name of a ConfigMap in the same namespace."""
    input: Source | None = None
    output: Destination | None = None


class Adapter(_Part):
    source: Source | None = None
    strength: str | None = None


class Inference(_Part):
    preset: PresetRef | None = None
    template: Mapping[str, Any] | None = None
    config: str | None = None
    adapters: tuple[Adapter, ...] = ()


class Resource(_Part):
    count: int = 1
    instance_type: str | None = None
    label_selector: Mapping[str, Any] = {}
    preferred_nodes: tuple[str, ...] = ()
    partition: Mapping[str, Any] | None = None


class Workspace(_Part):
    api_version: str
    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    resource: Resource
    tuning: Tuning | None = None
    inference: Inference | None = None


def parse(body: object) -> tuple[Workspace | None, tuple[Problem, ...]]:
    """A parsed YAML/JSON object → Workspace, problems; the Workspace is None when unreadable.

    Defaults differ by version as in the CRD. Unknown fields are problems with the nearest name.
    """
    raise NotImplementedError
