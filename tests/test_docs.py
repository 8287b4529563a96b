"""What docs/failures.md quotes is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tuning.failure import Kind

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "failures.md").read_text()
SOURCE = "\n".join(
    path.read_text() for package in ("jobs", "tuning") for path in (ROOT / package).rglob("*.py")
)
QUOTED = re.findall(r"^\| `([^`]+)`", TEXT, re.MULTILINE)


def test_there_are_sentences() -> None:
    assert len(QUOTED) > 12


@pytest.mark.parametrize("words", QUOTED)
def test_every_quoted_sentence_is_said(words: str) -> None:
    assert words in SOURCE


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_stands_in_the_table(kind: Kind) -> None:
    assert f"| {kind.exit_code} | {kind.reason} | " in TEXT
