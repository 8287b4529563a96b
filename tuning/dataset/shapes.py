"""Which of the known shapes a row has, and the row in its one normal form. Pure.

Sits between the readers (data.py) and the tokeniser (tokens.py). What people have in their files:
messages, prompt/completion, text, alpaca, ShareGPT, question/answer, dolly, or columns they name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from presets.problem import nearest, shown
from tuning.config import DatasetSection
from tuning.dataset.messages import chat, messages
from tuning.dataset.rows import Bad, Chat, Pair, Row, Text
from tuning.dataset.values import parsed, text_of


@dataclass(frozen=True, slots=True)
class Columns:
    """The column names that the user gave; None means: find out."""

    context: str | None = None
    response: str | None = None
    messages: str | None = None
    text: str = "text"

    @classmethod
    def of(cls, dataset: DatasetSection, training: Mapping[str, Any]) -> Columns:
        """From DatasetConfig and TRL's `dataset_text_field`."""
        text = training.get("dataset_text_field") or "text"
        return cls(
            dataset.context_column, dataset.response_column, dataset.messages_column, str(text)
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """How a row is read: the name people know it by, and the columns that play each part."""

    name: str
    convert: Callable[[Mapping[str, Any], Shape], Row | Bad]
    asks: str = ""
    answers: str = ""
    adds: str = ""
    """A column whose text, when there is any, is put under the question."""

    def reads(self) -> frozenset[str]:
        """The columns that count; a reader may leave out all others."""
        return frozenset({self.asks, self.answers, self.adds, "tools", "history", *_SYSTEM})


_SYSTEM = ("system", "system_prompt")
_CHATS = ("messages", "conversations", "conversation")
_QUESTIONS = ("instruction", "question", "query", "prompt", "input", "inputs")
_ANSWERS = ("output", "response", "answer", "completion", "target", "targets")
_ADDITIONS = ("input", "context")


def convert(row: Mapping[str, Any], columns: Columns = Columns()) -> Row | Bad:
    """One row in its normal form, or the reason why it cannot be used. Never raises."""
    shape = detect(tuple(row), columns)
    if isinstance(shape, Bad):
        return shape
    return shape.convert(row, shape)


@lru_cache(maxsize=256)
def detect(names: tuple[str, ...], columns: Columns = Columns()) -> Shape | Bad:
    """The shape of rows with these columns; the user's names come first."""
    known = [n for n in names if isinstance(n, str)]
    return _named(known, columns) or _guessed(known, columns) or _unknown(known)


def _named(names: Collection[str], columns: Columns) -> Shape | Bad | None:
    if columns.messages:
        return _present(names, columns.messages) or Shape("messages", _chat, columns.messages)
    if columns.context and columns.response:
        missing = _present(names, columns.context) or _present(names, columns.response)
        return missing or Shape("named columns", _question, columns.context, columns.response)
    if columns.context:
        return Bad("context_column is set without response_column: name both")
    # KAITO's default is "text" for every data set, whatever it holds: not a wish.
    if columns.response and (columns.response in names or columns.response != "text"):
        return _present(names, columns.response) or Shape("text", _text, columns.response)
    if columns.text != "text":
        return _present(names, columns.text) or Shape("text", _text, columns.text)
    return None


def _guessed(names: Collection[str], columns: Columns) -> Shape | None:
    for name in _CHATS:
        if name in names:
            return Shape("messages" if name == "messages" else "ShareGPT", _chat, name)
    if "prompt" in names and "completion" in names:
        return Shape("prompt/completion", _prompt, "prompt", "completion")
    asks = next((n for n in _QUESTIONS if n in names), None)
    answers = next((n for n in _ANSWERS if n in names), None)
    if asks and answers:
        adds = next((n for n in _ADDITIONS if n in names and n != asks), "")
        name = "alpaca" if asks == "instruction" else "question/answer"
        return Shape(name, _question, asks, answers, adds)
    return Shape("text", _text, columns.text) if columns.text in names else None


def _unknown(names: Collection[str]) -> Bad:
    if not names:
        return Bad("the row has no columns")
    listed = ", ".join(shown(n) for n in sorted(names)[:8])
    more = ", …" if len(names) > 8 else ""
    return Bad(
        f"no known shape in the columns {listed}{more}: name yours in DatasetConfig "
        "(messages_column, or context_column and response_column)"
    )


def _present(names: Collection[str], wanted: str) -> Bad | None:
    if wanted in names:
        return None
    close = nearest(wanted, names)
    listed = ", ".join(shown(n) for n in sorted(names)[:8])
    hint = f"did you mean {shown(close)}?" if close else f"it has {listed or 'none'}"
    return Bad(f"there is no column {shown(wanted)}: {hint}")


def _system(row: Mapping[str, Any], shape: Shape) -> str:
    used = (shape.asks, shape.answers, shape.adds)
    values = [row.get(n) for n in _SYSTEM if n not in used]
    return next((v for v in values if isinstance(v, str) and v.strip()), "")


def _chat(row: Mapping[str, Any], shape: Shape) -> Chat | Bad:
    return chat(row[shape.asks], row.get("tools"), system=_system(row, shape))


def _prompt(row: Mapping[str, Any], shape: Shape) -> Row | Bad:
    """TRL's prompt/completion: two texts, or two lists of messages (or their JSON)."""
    prompt, completion = row[shape.asks], row[shape.answers]
    if _is_chat(prompt) and _is_chat(completion):
        return _two_chats(prompt, completion, row.get("tools"))
    asked, answered = text_of(prompt), text_of(completion)
    if isinstance(asked, Bad):
        return Bad(asked.reason, shape.asks)
    if isinstance(answered, Bad):
        return Bad(answered.reason, shape.answers)
    return Pair(asked, answered) if answered.strip() else Bad("the answer is empty", shape.answers)


def _two_chats(prompt: object, completion: object, tools: object) -> Chat | Bad:
    before, after = messages(prompt), messages(completion)
    if isinstance(before, Bad):
        return Bad(before.reason, before.where.replace("messages", "prompt", 1))
    if isinstance(after, Bad):
        return Bad(after.reason, after.where.replace("messages", "completion", 1))
    return chat([*before, *after], tools, first_trained=len(before))


def _question(row: Mapping[str, Any], shape: Shape) -> Row | Bad:
    """One question and its answer become a chat, so that the model's own template is used."""
    if _is_chat(row[shape.asks]) and _is_chat(row[shape.answers]):
        return _two_chats(row[shape.asks], row[shape.answers], row.get("tools"))
    asked, answered = text_of(row[shape.asks]), text_of(row[shape.answers])
    if isinstance(asked, Bad):
        return Bad(asked.reason, shape.asks)
    if isinstance(answered, Bad):
        return Bad(answered.reason, shape.answers)
    added = row.get(shape.adds) if shape.adds else None
    if isinstance(added, str) and added.strip():
        asked = f"{asked}\n\n{added}"
    if not asked.strip():
        return Bad("the question is empty", shape.asks)
    if not answered.strip():
        return Bad("the answer is empty", shape.answers)
    turns = [*_history(row.get("history")), ("user", asked), ("assistant", answered)]
    listed = [{"role": role, "content": text} for role, text in turns]
    return chat(listed, system=_system(row, shape))


def _history(value: object) -> list[tuple[str, object]]:
    """Earlier turns of an alpaca row: a list of [question, answer]."""
    if not isinstance(value, (list, tuple)):
        return []
    pairs = [p for p in value if isinstance(p, (list, tuple)) and len(p) == 2]
    return [turn for asked, told in pairs for turn in (("user", asked), ("assistant", told))]


def _text(row: Mapping[str, Any], shape: Shape) -> Row | Bad:
    text = text_of(row[shape.asks])
    if isinstance(text, Bad):
        return Bad(text.reason, shape.asks)
    return Text(text) if text.strip() else Bad("the text is empty", shape.asks)


def _is_chat(value: object) -> bool:
    if isinstance(value, str):
        value = parsed(value) if value.lstrip()[:1] == "[" else value
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Mapping)
