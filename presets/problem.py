"""One thing wrong with what a user wrote.

Leftmost in the import order: whoever reads user input (presets, the training configuration, the
Workspace) returns a tuple of these, and whoever talks to the user (command line, webhook,
condition) renders them. Imports nothing but the standard library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Shape = Literal["missing", "missing sentence", "invalid", "generic"]

_LONGEST_VALUE = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """Where it is, what is wrong (with the value), and what to do about it.

    `shape` says which of KAITO's three messages the webhook prints (its FieldError,
    api/v1beta1/workspace_validation.go); in a "missing sentence" KAITO has the sentence where a
    field's name belongs. A `warning` is told but refuses nothing.
    """

    path: str
    what: str
    do: str = ""
    shape: Shape = "invalid"
    warning: bool = False

    def line(self) -> str:
        """`path.to.field: what is wrong with VALUE; what to do`, on one line."""
        text = f"{self.path}: {self.what}" if self.path else self.what
        return printable(f"{text}; {self.do}" if self.do else text)

    def kaito(self) -> str:
        """The same in KAITO's words, as its webhook and its users' scripts know them."""
        if self.shape == "missing":
            return printable(f"missing field(s): {self.path}")
        if self.shape == "missing sentence":
            return printable(f"missing field(s): {self.path}.{self.what}")
        prefix = "invalid value: " if self.shape == "invalid" else ""
        where = f": {self.path}" if self.path else ""
        return printable(f"{prefix}{self.what}{where}")

    def under(self, prefix: str) -> Problem:
        """The same problem seen from outside: its path behind `prefix`."""
        joined = f"{prefix}.{self.path}" if prefix and self.path else prefix or self.path
        return Problem(joined, self.what, self.do, self.shape, self.warning)


def errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those that refuse the request."""
    return tuple(p for p in problems if not p.warning)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be, else None. Case does not count."""
    if len(name) > _LONGEST_VALUE:
        return None  # nothing known is that long, and difflib would take seconds to say so
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean "x"?`, or an empty string when nothing is near."""
    close = nearest(name, known)
    return f'did you mean "{close}"?' if close else ""


def shown(value: object) -> str:
    """A user's value as it may stand in a message: quoted, printable, short."""
    quoted = f'"{value[: _LONGEST_VALUE + 1]}"' if isinstance(value, str) else repr(value)
    text = printable(quoted)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def printable(text: str) -> str:
    """Control and bidirectional characters escaped, so that no message can forge another line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
