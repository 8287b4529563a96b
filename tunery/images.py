"""What push, pull, inspect and ask share: names of images as people type them."""

from __future__ import annotations

from tuning.failure import Failure, Kind
from tuning.reference import Reference, parse


def reference_of(text: str) -> Reference:
    """Raises Failure (BAD_CONFIG) with what is wrong with the reference."""
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(Kind.BAD_CONFIG, f"{text}: {error}") from error
