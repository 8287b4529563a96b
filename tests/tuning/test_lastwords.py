from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tuning.lastwords import LIMIT_BYTES, LastWords, write


@given(st.text(max_size=20_000))
def test_words_are_whole_json_of_at_most_4_kib(sentence: str) -> None:
    raw = LastWords(phase="train", state="failed", kind="BadData", sentence=sentence).encoded()
    assert len(raw) <= LIMIT_BYTES
    assert json.loads(raw)["kind"] == "BadData"


def test_long_escapes_still_fit() -> None:
    raw = LastWords(phase="push", sentence="\x01" * 9000).encoded()
    assert len(raw) <= LIMIT_BYTES
    assert json.loads(raw)["sentence"].endswith("…")


def test_each_phase_overwrites_the_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write(log, LastWords(phase="prepare", sentence="x" * 100))
    write(log, LastWords(phase="train", step=3, of=10))
    assert json.loads(log.read_bytes()) == {
        "phase": "train",
        "state": "running",
        "step": 3,
        "of": 10,
    }


def test_a_message_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path / "missing" / "log", LastWords(phase="train"))
