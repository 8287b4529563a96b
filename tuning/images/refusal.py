"""What a registry's no means: an HTTP answer or a broken connection → one sentence, and its kind.

Error bodies: OCI distribution spec, "Error Codes". What other registries say is in the research
notes (ECR, ACR, GHCR, Harbor, Docker Hub).
"""

from __future__ import annotations

import email.utils
import ssl
import time
from typing import TypeVar

import requests
import urllib3.exceptions

from presets.problem import printable
from tuning.failure import Failure, Kind
from tuning.images.authorization import PUSH, Challenge
from tuning.images.credentials import Login
from tuning.reference import Reference
from tuning.retry import Transient

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_DOUBTS = frozenset({"DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"})
E = TypeVar("E", bound=BaseException)
_LONGEST_TEXT = 200
_LONGEST_BODY = 64 * 1024


def said(answer: requests.Response) -> str:
    """`401 UNAUTHORIZED: authentication required`: the answer in short, printable."""
    text = ": ".join(part for part in _first_error(answer) if part)
    if not text and answer.headers.get("Content-Type", "").startswith("text/plain"):
        text = answer.text[:_LONGEST_TEXT].strip()
    shown = printable(" ".join(text.split()))[:_LONGEST_TEXT]
    return f"{answer.status_code} {shown}".strip()


def doubts_manifest(answer: requests.Response) -> bool:
    """The registry misses what the manifest names, or holds it for broken, right after it took it.

    It is looking while another client writes the same blob, or at a replica that lags:
    docker-registry 2.8 reads a link that another push has just emptied to write it again.
    """
    return answer.status_code in (400, 404) and _first_error(answer)[0] in _DOUBTS


def transient(answer: requests.Response, host: str) -> Transient:
    """The answer of a server that may recover."""
    return Transient(f"{host} answers {said(answer)}", _retry_after_s(answer))


def no_access(
    answer: requests.Response,
    reference: Reference,
    actions: str,
    login: Login | None,
    hosts: tuple[str, ...],
    challenge: Challenge | None,
) -> Failure:
    """A 401 or 403 that stands after the login was shown (`login` None: there was none)."""
    verb = "push to" if actions == PUSH else "pull"
    if login is None:
        has = f"have only {', '.join(hosts)}" if hosts else "are empty or not given"
        what = f"{reference.registry} needs a login to {verb} {reference.name}"
        return Failure(Kind.NO_ACCESS, f"{what}; the credentials {has}")
    user = login.user or "the identity token's owner"
    bearer = challenge is not None and challenge.scheme == "bearer"
    if answer.status_code == 403 or bearer:
        what = f"{user} may not {verb} {reference.name} ({said(answer)})"
        return Failure(Kind.NO_ACCESS, f"{what}; ask for the right, or use other credentials")
    what = f"{reference.registry} refused user {user} ({said(answer)})"
    return Failure(Kind.NO_ACCESS, f"{what}; check the password, and the right to {verb} it")


def not_found(answer: requests.Response, reference: Reference, pushing: bool) -> Failure:
    """A 404: no image to pull, or no repository to push to."""
    if pushing:
        what = f"{reference.name} cannot be pushed to ({said(answer)})"
        return Failure(Kind.BAD_CONFIG, f"{what}; create the repository first, or check its name")
    what = f"there is no image {reference}"
    part = "digest" if reference.digest else "tag"
    return Failure(Kind.BAD_CONFIG, f"{what}; check the name and the {part}")


def unexpected(answer: requests.Response, reference: Reference, doing: str) -> Failure:
    """Any other answer."""
    if answer.status_code == 400 and b"HTTP request to an HTTPS server" in answer.content[:1000]:
        what = f"{reference.registry} speaks https, not plain http"
        return Failure(Kind.BAD_CONFIG, f"{what}; do not mark it as insecure")
    if answer.status_code == 413:
        what = f"a proxy before {reference.registry} refuses bodies this large ({doing}: 413)"
        return Failure(Kind.BAD_CONFIG, f"{what}; raise its limit")
    what = f"{reference.registry} refused {doing} ({said(answer)})"
    return Failure(Kind.BAD_CONFIG, f"{what}; ask whoever runs the registry")


def broken(error: Exception, host: str) -> Transient | Failure:
    """A connection that failed: final when the two sides can never agree, else transient."""
    ssl_error = _cause(error, ssl.SSLError)
    if isinstance(ssl_error, ssl.SSLCertVerificationError):
        what = f"the certificate of {host} is not trusted ({ssl_error.verify_message})"
        return Failure(Kind.BAD_CONFIG, f"{what}; name the CA file that signed it")
    if ssl_error is not None and ssl_error.reason in (
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
    ):
        what = f"{host} does not speak https"
        return Failure(Kind.BAD_CONFIG, f"{what}; if plain http is meant, mark it as insecure")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        what = f"{host} names an address that cannot be used"
        return Failure(Kind.UNAVAILABLE, f"{what}; ask whoever runs the registry")
    return Transient(f"{host} cannot be reached ({_reason(error)})")


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if _cause(error, urllib3.exceptions.NameResolutionError) is not None:
        return "its name is not known to DNS"
    for found in _causes(error):
        # requests' own errors are OSErrors too, with nothing in them.
        if isinstance(found, OSError) and found.errno and isinstance(found.strerror, str):
            return found.strerror.lower()
    return "the connection broke"


def _cause(error: Exception, kind: type[E]) -> E | None:
    return next((found for found in _causes(error) if isinstance(found, kind)), None)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that it wraps: requests and urllib3 put causes in different places."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
    return found


def _first_error(answer: requests.Response) -> tuple[str, str]:
    """Code and message, empty where the body has none."""
    try:
        body = answer.json() if len(answer.content) <= _LONGEST_BODY else {}
        first = body["errors"][0]
        return str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""


def _retry_after_s(answer: requests.Response) -> float | None:
    """Seconds or a date (RFC 9110, 10.2.3)."""
    text = answer.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text[:9])
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
