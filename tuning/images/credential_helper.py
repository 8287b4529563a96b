"""Asks a docker-credential-X program for a login, as `docker` itself does.

Only for a person's own configuration at the command line. The server's name goes in by stdin and
the secret comes out by stdout: argv and the environment never have it.
Protocol: github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import json
import re
import subprocess

from tuning.failure import Failure, Kind

_LIMIT_S = 60
_HUB = "https://index.docker.io/v1/"


def ask(name: str, registry: str) -> tuple[str, str] | None:
    """(user, secret) for the registry; None when the helper knows none.

    Raises Failure (NO_ACCESS) when the helper is missing, hangs or answers nonsense.
    """
    program = f"docker-credential-{name}"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise Failure(Kind.NO_ACCESS, "the docker configuration names an impossible helper")
    server = _HUB if registry == "docker.io" else registry
    try:
        done = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, timeout=_LIMIT_S
        )
    except FileNotFoundError as error:
        raise Failure(Kind.NO_ACCESS, f"{program} is not installed; log in without it") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(Kind.NO_ACCESS, f"{program} did not answer; log in again") from error
    return _answer(program, done.returncode, done.stdout)


def _answer(program: str, returncode: int, output: bytes) -> tuple[str, str] | None:
    if returncode:
        return None
    try:
        found = json.loads(output)
        return str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        # Without the cause: it would quote the secret.
        raise Failure(Kind.NO_ACCESS, f"{program} gave no login; log in again") from None
