"""The tokenizer of the base model, with the chat template that the run uses.

Used by `prepare` (to count and check) and by `train`: both must see the same tokens. Runs no code
from the model's folder. transformers imports torch; nothing here does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from presets.problem import printable
from tuning.failure import Failure, Kind

PLAIN_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}{{ message.content + '\\n\\n' }}"
    "{%- elif message.role == 'user' -%}{{ 'User: ' + message.content + '\\n' }}"
    "{%- elif message.role == 'assistant' and not message.tool_calls -%}"
    "{{ 'Assistant: ' + message.content + eos_token + '\\n' }}"
    "{%- else -%}{{ raise_exception('the model has no chat template that knows tools') }}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"
)
"""For base models, which have none: plain words, so that no token is added to the vocabulary."""

_LONGEST_PATH = 1024
# A tag that only transformers knows; what it marks does not matter here.
_GENERATION_TAG = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")


def load_tokenizer(folder: Path, chat_template: str | None = None) -> Any:
    """The fast tokenizer in `folder`, able to render chats and to end an answer.

    `chat_template` (ModelConfig.chat_template) is Jinja text or a file with it. Without one and
    without one in the folder, PLAIN_TEMPLATE is used. A missing pad token becomes the end token:
    safe, because our loss masks are made before padding. Raises Failure (BAD_CONFIG).
    """
    from transformers import AutoTokenizer  # seconds: only where tokens are needed

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(folder, f"no tokenizer that can be read ({_short(error)})") from error
    if tokenizer.eos_token_id is None:
        raise _unusable(folder, "a tokenizer without an end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if chat_template:
        tokenizer.chat_template = template_text(chat_template)
    elif not tokenizer.chat_template:
        tokenizer.chat_template = _plain(tokenizer)
    return tokenizer


def template_text(given: str) -> str:
    """The Jinja text that ModelConfig.chat_template means: itself, or the file it names.

    Raises Failure (BAD_CONFIG) when the file is missing or the text is no template.
    """
    text = given
    if "{" not in given:
        try:
            text = Path(given[:_LONGEST_PATH]).read_text("utf-8")
        except (OSError, ValueError) as error:
            what = f"ModelConfig.chat_template: {printable(given[:80])} is neither a Jinja template"
            raise Failure(Kind.BAD_CONFIG, f"{what} nor a file that can be read") from error
    problem = template_problem(text)
    if problem:
        raise Failure(Kind.BAD_CONFIG, f"ModelConfig.chat_template: {problem}")
    return text


def template_problem(text: str) -> str | None:
    """Why the text is no Jinja template, with the line; None when it is one."""
    import jinja2

    extensions = ["jinja2.ext.loopcontrols", "jinja2.ext.do"]
    environment = jinja2.Environment(extensions=extensions)  # noqa: S701 parsed, never rendered
    try:
        environment.parse(_GENERATION_TAG.sub("", text))
    except jinja2.TemplateSyntaxError as error:
        return f"line {error.lineno}: {printable(str(error.message))[:200]}"
    return None


def own_template(tokenizer: Any, given: str | None) -> str | None:
    """The template that must travel with the adapter; None when the base has it itself."""
    template: str = tokenizer.chat_template
    return template if given or is_plain(tokenizer) else None


def is_plain(tokenizer: Any) -> bool:
    """Whether the model has no chat template of its own and ours stands in."""
    return str(tokenizer.chat_template).endswith(PLAIN_TEMPLATE)


def _plain(tokenizer: Any) -> str:
    """PLAIN_TEMPLATE, beginning with a BOS where the tokenizer itself would put one."""
    ids = tokenizer("a")["input_ids"]
    starts = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    return "{{- bos_token -}}" + PLAIN_TEMPLATE if starts else PLAIN_TEMPLATE


def _unusable(folder: Path, what: str) -> Failure:
    sentence = f"the model folder {folder} has {what}; use a whole Hugging Face model folder"
    return Failure(Kind.BAD_CONFIG, printable(sentence))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
