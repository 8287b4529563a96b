"""The termination message is whole JSON, whatever there is to say."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serving.lastwords import AdapterWords, ServeWords, write
from tuning.lastwords import LIMIT_BYTES

_TEXT = st.one_of(st.none(), st.text(max_size=60), st.sampled_from(["\0" * 5000, "é" * 5000]))


@given(_TEXT, st.lists(_TEXT, max_size=10))
def test_never_longer_than_kubernetes_keeps(sentence: str | None, about: list[str | None]) -> None:
    names = [f"a{n:062d}" for n in range(len(about))]
    adapters = tuple(
        AdapterWords(
            name=name,
            digest="sha256:" + "0" * 64,
            rank=16,
            sentence=text,
            kind="BadData",
            warning=text,
        )
        for name, text in zip(names, about, strict=True)
    )
    words = ServeWords(
        state="done", sentence=sentence, models=("m", *names), revision="0" * 40, adapters=adapters
    )
    raw = words.encoded()
    assert len(raw) <= LIMIT_BYTES
    read = ServeWords.model_validate_json(raw)
    assert [a.name for a in read.adapters] == names
    for before, after in zip(about, read.adapters, strict=True):
        assert (before is None) == (after.sentence is None)


def test_short_words_are_whole(tmp_path: Path) -> None:
    words = ServeWords(state="done", adapters=(AdapterWords(name="a", sentence="no", warning="w"),))
    write(tmp_path / "log", words)
    assert ServeWords.model_validate_json((tmp_path / "log").read_bytes()) == words


def test_a_message_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path / "no" / "log", ServeWords())
    write(None, ServeWords())
