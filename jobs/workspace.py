"""The Workspace of kaito.sh, v1alpha1 and v1beta1 → frozen values. The only reader of CRD keys.

First step of every flow: webhook, reconcile and command line call `parse`, then jobs/validate.py.
Fields as in KAITO's api/v1beta1/workspace_types.go; each model's fields carry their CRD spelling as
alias (`instanceType`), and their own name in Python (`instance_type`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from jobs import habits
from jobs.plain import plain
from jobs.unreadable import field_problems, repaired
from presets.problem import Problem

V1ALPHA1, V1BETA1 = habits.V1ALPHA1, habits.V1BETA1
V1ALPHA1_INSTANCE_TYPE = "Standard_NC24ads_A100_v4"
"""The default of v1alpha1's schema; v1beta1 has none."""


def _unset_if_empty(value: object) -> object:
    """Go's omitempty: an empty string is an absent one."""
    return None if value == "" else value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


MaybeText = Annotated[str | None, BeforeValidator(_unset_if_empty)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Volume = Annotated[Mapping[str, Any] | None, Field(alias="volumeSource")]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )


class PresetOptions(_Part):
    image: MaybeText = None
    image_pull_secrets: Texts = ()
    model_access_secret: MaybeText = None
    """Secret with the key HF_TOKEN. v1beta1 only."""


class PresetRef(_Part):
    name: str
    access_mode: Literal["public", "private"] = "public"
    options: Annotated[PresetOptions, Field(alias="presetOptions")] = PresetOptions()


class Source(_Part):
    """DataSource: tuning input and adapters' source."""

    name: MaybeText = None
    urls: Texts = ()
    volume: Volume = None
    """core/v1 VolumeSource, as written."""
    image: MaybeText = None
    image_pull_secrets: Texts = ()


class Destination(_Part):
    """DataDestination: where the adapter goes."""

    volume: Volume = None
    image: MaybeText = None
    image_push_secret: MaybeText = None


class Tuning(_Part):
    preset: PresetRef | None = None
    method: str = ""
    """As written; letter case does not count."""
    config: MaybeText = None
    """Name of a ConfigMap in the same namespace."""
    input: Source | None = None
    output: Destination | None = None


class AdapterSource(Source):
    """Of an adapter: also the tuning Workspace that makes it. Additive to KAITO."""

    workspace: MaybeText = None
    """NAME, or NAMESPACE/NAME."""


class Adapter(_Part):
    source: AdapterSource | None = None
    strength: str | None = None
    """A number between 0 and 1, as text."""


class Inference(_Part):
    preset: PresetRef | None = None
    template: Mapping[str, Any] | None = None
    """core/v1 PodTemplateSpec, as written."""
    config: MaybeText = None
    adapters: Annotated[tuple[Adapter, ...], BeforeValidator(_as_tuple)] = ()


class LabelExpression(_Part):
    key: str
    operator: str
    values: Texts = ()


class LabelSelector(_Part):
    """metav1.LabelSelector."""

    match_labels: Mapping[str, str] = {}
    match_expressions: Annotated[tuple[LabelExpression, ...], BeforeValidator(_as_tuple)] = ()


class Partition(_Part):
    """A share of a node's cards. v1beta1 only, inference only."""

    mode: Literal["mig", "accelerator"]
    profile: MaybeText = None
    count: Count | None = None


class Resource(_Part):
    count: Count = 1
    instance_type: MaybeText = None
    label_selector: LabelSelector = LabelSelector()
    preferred_nodes: Texts = ()
    partition: Partition | None = None


class Workspace(_Part):
    api_version: str
    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    resource: Resource = Resource()
    tuning: Tuning | None = None
    inference: Inference | None = None


class _Metadata(_Part):
    """metav1.ObjectMeta; what Tunery does not read is accepted as it is."""

    name: str
    namespace: MaybeText = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    generate_name: Any = None
    uid: Any = None
    resource_version: Any = None
    generation: Any = None
    creation_timestamp: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    owner_references: Any = None
    finalizers: Any = None
    managed_fields: Any = None
    self_link: Any = None


class _Document(_Part):
    """The object as it stands in a file, before metadata is unfolded."""

    api_version: str
    kind: str
    metadata: _Metadata
    resource: Resource = Resource()
    tuning: Tuning | None = None
    inference: Inference | None = None
    status: Any = None

    def workspace(self) -> Workspace:
        metadata = self.metadata
        return Workspace(
            api_version=self.api_version,
            name=metadata.name,
            namespace=metadata.namespace or "default",
            labels=metadata.labels,
            annotations=metadata.annotations,
            resource=self.resource,
            tuning=self.tuning,
            inference=self.inference,
        )


def parse(body: object) -> tuple[Workspace | None, tuple[Problem, ...]]:
    """A parsed YAML/JSON object → Workspace, problems. Never raises, whatever the value is.

    Defaults differ by version as in the CRD. Unknown fields are problems with the nearest name; the
    Workspace is then read as if they were spelled that way, so that the rules can be checked too:
    **a Workspace beside a problem is still refused**. None: unreadable.
    """
    value, problem = plain(body)
    if problem is not None:
        return None, (problem,)
    wrong = habits.not_a_workspace(value)
    if wrong is not None:
        return None, (wrong,)
    problems = (*habits.take_inlined_configs(value), *_version_differences(value))
    document, more = _read(value)
    workspace = document.workspace() if document else None
    return workspace, (*problems, *more)


def _read(value: dict[str, Any]) -> tuple[_Document | None, tuple[Problem, ...]]:
    try:
        return _Document.model_validate(value, by_alias=True, by_name=False), ()
    except ValidationError as error:
        problems = field_problems(error, _Document)
        second = repaired(value, error, _Document)
    try:
        return _Document.model_validate(second, by_alias=True, by_name=False), problems
    except ValidationError as error:
        return None, tuple(dict.fromkeys(problems + field_problems(error, _Document)))


def _version_differences(value: dict[str, Any]) -> list[Problem]:
    """What only one version has: v1alpha1's default instance type, v1beta1's new fields."""
    problems: list[Problem] = []
    resource = value.get("resource")
    if isinstance(resource, dict) and "labelSelector" not in resource:
        what, do = "is missing", "add labelSelector with matchLabels, for example app: NAME"
        problems.append(Problem("resource.labelSelector", what, do, "missing"))
    if value["apiVersion"] != V1ALPHA1:
        return problems
    if isinstance(resource, dict):
        resource.setdefault("instanceType", V1ALPHA1_INSTANCE_TYPE)
    return problems + habits.only_in_v1beta1(value)
