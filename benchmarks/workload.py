"""The training benchmark's base model and rows: made on the spot, the same ones every time.

A Llama of 30 million parameters in bfloat16 and chats whose lengths follow the log-normal
distribution of real instruction data (median 108 tokens, mean 161, 90 % below 338). The lengths are
its quantiles, shuffled: few rows then have the shape of many. One word is one token.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from statistics import NormalDist
from typing import Any

Chat = list[dict[str, str]]

_VOCAB = 8192
_MEDIAN_TOKENS, _SIGMA = 108, 0.893
_SPECIAL = ("<|end|>", "<|pad|>", "<|user|>", "<|assistant|>")
_MARKS = 4
"""Tokens of a chat that are not words: two roles, two ends."""
_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


def lengths(rows: int) -> list[int]:
    """Tokens per chat, in the order of the rows."""
    normal = NormalDist(math.log(_MEDIAN_TOKENS), _SIGMA)
    quantiles = [normal.inv_cdf((row + 0.5) / rows) for row in range(rows)]
    found = [max(_MARKS + 4, round(math.exp(value))) for value in quantiles]
    random.Random(0).shuffle(found)
    return found


def chats(rows: int) -> list[Chat]:
    """A third of each chat is the question, the rest the answer; the words mean nothing."""
    draw = random.Random(1)
    return [_chat(length - _MARKS, draw) for length in lengths(rows)]


def _chat(words: int, draw: random.Random) -> Chat:
    text = [f"w{draw.randrange(_VOCAB - len(_SPECIAL))}" for _ in range(words)]
    cut = max(1, words // 3)
    return [
        {"role": "user", "content": " ".join(text[:cut])},
        {"role": "assistant", "content": " ".join(text[cut:])},
    ]


def build_model(folder: Path) -> Path:
    """Write configuration, random weights and tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCAB,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = (*_SPECIAL, *(f"w{n}" for n in range(_VOCAB - len(_SPECIAL))))
    raw = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<|pad|>")
    )
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
