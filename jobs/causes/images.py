"""An image that cannot be pulled: which of the pod's, why, and whose login to look at.

containerd, CRI-O and Docker word the same failures differently, and the kubelet alternates between
the failure (ErrImagePull) and its back-off, which quotes it: both give one sentence here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobs.causes.cause import Cause, Why, short, waiting
from jobs.facts import Facts
from jobs.seen import Container, Pod
from jobs.workspace import PresetOptions
from tuning.reference import parse

REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)

_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]{0,1000}"(?:: \w{1,60})?(?:: )?')
_QUOTED = re.compile(r'image "([^"]{1,1000})"')
_LONGEST_DETAIL = 160

# Tried in this order: a login that cannot be asked for is no wrong login, and a registry that
# hides an image says "denied" and "does not exist" in one breath.
_FAILURES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        (
            "unreachable",
            r"dial tcp|no such host|no route to host|connection refused|network is unreachable|"
            r"i/o timeout|TLS handshake timeout|deadline exceeded|connection reset|"
            r"\b50[0234] (?:Internal|Bad|Service|Gateway)|RegistryUnavailable",
        ),
        ("plain", r"HTTP response to HTTPS client"),
        ("untrusted", r"x509|certificate"),
        ("limited", r"toomanyrequests|\b429\b|rate limit"),
        ("full", r"no space left on device"),
        (
            "login",
            r"\b40[13]\b|unauthori[sz]ed|denied|no basic auth|authorization failed|"
            r"authentication required|insufficient_scope",
        ),
        ("platform", r"no match for platform|no matching manifest|exec format"),
        ("missing", r"not found|NotFound|manifest unknown|name unknown|repository name not known"),
    )
)


@dataclass(frozen=True, slots=True)
class _Image:
    """An image of the pod and who can change it."""

    reference: str
    called: str
    path: str
    """The field of the Workspace that names it; "" when it is not the user's."""
    secrets_path: str
    secrets: tuple[str, ...]

    @property
    def host(self) -> str:
        try:
            return parse(self.reference).registry
        except ValueError:
            return "its registry"

    @property
    def correct(self) -> str:
        return f"correct {self.path}" if self.path else "ask whoever runs Tunery to correct it"

    @property
    def login(self) -> str:
        if self.secrets:
            names = " and ".join(f'"{name}"' for name in self.secrets)
            return f"check the Secret {names} of {self.secrets_path}"
        return f"name a Secret with a login in {self.secrets_path}"


def image_pull(pod: Pod, facts: Facts) -> Cause | None:
    """A container that waits for an image, its own or one of the pod's image volumes."""
    for container in pod.containers:
        if container.state == "waiting" and container.reason in REASONS:
            message = _BACK_OFF.sub("", container.message)
            image = _image(_reference(container, pod), pod, facts)
            return waiting(Why.IMAGE_PULL, _sentence(image, container.reason, message))
    return None


def _reference(container: Container, pod: Pod) -> str:
    """The image the message speaks of: no field says so when it is a volume's."""
    mentioned = [ref for ref in pod.images if ref in container.message]
    if mentioned:
        return max(mentioned, key=len)
    quoted = _QUOTED.search(container.message)
    return container.image or (quoted[1] if quoted else "")


def _image(reference: str, pod: Pod, facts: Facts) -> _Image:
    tuning = facts.workspace.tuning if facts.workspace else None
    adapter = _adapter(reference, facts)
    if adapter is not None:
        return adapter
    source = tuning.input if tuning else None
    if source and source.image and _same(reference, source.image):
        path = "tuning.input"
        return _Image(
            reference,
            "the data image",
            f"{path}.image",
            f"{path}.imagePullSecrets",
            source.image_pull_secrets,
        )
    if reference in pod.images:
        part = tuning or (facts.workspace.inference if facts.workspace else None)
        options = part.preset.options if part and part.preset else PresetOptions()
        path = f"{'tuning' if tuning else 'inference'}.preset.presetOptions"
        theirs = _same(reference, options.image or "")
        return _Image(
            reference,
            "the weights image",
            f"{path}.image" if theirs else "",
            f"{path}.imagePullSecrets",
            options.image_pull_secrets,
        )
    return _Image(reference, "Tunery's own image", "", "the chart's value imagePullSecrets", ())


def _adapter(reference: str, facts: Facts) -> _Image | None:
    """An adapter of an inference Workspace, mounted as an image volume."""
    inference = facts.workspace.inference if facts.workspace else None
    for number, adapter in enumerate(inference.adapters if inference else ()):
        source, path = adapter.source, f"inference.adapters[{number}].source"
        if source and source.image and _same(reference, source.image):
            secrets = source.image_pull_secrets
            called = f"the image of adapter {source.name}"
            field, login = f"{path}.image", f"{path}.imagePullSecrets"
            return _Image(reference, called, field, login, secrets)
    return None


def _same(one: str, other: str) -> bool:
    try:
        return one == other or parse(one).name == parse(other).name
    except ValueError:
        return False


def _sentence(image: _Image, reason: str, message: str) -> str:
    what, do = _why(image, reason, message)
    return f'{image.called} "{short(image.reference, 300)}" cannot be pulled: {what}; {do}'


def _why(image: _Image, reason: str, message: str) -> tuple[str, str]:
    if reason == "InvalidImageName":
        return "this is no valid image name", image.correct
    if reason == "ErrImageNeverPull":
        return (
            "it is not on the node and the pull policy is Never",
            "load it there, or change the chart's value imagePullPolicy",
        )
    detail = _detail(message)
    match _failure(f"{reason} {message}"):
        case "unreachable":
            return (
                f"{image.host} does not answer ({detail})",
                "check the name and the way there; the node tries again",
            )
        case "untrusted":
            return (
                f"the node does not trust {image.host} ({detail})",
                "give the nodes its certificate authority",
            )
        case "plain":
            return (
                f"{image.host} speaks plain http",
                "have the nodes' container runtime allow that for this registry",
            )
        case "limited":
            return (
                f"{image.host} refuses more pulls for now ({detail})",
                f"wait, or {image.login}",
            )
        case "full":
            return "the node's disk is full", "free space there, or choose a larger disk"
        case "login":
            return f"{image.host} wants another login ({detail})", image.login
        case "missing":
            return f"{image.host} has no such image", f"{image.correct}, or push it"
        case "platform":
            return "it is not built for this kind of node", image.correct
        case _:
            return detail or "the node does not say why", "see kubectl describe pod"


def _failure(text: str) -> str:
    """Its kind; "" when nobody has seen such a text before."""
    return next((name for name, pattern in _FAILURES if pattern.search(text)), "")


def _detail(message: str) -> str:
    """The innermost error: what stands after the last colon that separates errors."""
    tail = message.rstrip(". ").rsplit(": ", 1)[-1]
    return short(tail, _LONGEST_DETAIL)
