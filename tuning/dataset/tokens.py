"""Row → token ids and loss mask: THE tokenisation, for the data report and for training alike.

Loss lies on every answer and its end token, never on a prompt. The answer of a chat begins where
the prompt, rendered with its generation prompt, ends: so any chat template works, marked or not.
TRL (sft_trainer.py, tokenize_fn) draws the line at the same place for prompt and completion.

A conversation with several answers is one example when the template only ever appends. Where it
does not (reasoning that is dropped from earlier turns, tools shown with the last question), every
answer becomes an example of its own, exactly as the model will be asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from presets.problem import printable
from tuning.dataset.rows import Bad, Chat, Pair, Row, Text, from_json
from tuning.failure import Failure, Kind

DEFAULT_MAX_LENGTH = 1024
"""trl.SFTConfig's own."""
TOO_LONG = "no answer is left within max_length"

# Some templates print today's date (Llama 3.2, gpt-oss). A run must give the same tokens on every
# day, or it could not resume: the day that Llama 3's template falls back to.
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{- format | replace('%d', '26') | replace('%b', 'Jul')"
    " | replace('%B', 'July') | replace('%Y', '2024') | replace('%m', '07')"
    " | replace('%A', 'Friday') | replace('%H', '00') | replace('%M', '00')"
    " | replace('%S', '00') -}}{%- endmacro -%}"
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example: equally long lists; `loss_mask` is 1 where a token is learned, else 0."""

    input_ids: list[int]
    loss_mask: list[int]
    truncated_tokens: int = 0
    """Cut off to fit max_length."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the training options say about tokens."""

    max_length: int | None = DEFAULT_MAX_LENGTH
    """None: nothing is cut."""
    loss_on_all: bool = False
    keep_end: bool = False

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> Limits:
        """From the options of trl.SFTConfig, its defaults included."""
        return cls(
            training.get("max_length", DEFAULT_MAX_LENGTH),
            training.get("completion_only_loss") is False,
            training.get("truncation_mode") == "keep_end",
        )


class _Refused(Exception):
    """The chat template does not take this conversation."""


def encoded_rows(path: Path, tokenizer: Any, training: Mapping[str, Any]) -> Iterator[Encoded]:
    """The examples of a rows file, in its order. Raises Failure (BAD_DATA) as `encode_all`."""
    limits = Limits.of(training)
    with path.open("rb") as file:
        for line in file:
            yield from _or_failure(encode_within(from_json(line), tokenizer, limits))


def encode_all(row: Row, tokenizer: Any, max_length: int | None) -> list[Encoded]:
    """One row → its examples. Raises Failure (BAD_DATA) for a row that `prepare` would drop."""
    return _or_failure(encode_within(row, tokenizer, Limits(max_length)))


def encode_within(row: Row, tokenizer: Any, limits: Limits) -> list[Encoded] | Bad:
    """One row → its examples that have something to learn (one or more), or why it has none."""
    try:
        whole = list(_examples(row, tokenizer))
    except _Refused as refusal:
        return Bad(f"the chat template refuses it: {refusal}")
    cut = [_cut(ids, mask, limits) for ids, mask in whole]
    kept = [e for e in cut if any(e.loss_mask)]
    if kept:
        return kept
    longest = any(e.truncated_tokens for e in cut)
    return Bad(f"{TOO_LONG} {limits.max_length}" if longest else "no token to learn from")


def render(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    tools: Sequence[Mapping[str, Any]] = (),
    ask: bool = False,
) -> str:
    """The text of a conversation; with `ask`, up to where the model's answer begins."""
    import jinja2

    listed = list(tools) or None
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages),
                tools=listed,
                chat_template=_dated(tokenizer.get_chat_template(tools=listed)),
                add_generation_prompt=ask,
                tokenize=False,
            )
        )
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise _Refused(printable(" ".join(str(error).split()))[:200]) from error
    except (ArithmeticError, RecursionError) as error:
        raise _Refused("it cannot be rendered") from error


def _examples(row: Row, tokenizer: Any) -> Iterator[tuple[list[int], list[int]]]:
    if isinstance(row, Chat):
        yield from _chat(row, tokenizer)
    elif isinstance(row, Pair):
        ids = _ended(row.prompt + row.completion, tokenizer)
        start = _common(_plain_ids(row.prompt, tokenizer), ids)
        yield ids, _mask(len(ids), [(start, len(ids))])
    elif isinstance(row, Text):
        ids = _ended(row.text, tokenizer)
        yield ids, [1] * len(ids)


def _chat(row: Chat, tokenizer: Any) -> Iterator[tuple[list[int], list[int]]]:
    whole = render(row.messages, tokenizer, row.tools)
    _require_answers(row, whole)
    ids = _rendered_ids(whole, tokenizer)
    spans = _spans(row, tokenizer, whole, ids)
    if spans is None:
        for index in row.trained:
            yield from _chat(Chat(row.messages[: index + 1], (index,), row.tools), tokenizer)
        return
    mask = _mask(len(ids), spans)
    if not _is_ended(ids, tokenizer):
        ids, mask = [*ids, tokenizer.eos_token_id], [*mask, 1]
    yield ids, mask


def _require_answers(row: Chat, whole: str) -> None:
    """Templates of vision models take lists of parts, and render a text as nothing."""
    for index in row.trained:
        answer = str(row.messages[index]["content"]).rpartition("</think>")[2].strip()
        if answer not in whole:
            raise _Refused("it leaves the answer out")


def template_ends(row: Chat, tokenizer: Any) -> bool:
    """Whether the template puts an end token behind the last answer (else ours does)."""
    return _is_ended(
        _rendered_ids(render(row.messages, tokenizer, row.tools), tokenizer), tokenizer
    )


def _is_ended(ids: Sequence[int], tokenizer: Any) -> bool:
    """Whether a special token is the last one but for white space."""
    special = _special(tokenizer)
    for token in reversed(ids):
        if token in special:
            return True
        if tokenizer.decode([token]).strip():
            return False
    return False


@lru_cache(maxsize=4)
def _special(tokenizer: Any) -> frozenset[int]:
    return frozenset({*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder})


def _spans(row: Chat, tokenizer: Any, whole: str, ids: list[int]) -> list[tuple[int, int]] | None:
    """Where each answer lies in `ids`; None when the template rewrites what came before."""
    last = len(row.messages) - 1
    spans: list[tuple[int, int]] = []
    for index in row.trained:
        asked = render(row.messages[:index], tokenizer, row.tools, ask=True)
        told = whole if index == last else render(row.messages[: index + 1], tokenizer, row.tools)
        single = row.trained == (last,)
        if not single and not (whole.startswith(asked) and _goes_on(told, whole, tokenizer)):
            return None
        start = _common(_rendered_ids(asked, tokenizer), ids)
        end = len(ids) if index == last else _common(_rendered_ids(told, tokenizer), ids)
        spans.append((start, end))
    return spans


def _goes_on(told: str, whole: str, tokenizer: Any) -> bool:
    """Whether `whole` begins with `told`, less an end token that only a last turn has (Phi-3)."""
    if whole.startswith(told):
        return True
    shorter = told.rstrip().removesuffix(tokenizer.eos_token)
    return shorter != told and whole.startswith(shorter)


def _rendered_ids(text: str, tokenizer: Any) -> list[int]:
    """A template writes its own special tokens: none are added."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _plain_ids(text: str, tokenizer: Any) -> list[int]:
    """Text that no template wrote: the tokenizer's BOS once, no end token."""
    ids = list(tokenizer(text, verbose=False)["input_ids"])
    if len(ids) > 1 and ids[0] == ids[1] == tokenizer.bos_token_id:
        ids = ids[1:]
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def _ended(text: str, tokenizer: Any) -> list[int]:
    """The text's tokens and exactly one end token, whoever else would write it."""
    return [*_plain_ids(text, tokenizer), tokenizer.eos_token_id]


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many first tokens are the same."""
    pairs = enumerate(zip(ids, others, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(ids), len(others)))


def _mask(length: int, spans: Sequence[tuple[int, int]]) -> list[int]:
    mask = [0] * length
    for start, end in spans:
        mask[start:end] = [1] * (end - start)
    return mask


def _cut(ids: list[int], mask: list[int], limits: Limits) -> Encoded:
    if limits.loss_on_all:
        mask = [1] * len(ids)
    over = len(ids) - limits.max_length if limits.max_length else 0
    if over <= 0:
        return Encoded(ids, mask)
    kept = slice(over, None) if limits.keep_end else slice(0, limits.max_length)
    return Encoded(ids[kept], mask[kept], over)


def _dated(template: str) -> str:
    return _FIXED_DATE + template if re.search(r"\bstrftime_now\b", template) else template


def _or_failure(found: list[Encoded] | Bad) -> list[Encoded]:
    if isinstance(found, Bad):
        raise Failure(Kind.BAD_DATA, f"a row cannot be tokenised: {found.sentence()}")
    return found
