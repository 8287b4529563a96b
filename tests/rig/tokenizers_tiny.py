"""Tiny tokenizers with the chat templates of the families that people tune, built on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}"
    "{%- set date_string = '26 Jul 2024' %}{%- endif %}{%- endif %}"
    "{{- '<|im_start|>system\n\nToday Date: ' + date_string + '<|im_end|>' }}"
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m['role'] + '\n\n' + m['content'] | trim + '<|im_end|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] | trim + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>model\n'}}{% endif %}"
)
PHI3 = (
    "{% for m in messages %}{{'<|' + m['role'] + '|>\n' + m['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)
THINKING = (
    "{% for m in messages %}{% set c = m['content'] %}"
    "{% if m['role'] == 'assistant' and not loop.last %}{% set c = c.split('</think>')[-1] %}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + c + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPECIAL = ["<|end|>", "<|pad|>", "<|begin|>", "<|im_start|>", "<|im_end|>"]
_TEXTS = [
    "Who are you? I am a tiny model of words.",
    "user assistant system model think Today Date",
]


def build(template: str | None, eos: str = "<|im_end|>", bos: bool = False) -> Any:
    """A byte-level BPE tokenizer; with `bos` it puts <|begin|> before every text by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_TEXTS * 4, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", raw.token_to_id("<|begin|>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=eos, bos_token="<|begin|>" if bos else None
    )
    tokenizer.chat_template = template
    return tokenizer


def saved(folder: Path, template: str | None, eos: str = "<|im_end|>", bos: bool = False) -> Path:
    """The same in a folder, as a model has it."""
    build(template, eos, bos).save_pretrained(folder)
    return folder
