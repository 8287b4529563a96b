"""ServePlan: the one contract between whoever schedules a serving pod and its init container.

`jobs/serve.py` makes it from a Workspace, the operator stores it as a ConfigMap, and
`python -m serving prepare PLAN.json` reads it. Everything is resolved, nothing is secret:
credentials are named by the path where they are mounted. Imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tuning.failure import Failure, Kind
from tuning.run import canonical

Runtime = Literal["vllm", "transformers"]

MODEL_LINK = "model"
"""A link to the folder of the base model, wherever it was found: `vllm serve <ready>/model`."""
REVISION = "revision"
"""The base model's commit, where it is known."""
VLLM_CONFIG = "vllm.yaml"
"""All other flags, for `vllm serve … --config <ready>/vllm.yaml`."""
CHAT_SETTINGS = "chat.json"
"""What serving/chat reads, named to it by the variable TUNERY_CHAT."""
CHAT_MODULE = "tunery_chat"
"""serving/chat beside it, for servers whose image has none of our code."""
LIVE_STATE = "live.json"
"""In `places.adapters`: what live adapters the server has, written by serving/live.py."""
_SHORT = 10


class Part(BaseModel):
    """A frozen piece of the contract; a key it does not know is an error, not a surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServedModel(Part):
    """The base model that is served."""

    name: str
    """What clients write as `model`: the preset's name."""
    id: str
    """Public Hugging Face id `org/name`: adapters must be made for it."""
    also: tuple[str, ...] = ()
    """Other ids of the same weights (a mirror): adapters made for these fit too."""
    revision: str | None = None
    """Pinned commit; None means the hub's default branch."""
    path: str | None = None
    """A folder with the weights (image volume, volume): then nothing is downloaded."""


class AdapterPlan(Part):
    """One adapter as the Workspace names it."""

    name: str
    strength: float = 1.0
    image: str | None = None
    """Pulled by prepare; by digest, so that every pod of a Workspace gets the same."""
    path: str | None = None
    """A mounted folder: an image volume, or a volume of the user's. Exactly one of the two."""

    def source(self) -> str:
        """Ten digits of where it comes from."""
        return _short({"image": self.image, "path": self.path})

    def asked(self) -> str:
        """Ten digits of all that is asked for."""
        return _short(self.model_dump(mode="json"))


def adapter_set(adapters: Sequence[AdapterPlan], together: str | None) -> str:
    """Ten digits that name a set of live adapters, on both sides."""
    return _short({"adapters": [one.asked() for one in adapters], "together": together})


def _short(value: Mapping[str, JsonValue]) -> str:
    return hashlib.sha256(canonical(dict(value))).hexdigest()[:_SHORT]


class ServePlaces(Part):
    """Folders and mounted credentials of the pod."""

    adapters: str = "/adapters"
    """Written here as <digest>/<name>, never rewritten."""
    model: str = "/model"
    """Downloaded weights."""
    ready: str = "/ready"
    """What the server reads at its start: VLLM_CONFIG, CHAT_SETTINGS, CHAT_MODULE."""
    pull_auth: tuple[str, ...] = ()
    registry_ca: str | None = None
    """A PEM file with the CA of an in-house registry."""
    insecure_registries: tuple[str, ...] = ()
    """Registries that speak plain http."""
    registry_patience_s: float = 60
    """For one that does not answer: other adapters wait, and the pod is started again anyway."""
    hub_token: str | None = None
    """A file with a Hugging Face token."""
    termination_log: str | None = None


class ServePlan(Part):
    """One serving pod, wholly resolved."""

    version: Literal[1] = 1
    workspace: str
    namespace: str = "default"
    runtime: Runtime = "vllm"
    model: ServedModel
    adapters: tuple[AdapterPlan, ...] = ()
    together: str | None = None
    """vLLM: also serve all adapters as one, each with its strength, under this name. The
    transformers runtime serves one model, so there they are always together."""
    max_tokens: int | None = None
    """No answer is longer; None leaves it to the server (vLLM stops at the model's length)."""
    flags: Mapping[str, JsonValue] = {}
    """vLLM's, as the model and the cards ask for them."""
    user_flags: Mapping[str, JsonValue] = {}
    """vLLM's, as the user wrote them in inference_config.yaml: these win."""
    places: ServePlaces = ServePlaces()
    live: bool = False
    """vLLM: the adapters may change while the server runs (serving/live.py)."""
    adapter_set: str = ""
    """Of `adapters` and `together`, where they are live."""


def write(plan: ServePlan, path: Path) -> None:
    """Write the plan whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(canonical(plan.model_dump(mode="json")) + b"\n")
    temporary.replace(path)


def read(path: Path) -> ServePlan:
    """Read a plan. Raises Failure (BAD_CONFIG) with the field that is wrong."""
    try:
        return ServePlan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Failure(Kind.BAD_CONFIG, f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Failure(Kind.BAD_CONFIG, f"{path}: {where}: {first['msg']}") from error
