"""What the API server refuses by itself, in CEL: it holds while the operator is away.

The sentences are those of jobs/rules/, because a user must not care who refused. Three habits:

* Go's omitempty: an empty text or list is an absent one.
* Rules about the whole object are asked on creation only (`optionalOldSelf`): its status must stay
  writable whatever was stored before these rules were. Rules about a part are not asked again while
  that part stays as it was (the API server's ratcheting), so they need no such care.
* Nothing that KAITO accepts is bounded here for the sake of the cost budget: what would need it
  (URLs, adapters' names, the selector's expressions) is left to the webhook.
"""

from __future__ import annotations

from jobs.rules.adapters import MAX_ADAPTERS, TOO_MANY
from jobs.rules.data import ONE_DESTINATION, ONE_SOURCE, PUSH_SECRET
from jobs.rules.general import BOTH, NEITHER
from jobs.rules.inference import BOTH as PRESET_AND_TEMPLATE
from jobs.rules.inference import NEITHER as NO_PRESET
from jobs.rules.resource import ONE_NODE
from jobs.rules.update import IMMUTABLE
from scripts.crd.shape import Schema

_NEW = "write it as it was, or make a new Workspace"


def rule(
    cel: str, what: str, do: str = "", *, at: str = "", missing: bool = False, create: bool = False
) -> Schema:
    """One rule; `missing` prints "Required value", `create` asks only when the object is new."""
    found: Schema = {"message": f"{what}; {do}" if do else what}
    found["rule"] = f"oldSelf.hasValue() || ({cel})" if create else cel
    if create:
        found["optionalOldSelf"] = True
    if at:
        found["fieldPath"] = at
    if missing:
        found["reason"] = "FieldValueRequired"
    return found


def given(field: str) -> str:
    """The text is there and not empty."""
    return f"has(self.{field}) && self.{field} != ''"


def unchanged(field: str, what: str, at: str = "") -> Schema:
    """An optional field that may not change, appear or vanish."""
    cel = (
        f"has(self.{field}) == has(oldSelf.{field}) && "
        f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    )
    return rule(cel, what, _NEW, at=at or f".{field}")


def one_of(*present: str) -> str:
    return f"[{', '.join(present)}].exists_one(found, found)"


def whole(beta: bool) -> list[Schema]:
    """Of the Workspace as a whole."""
    name = "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')"
    toggled = "field cannot be toggled once set"
    count = "!has(self.tuning) || !has(self.resource) || !has(self.resource.count)"
    rules = [
        rule(
            name,
            "name must be an RFC 1123 label: at most 63 lower case letters, digits or '-'",
            "write for example my-model",
            at=".metadata",
            create=True,
        ),
        rule(
            "has(self.tuning) || has(self.inference)",
            NEITHER,
            "add one",
            at=".tuning",
            missing=True,
            create=True,
        ),
        rule(
            "!has(self.tuning) || !has(self.inference)",
            BOTH,
            "make two Workspaces of it",
            at=".inference",
            create=True,
        ),
        rule("has(self.tuning) == has(oldSelf.tuning)", f"Tuning {toggled}", _NEW, at=".tuning"),
        rule(
            "has(self.inference) == has(oldSelf.inference)",
            f"Inference {toggled}",
            _NEW,
            at=".inference",
        ),
        rule(f"{count} || self.resource.count <= 1", ONE_NODE, at=".resource.count", create=True),
    ]
    if beta:
        partition = "!has(self.tuning) || !has(self.resource) || !has(self.resource.partition)"
        what = "GPU partitioning is not supported for tuning workloads"
        rules.append(rule(partition, what, "remove it", at=".resource.partition", create=True))
    return rules


def count() -> list[Schema]:
    return [rule("self == oldSelf", IMMUTABLE, _NEW)]


def instance_type() -> list[Schema]:
    """It may be cleared, or set later: whether it must be given depends on the installation."""
    cel = "self == oldSelf || self == '' || oldSelf == ''"
    return [rule(cel, "instanceType cannot be changed once set", _NEW)]


def label_selector() -> list[Schema]:
    """Labels alone; a selector with expressions is compared by the webhook."""
    with_expressions = "has(self.matchExpressions) || has(oldSelf.matchExpressions)"
    same = (
        "(has(self.matchLabels) ? self.matchLabels : {}) == "
        "(has(oldSelf.matchLabels) ? oldSelf.matchLabels : {})"
    )
    return [rule(f"{with_expressions} || {same}", IMMUTABLE, _NEW)]


def resource(beta: bool) -> list[Schema]:
    return [unchanged("partition", IMMUTABLE)] if beta else []


def partition() -> list[Schema]:
    return [
        rule(
            "self.mode != 'mig' || !has(self.count)",
            "count is only valid for accelerator mode",
            "remove it",
            at=".count",
        ),
        rule(
            f"self.mode != 'accelerator' || !({given('profile')})",
            "profile is not valid for accelerator mode",
            "remove it",
            at=".profile",
        ),
        rule(
            "self.mode != 'accelerator' || has(self.count)",
            "accelerator mode needs count",
            "say how many cards",
            at=".count",
            missing=True,
        ),
    ]


def tuning() -> list[Schema]:
    method = "has(self.method) && self.method.lowerAscii() in ['lora', 'qlora']"
    same = "!has(self.method) || !has(oldSelf.method) || self.method.lowerAscii() == "
    return [
        rule(method, "must be lora or qlora", "for example method: qlora", at=".method"),
        rule(f"{same}oldSelf.method.lowerAscii()", "Method cannot be changed", _NEW, at=".method"),
        rule(
            "has(self.preset)",
            "name the model, for example preset: {name: phi-4-mini-instruct}",
            at=".preset",
            missing=True,
        ),
        rule(
            "!has(self.preset) || !has(oldSelf.preset) || self.preset == oldSelf.preset",
            "Preset cannot be changed",
            _NEW,
            at=".preset",
        ),
    ]


def source() -> list[Schema]:
    """tuning.input."""
    urls = "has(self.urls) && size(self.urls) > 0"
    name, old = "has(self.name) ? self.name : ''", "has(oldSelf.name) ? oldSelf.name : ''"
    renamed = "During tuning Name field cannot be changed once set"
    return [
        rule(
            one_of(urls, volume(), given("image")),
            ONE_SOURCE,
            "keep one of urls, volumeSource and image",
        ),
        rule(f"({name}) == ({old})", renamed, _NEW, at=".name"),
    ]


def destination() -> list[Schema]:
    """tuning.output."""
    return [
        rule(
            one_of(volume(), given("image")),
            ONE_DESTINATION,
            "keep one of volumeSource and image",
        ),
        rule(
            f"!({given('image')}) || ({given('imagePushSecret')})",
            PUSH_SECRET,
            "name a registry Secret of the same namespace",
            at=".imagePushSecret",
            missing=True,
        ),
    ]


def volume(field: str = "volumeSource") -> str:
    return f"has(self.{field}) && self.{field} != null"


def inference() -> list[Schema]:
    template, old = volume("template"), "has(oldSelf.template) && oldSelf.template != null"
    toggled = "field cannot be unset/set if it was set/unset"
    return [
        rule(
            f"has(self.preset) || ({template})",
            NO_PRESET,
            "name a model: preset: {name: …}",
            missing=True,
        ),
        rule(f"!has(self.preset) || !({template})", PRESET_AND_TEMPLATE, "remove one"),
        unchanged("preset", IMMUTABLE),
        rule(f"({template}) == ({old})", toggled, _NEW, at=".template"),
        rule(
            f"!has(self.adapters) || size(self.adapters) <= {MAX_ADAPTERS}",
            TOO_MANY,
            "remove some",
            at=".adapters",
        ),
    ]
