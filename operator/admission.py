"""One AdmissionReview → its answer: what a user may write, told before anything costs money.

Between webhook.py, which serves it to the API server, and jobs/validate.py, which knows the rules.
Only the ConfigMap that the Workspace names is looked up, and freshly: a file that holds both is
applied within milliseconds, faster than any watch.

Not through kopf's `on.validate`: it hides which version a request was made in, remembers every
object that was ever updated, answers with the text of any exception, and takes at most 1 MiB.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from apierror import ApiError
from jobs.context import Context
from jobs.decision import Object, Ref
from jobs.names import label_problem, subdomain_problem
from jobs.rules.update import changed
from jobs.validate import validate_create, validate_update
from jobs.workspace import Workspace, parse
from presets.problem import Problem, errors

log = logging.getLogger("tunery.admission")
ContextOf = Callable[[Workspace], Awaitable[Context]]
Read = Callable[[Ref], Awaitable[Object]]
ConfigMaps = Mapping[tuple[str, str], Mapping[str, str]]
_LOOK_UP_S = 2.0
"""The API server waits 5 s for the whole answer."""
_MOST_LINES = 100


class NotAReview(Exception):
    """Whoever asked is no API server."""


def request_of(body: object) -> Mapping[str, Any]:
    """The request within an AdmissionReview. Raises NotAReview."""
    request = body.get("request") if isinstance(body, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str):
        raise NotAReview
    return request


async def review(request: Mapping[str, Any], context_of: ContextOf) -> Object:
    """The answer to a request. Whatever goes wrong within is refused in our own words."""
    uid: str = request["uid"]
    try:
        return answer(uid, await _problems(request, context_of))
    except Exception:  # the outermost boundary: the API server would show its text to the user
        log.exception("uid=%s error=bug", uid)
        return _answered(uid, _broken(uid))


async def _problems(request: Mapping[str, Any], context_of: ContextOf) -> tuple[Problem, ...]:
    """In a thread: the largest object that the API server takes is a second's work, and the loop
    has others to serve."""
    if request.get("operation") not in ("CREATE", "UPDATE") or request.get("subResource"):
        return ()
    old, new, problems = await asyncio.to_thread(_read, request)
    if new is None:
        return problems
    context = await context_of(new)
    return tuple(dict.fromkeys((*problems, *await asyncio.to_thread(_judged, old, new, context))))


def _read(
    request: Mapping[str, Any],
) -> tuple[Workspace | None, Workspace | None, tuple[Problem, ...]]:
    """What it was, what it is to be (None: nothing to judge), and what is wrong with its shape."""
    new, problems = parse(request.get("object"))
    old = _before(request)
    if old and new and (_is_going(request["object"]) or not changed(old, new)):
        return None, None, ()  # finalizers and annotations stay writable, whatever rules say by now
    return old, new, problems


def _judged(old: Workspace | None, new: Workspace, context: Context) -> tuple[Problem, ...]:
    return validate_update(old, new, context) if old else validate_create(new, context)


def _before(request: Mapping[str, Any]) -> Workspace | None:
    """None: it is new, or nobody can read what it was."""
    return parse(request.get("oldObject"))[0] if request["operation"] == "UPDATE" else None


def _is_going(body: Mapping[str, Any]) -> bool:
    return bool((body.get("metadata") or {}).get("deletionTimestamp"))


def answer(uid: str, problems: Iterable[Problem]) -> Object:
    """Refused when one of them is an error; warnings are told either way."""
    problems = tuple(problems)
    wrong = errors(problems)
    warnings = [p.line() for p in problems if p.warning][:_MOST_LINES]
    return _answered(uid, _refused(wrong) if wrong else None, warnings)


def line(problem: Problem) -> str:
    """KAITO's sentence, which scripts may know, then what to do."""
    do = Problem("", problem.do).line()
    return f"{problem.kaito()}; {do}" if problem.do else problem.kaito()


def _refused(wrong: tuple[Problem, ...]) -> Object:
    """A metav1.Status. Its reason is the one that KAITO's webhook gives."""
    lines = [line(problem) for problem in wrong[:_MOST_LINES]]
    if len(wrong) > _MOST_LINES:
        lines.append(f"and {len(wrong) - _MOST_LINES} more")
    causes = [{"field": p.path, "message": p.line()} for p in wrong[:_MOST_LINES]]
    return {
        "code": 400,
        "reason": "BadRequest",
        "message": "\n".join(lines),
        "details": {"group": "kaito.sh", "kind": "Workspace", "causes": causes},
    }


def _broken(uid: str) -> Object:
    return {
        "code": 500,
        "reason": "InternalError",
        "message": (
            "Tunery could not check this Workspace, by an error of its own; try again, and if it "
            f"stays, look for uid={uid} in the operator's log"
        ),
    }


def _answered(uid: str, status: Object | None, warnings: list[str] | None = None) -> Object:
    response: dict[str, Any] = {"uid": uid, "allowed": status is None}
    if status is not None:
        response["status"] = status
    if warnings:
        response["warnings"] = warnings
    kind = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return {**kind, "response": response}


def looking_up(base: Context, known: Callable[[], ConfigMaps], read: Read) -> ContextOf:
    """Contexts that hold the named ConfigMap as it is now, beside those `known` for their names.

    `known` and the context's `config_maps` are {(namespace, name): data}.
    """

    async def context_of(workspace: Workspace) -> Context:
        maps = dict(known())
        name = _config_name(workspace)
        if name is not None:
            key = (workspace.namespace, name)
            try:
                async with asyncio.timeout(_LOOK_UP_S):
                    maps[key] = (await read(Ref("v1", "ConfigMap", *key))).get("data") or {}
            except (ApiError, TimeoutError) as error:
                if not isinstance(error, ApiError) or error.kind != "absent":
                    log.warning("ConfigMap %s/%s not looked up: %s", *key, error)
                    return replace(base, config_maps=maps if key in maps else None)
                maps.pop(key, None)
        return replace(base, config_maps=maps)

    return context_of


def _config_name(workspace: Workspace) -> str | None:
    """What may stand in a URL; other names are refused by the rules."""
    part = workspace.tuning or workspace.inference
    name = part.config if part else None
    if name is None or subdomain_problem(name) or label_problem(workspace.namespace):
        return None
    return name
