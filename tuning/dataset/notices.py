"""What is worth a warning in data that can be trained on. Pure but for the tokenizer it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuning.config import TrainingConfig
from tuning.dataset.tally import Tally
from tuning.dataset.tokenizer import is_plain
from tuning.dataset.tokens import Limits

_MANY_COPIES = 0.01
_MUCH_CUT = 0.01
_ALL_LEARNED = 0.95


def warnings(
    tally: Tally, config: TrainingConfig, tokenizer: Any, leaked: int, held: int
) -> tuple[str, ...]:
    """Sentences; `leaked` of the `held` evaluation rows are trained on too."""
    limits = Limits.of(config.training)
    return (
        *_on_rows(tally, leaked, held),
        *_on_lengths(tally, limits),
        *_on_loss(tally, tokenizer),
    )


def _on_rows(tally: Tally, leaked: int, held: int) -> Iterator[str]:
    copies = tally.duplicates()
    if copies > tally.kept * _MANY_COPIES:
        yield (
            f"{copies:,} of {tally.kept:,} rows are exact copies of others; "
            "they are trained on as often as they stand there"
        )
    if leaked:
        yield (
            f"{leaked:,} of {held:,} evaluation rows are also trained on, "
            "so the evaluation looks better than it is; remove the copies"
        )


def _on_lengths(tally: Tally, limits: Limits) -> Iterator[str]:
    setting = f"TrainingArguments.max_length ({limits.max_length})"
    if tally.too_long:
        yield f"{tally.too_long:,} rows are left out: their prompts alone fill {setting}"
    whole = tally.tokens + tally.truncated_tokens
    if tally.truncated_examples > tally.examples * _MUCH_CUT:
        yield (
            f"{tally.truncated_examples:,} of {tally.examples:,} examples are longer than {setting}"
            f" and lose {tally.truncated_tokens / whole:.1%} of all tokens"
        )


def _on_loss(tally: Tally, tokenizer: Any) -> Iterator[str]:
    chats, pairs, _ = tally.kinds.values()
    if chats == tally.kept and tally.tokens_with_loss > tally.tokens * _ALL_LEARNED:
        yield "nearly all tokens of these chats are learned, the questions too"
    if tally.endless:
        yield (
            "the chat template puts no end token behind the last answer: the tokenizer's own is "
            "added, so that the model learns to stop"
        )
    if chats and is_plain(tokenizer):
        yield (
            "the model has no chat template: a plain one is used (User: …, Assistant: …); "
            "serve the adapter with the same, or set ModelConfig.chat_template"
        )
    elif pairs and not is_plain(tokenizer):
        yield (
            "prompt/completion texts are taken letter by letter, without the model's chat "
            "template; name the columns question and answer to train it to chat"
        )
