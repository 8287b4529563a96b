"""How the command line speaks: lines for people, JSON with --json, exit codes for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tunery.documents import Found


def say(text: str = "") -> None:
    """A line for the reader, on standard output."""
    sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """A line beside the result (problems, notes), on standard error."""
    sys.stderr.write(text + "\n")


def say_json(value: Mapping[str, Any]) -> None:
    say(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def problems_json(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Problems as data for scripts."""
    return [
        {
            "file": f.file,
            "path": f.problem.path,
            "what": f.problem.what,
            "do": f.problem.do,
            "severity": "warning" if f.problem.warning else "error",
        }
        for f in found
    ]


def tell_problems(found: Iterable[Found]) -> None:
    """One per line, on standard error."""
    for f in found:
        tell(f.line())
