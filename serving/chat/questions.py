"""What is asked of a served model, changed to what the server may be asked. Pure.

Part of the package that `prepare` copies to where a server finds it: standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .asgi import Json, Refused

VARIABLE = "TUNERY_CHAT"
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
LONGEST = {CHAT: "max_tokens", COMPLETIONS: "max_tokens", RESPONSES: "max_output_tokens"}
"""Which field says how long an answer may be."""
_ALSO_LONGEST = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_SAMPLING = ("temperature", "top_p", "seed", "stop")


@dataclass(frozen=True)
class Settings:
    """What `prepare` found out about the served models."""

    model: str | None = None
    """Asked by /chat; None: the server has only one."""
    aliases: tuple[str, ...] = ()
    """Other names of that model."""
    max_tokens: int | None = None
    """No answer is longer; None leaves it to the server."""
    chat_template: bool = True
    """False: the model knows no turns, so /chat goes to /v1/completions."""
    models: tuple[str, ...] = ()
    """Each must have answered before GET /ready does."""
    live: str = ""
    """The file that says which live adapters the server has (live.py); "" where none are live."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """From the file that the environment names; none is named: nothing is known."""
        if VARIABLE not in environ:
            return cls()
        found = json.loads(Path(environ[VARIABLE]).read_text(encoding="utf-8"))
        lists = {key: tuple(found.get(key, ())) for key in ("aliases", "models")}
        return cls(**{**found, **lists})


def from_chat(asked: Json, settings: Settings) -> Json:
    """The old body of /chat as one of OpenAI's. Raises Refused (400)."""
    options = asked.get("generate_kwargs") or {}
    if not isinstance(options, dict):
        raise Refused(400, "generate_kwargs must be an object")
    body: Json = {k: options[k] for k in _SAMPLING if options.get(k) is not None}
    model = asked.get("model") or settings.model
    if model is not None:
        body["model"] = model
    longest = next((options[k] for k in ("max_new_tokens", "max_length") if k in options), None)
    if longest is not None:
        body["max_tokens"] = longest
    if options.get("do_sample") is False:
        body["temperature"] = 0
    if settings.chat_template:
        return {**body, "messages": _messages(asked)}
    return {**body, "prompt": _prompt(asked)}


def bounded(body: Json, path: str, settings: Settings) -> Json:
    """The request with the model's own name and no more tokens than allowed. Raises Refused."""
    found = dict(body)
    if settings.aliases and found.get("model") in settings.aliases:
        found["model"] = settings.model
    for key in _ALSO_LONGEST:
        if found.get(key) is not None and (type(found[key]) is not int or found[key] < 1):
            raise Refused(400, f"{key} must be a whole number above 0")
    if settings.max_tokens is None:
        return found
    # One would replace what is set here, the other runs a template of the caller's.
    options = found.get("chat_template_kwargs")
    if "generation_config" in found or (isinstance(options, dict) and "chat_template" in options):
        raise Refused(400, "generation_config and chat_template are not taken from requests")
    for key in (LONGEST[path], *_ALSO_LONGEST):
        if found.get(key) is not None or key == LONGEST[path]:
            found[key] = min(found.get(key) or settings.max_tokens, settings.max_tokens)
    return found


def text_of(answer: bytes) -> str:
    """The words of a completion. Raises Refused (502)."""
    try:
        choice = json.loads(answer)["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (ValueError, LookupError, TypeError) as error:
        raise Refused(502, "the server's answer has no text") from error
    return text or ""


def _prompt(asked: Json) -> str:
    prompt = asked.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise Refused(400, "Text generation parameter prompt required")
    return prompt


def _messages(asked: Json) -> list[Any]:
    messages = asked.get("messages")
    if messages is None:
        return [{"role": "user", "content": _prompt(asked)}]
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "Conversational parameter messages required")
    return messages
