"""Tool calls and tool descriptions of a conversation, in the form that chat templates expect.

Called by messages.py. OpenAI's nested form, the flat `{name, arguments}`, and JSON text of both;
columnar files fill absent keys with nulls, which are taken out again. Pure.
"""

from __future__ import annotations

import json
from typing import Any

from tuning.dataset.rows import Bad
from tuning.dataset.values import kind_of, parsed, plain


def tool_calls(value: object) -> list[Any] | Bad:
    """The calls of one assistant message; an empty list when it makes none."""
    if isinstance(value, str):
        value = parsed(value)
    if value is None or value == "":
        return []
    if not isinstance(value, (list, tuple)):
        return Bad(f"is {kind_of(value)}, not a list", ".tool_calls")
    calls: list[Any] = []
    for index, item in enumerate(value):
        call = _tool_call(item)
        if isinstance(call, Bad):
            return Bad(call.reason, f".tool_calls[{index}]")
        calls.append(call)
    return calls


def _tool_call(item: object) -> dict[str, Any] | Bad:
    """Templates write `arguments` as JSON themselves: the JSON text of OpenAI becomes an object."""
    try:
        call = plain(parsed(item) if isinstance(item, str) else item)
    except ValueError as error:
        return Bad(str(error))
    if not isinstance(call, dict):
        return Bad("is not an object")
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return Bad("names no function")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = plain(json.loads(arguments or "{}"))
        except (ValueError, RecursionError):
            return Bad("has arguments that are not JSON")
    extra = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    wanted = {"name": function["name"], "arguments": arguments}
    return {**extra, "type": "function", "function": wanted}


def function_call(content: object) -> dict[str, Any] | Bad:
    """A ShareGPT message with role `function_call`: the assistant calls one function."""
    call = _tool_call(parsed(content) if isinstance(content, str) else content)
    if isinstance(call, Bad):
        return Bad(call.reason, ".value")
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def tools_of(value: object) -> list[Any] | Bad:
    """The descriptions of the tools that the conversation may use."""
    if isinstance(value, str):
        value = parsed(value)
    if value is None or value == "":
        return []
    try:
        tools = plain(value)
    except ValueError as error:
        return Bad(str(error), "tools")
    if not isinstance(tools, list):
        return Bad(f"is {kind_of(value)}, not a list", "tools")
    tools = [parsed(t) if isinstance(t, str) else t for t in tools]
    if any(not isinstance(t, dict) for t in tools):
        return Bad("holds something that is not an object", "tools")
    try:
        return [plain(t) for t in tools]
    except ValueError as error:
        return Bad(str(error), "tools")
