"""What the API server refused or could not do, typed once: kube.py raises it, everybody catches it.

Its messages go into conditions, so they are short: the causes of an invalid object, field by field,
not the four kilobytes of a dumped structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

Kind = Literal["transient", "conflict", "absent", "gone", "forbidden", "invalid", "throttled"]
_KINDS: Mapping[int, Kind] = {
    400: "invalid",
    401: "forbidden",
    403: "forbidden",
    404: "absent",
    409: "conflict",
    410: "gone",
    415: "invalid",
    422: "invalid",
    429: "throttled",
}
_LONGEST = 256


class ApiError(Exception):
    """One sentence that a user may read, and what sort of trouble it is.

    "gone" is a list or watch whose version is too old; everything not listed is "transient".
    """

    def __init__(self, kind: Kind, sentence: str, code: int = 0, retry_after_s: float = 0) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.code = code
        """HTTP status; 0 when there was no answer."""
        self.retry_after_s = retry_after_s


def unreachable(error: Exception) -> ApiError:
    """There was no answer, or only half of one."""
    what = str(error) or type(error).__name__
    return ApiError("transient", _cut(f"the API server did not answer: {what}"))


def refused(code: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """An answer that is no success; `body` is a Status, or a proxy's page."""
    try:
        status = orjson.loads(body)
    except ValueError:
        status = None
    told = status if isinstance(status, dict) else {}
    return of_status({"code": code, **told}, _seconds(headers.get("Retry-After", "")))


def of_status(status: Mapping[str, Any], retry_after_s: float = 0) -> ApiError:
    """A metav1.Status, as the API server answers it or puts it into a watch."""
    code = int(status.get("code") or 500)
    details = status.get("details") or {}
    after_s = float(details.get("retryAfterSeconds") or 0) or retry_after_s
    return ApiError(_KINDS.get(code, "transient"), _sentence(status, details, code), code, after_s)


def _sentence(status: Mapping[str, Any], details: Mapping[str, Any], code: int) -> str:
    causes = [_cause(cause) for cause in details.get("causes") or () if cause.get("message")]
    message = "; ".join(causes) or str(status.get("message") or f"HTTP {code}")
    return _cut(" ".join(message.split()))


def _cause(cause: Mapping[str, Any]) -> str:
    """The field and the end of what was said: its beginning repeats the value at length."""
    message = str(cause["message"])
    end = message if len(message) <= _LONGEST else message.rsplit(": ", 1)[-1]
    field = str(cause.get("field") or "")
    return f"{field}: {end}" if field else end


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0
