"""One conversation in any of its spellings → messages as chat templates expect them.

OpenAI (`role`/`content`), ShareGPT (`from`/`value`), JSON text of either, content as a list of
parts, tool calls. Called by shapes.py for every row that holds a conversation. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuning.dataset.rows import Bad, Chat
from tuning.dataset.toolcalls import function_call, tool_calls, tools_of
from tuning.dataset.values import content_of, kind_of, parsed, text_of

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "function_call": "function_call",
    "tool_call": "function_call",
}
_KEPT = ("name", "tool_call_id", "reasoning_content", "thinking")
_MAX_MESSAGES = 10_000


def chat(
    value: object, tools: object = None, first_trained: int = 0, system: str = ""
) -> Chat | Bad:
    """A conversation → Chat with loss on every answer from message `first_trained` on.

    An answer needs something to answer: an assistant message before any user or tool message has no
    loss, nor has one with `weight: 0` (OpenAI). What follows the last answer is cut off.
    """
    found = messages(value)
    if isinstance(found, Bad):
        return found
    if system and found[0]["role"] != "system":
        found, first_trained = [{"role": "system", "content": system}, *found], first_trained + 1
    offered = tools_of(tools)
    if isinstance(offered, Bad):
        return offered
    trained = tuple(i for i in _answers(found) if i >= first_trained)
    if not trained:
        return Bad("no answer to learn from", "messages")
    kept = tuple({k: v for k, v in m.items() if k != "weight"} for m in found[: trained[-1] + 1])
    return Chat(kept, trained, tuple(offered))


def messages(value: object) -> list[dict[str, Any]] | Bad:
    """A list of messages, or the JSON text of one → cleaned messages, or why not."""
    if isinstance(value, str):
        value = parsed(value)
    if isinstance(value, Mapping):
        value = value.get("messages", value.get("conversations", value))
    if value is None:
        return Bad("is null, not a list of messages", "messages")
    if not isinstance(value, (list, tuple)):
        return Bad(f"is {kind_of(value)}, not a list of messages", "messages")
    if not 0 < len(value) <= _MAX_MESSAGES:
        return Bad("has no messages" if not value else f"has over {_MAX_MESSAGES}", "messages")
    cleaned: list[dict[str, Any]] = []
    for index, item in enumerate(value):
        one = _message(item)
        if isinstance(one, Bad):
            return Bad(one.reason, f"messages[{index}]{one.where}")
        cleaned.append(one)
    return cleaned


def _message(item: object) -> dict[str, Any] | Bad:
    if not isinstance(item, Mapping):
        return Bad(f"is {kind_of(item)}, not a message")
    raw_role = item.get("role", item.get("from"))
    role = _ROLES.get(raw_role.strip().lower()) if isinstance(raw_role, str) else None
    if role is None:
        return Bad("has no role" if raw_role is None else "has a role that is not known", ".role")
    content = item.get("content") if item.get("content") is not None else item.get("value")
    if role == "function_call":
        return function_call(content)
    calls = tool_calls(item.get("tool_calls"))
    if isinstance(calls, Bad):
        return calls
    text = content_of("" if content is None and calls else content)
    if isinstance(text, Bad):
        return Bad(text.reason, ".content")
    if role == "assistant" and not text.strip() and not calls:
        return Bad("the answer is empty", ".content")
    return _extras(item, {"role": role, "content": text} | ({"tool_calls": calls} if calls else {}))


def _extras(item: Mapping[str, Any], message: dict[str, Any]) -> dict[str, Any] | Bad:
    for key in _KEPT:
        if item.get(key) is not None:
            extra = text_of(item[key])
            if isinstance(extra, Bad):
                return Bad(extra.reason, f".{key}")
            message[key] = extra
    if item.get("weight") == 0:
        message["weight"] = 0
    return message


def _answers(found: Sequence[Mapping[str, Any]]) -> list[int]:
    asked, answers = False, []
    for index, message in enumerate(found):
        asked = asked or message["role"] in ("user", "tool")
        if asked and message["role"] == "assistant" and "weight" not in message:
            answers.append(index)
    return answers
