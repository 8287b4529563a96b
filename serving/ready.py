"""What the server reads at its start: written by `prepare`, once everything is checked.

For vLLM a file of flags (`vllm serve MODEL --config …`), for `transformers serve` one folder with
base and adapter side by side; for both the settings of serving/chat, and that package itself.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serving.plan import (
    CHAT_MODULE,
    CHAT_SETTINGS,
    LIVE_STATE,
    MODEL_LINK,
    REVISION,
    VLLM_CONFIG,
    ServePlan,
)
from tuning.failure import Failure, Kind
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE

RANK_STEPS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The only values of vLLM's --max-lora-rank."""
_MOST_AT_ONCE = 4
"""Adapters in one batch: each costs memory for the largest rank in every layer."""
_LIVE_RANK = 16
"""The least that a server with live adapters can hold: vLLM's own, and Tunery's, usual rank."""
_LIVE_HELD = 16
"""Adapters in memory there: as many as may be asked for, and some that were replaced."""
_TEMPLATE = "chat_template.jinja"
_MODEL_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_DEFAULT_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class Served:
    """One adapter as the server knows it: checked, composed, never to be rewritten."""

    name: str
    folder: Path
    rank: int
    template: str | None
    parts: tuple[str, ...]
    """The adapters that it is made of."""


def write(
    plan: ServePlan, base: Path, served: Sequence[Served], revision: str | None = None
) -> None:
    """Everything the runtime of the plan needs, in `places.ready`. Raises Failure or OSError."""
    ready = Path(plan.places.ready)
    ready.mkdir(parents=True, exist_ok=True)
    if plan.runtime == "vllm":
        _link(ready / MODEL_LINK, base)
        text = yaml.safe_dump(vllm_flags(plan, served), sort_keys=True)
        (ready / VLLM_CONFIG).write_text(text, encoding="utf-8")
        (ready / REVISION).write_text(revision or "", encoding="utf-8")
    else:
        _one_folder(ready / _checked_name(plan.model.name), base, served)
    _copy_chat(ready / CHAT_MODULE)
    settings = chat_settings(plan, base, served)
    (ready / CHAT_SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _link(link: Path, folder: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve())


def _copy_chat(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    source = Path(__file__).with_name("chat")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))


def vllm_flags(plan: ServePlan, served: Sequence[Served]) -> dict[str, Any]:
    """vLLM's command line: for model and cards, for the adapters, and as the user wants it."""
    lora = _live_flags(served) if plan.live else _lora_flags(plan, served)
    flags = {**plan.flags, **lora, **plan.user_flags}
    # More at once than are held would end the server.
    at_once, held = flags.get("max-loras"), flags.get("max-cpu-loras")
    if isinstance(at_once, int) and isinstance(held, int):
        flags["max-cpu-loras"] = max(at_once, held)
    return flags


def _lora_flags(plan: ServePlan, served: Sequence[Served]) -> dict[str, Any]:
    if not served:
        return {}
    modules = [
        json.dumps({"name": one.name, "path": str(one.folder), "base_model_name": plan.model.name})
        for one in served
    ]
    flags = {
        "enable-lora": True,
        "lora-modules": modules,
        "max-lora-rank": rank_step(max(one.rank for one in served)),
        "max-loras": min(len(served), _MOST_AT_ONCE),
        # All of them stay in memory: one that was pushed out is read again, and stops the server
        # if that fails.
        "max-cpu-loras": len(served),
    }
    return flags | _template_flag(served)


def _live_flags(served: Sequence[Served]) -> dict[str, Any]:
    """Room for adapters to come. None is loaded at the start: serving/live.py does that."""
    flags = {
        "enable-lora": True,
        "max-lora-rank": rank_step(max((_LIVE_RANK, *(one.rank for one in served)))),
        "max-loras": _MOST_AT_ONCE,
        "max-cpu-loras": _LIVE_HELD,
    }
    return flags | _template_flag(served)


def _template_flag(served: Sequence[Served]) -> dict[str, str]:
    template = template_of(served)
    return {} if template is None else {"chat-template": str(template)}


def restart_for(flags: Mapping[str, Any], served: Sequence[Served]) -> str | None:
    """Why a server with these flags cannot serve this; None: it can."""
    limit = flags.get("max-lora-rank")
    for one in served:
        if isinstance(limit, int) and one.rank > limit:
            return f"adapter {one.name} has rank {one.rank}, and the server was started for {limit}"
    wanted, used = template_of(served), flags.get("chat-template")
    if wanted is not None and (used is None or wanted.read_bytes() != Path(used).read_bytes()):
        return f"adapter {served[0].name} was trained with another chat template"
    return None


def rank_step(rank: int) -> int:
    """The smallest rank that vLLM can be told to hold."""
    return next(step for step in RANK_STEPS if step >= rank)


def chat_settings(plan: ServePlan, base: Path, served: Sequence[Served]) -> dict[str, Any]:
    """Settings of serving/chat (its questions.py says what they mean)."""
    names = [one.name for one in served]
    # A server with a key of the user's does not answer us.
    asked = [] if "api-key" in plan.user_flags else [plan.model.name, *names]
    templated = template_of(served) is not None or _has_template(base)
    if plan.runtime == "vllm":
        common = {
            "model": chat_model(plan, names),
            "max_tokens": plan.max_tokens,
            "chat_template": templated,
        }
        if plan.live:
            state = str(Path(plan.places.adapters) / LIVE_STATE)
            return {**common, "models": asked[:1], "live": state}
        return {**common, "models": list(dict.fromkeys(asked))}
    parts = [name for one in served for name in one.parts]
    return {
        "model": plan.model.name,
        "aliases": sorted({*parts} - {plan.model.name}),
        "max_tokens": plan.max_tokens or _length(base),
        "chat_template": templated,
        "models": [plan.model.name],
    }


def chat_model(plan: ServePlan, names: Sequence[str]) -> str:
    """Whom POST /chat asks: all adapters as one, the only one, or the base."""
    only = names[0] if len(names) == 1 else plan.model.name
    return plan.together if plan.together and plan.together in names else only


def template_of(served: Sequence[Served]) -> Path | None:
    """The one chat template that all of them were trained with; servers have one for all."""
    texts = {one.template for one in served}
    return served[0].folder / _TEMPLATE if len(texts) == 1 and None not in texts else None


def _has_template(base: Path) -> bool:
    if (base / _TEMPLATE).is_file() or (base / "chat_template.json").is_file():
        return True
    return bool(_json(base / "tokenizer_config.json").get("chat_template"))


def _length(base: Path) -> int:
    """The longest text of the model, in tokens."""
    found = _json(base / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else _DEFAULT_LENGTH


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _one_folder(folder: Path, base: Path, served: Sequence[Served]) -> None:
    """Links to every file of the base, and of the adapter, which goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own = {path.name: path for one in served for path in one.folder.iterdir()}
    others = {p.name: p for p in base.iterdir() if p.is_file() and not p.name.startswith(".")}
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        others.pop(name, None)
    for name, path in {**others, **own}.items():
        (folder / name).symlink_to(path.resolve())


def _checked_name(name: str) -> str:
    if not _MODEL_NAME.fullmatch(name):
        sentence = f"the model's name {name[:80]!r} cannot be a folder; write NAME or ORG/NAME"
        raise Failure(Kind.BAD_CONFIG, sentence)
    return name
