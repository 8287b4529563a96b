"""Base and adapter answer the same prompt, greedily: for eyes and for tests, never for serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from presets.problem import printable
from tuning.failure import Failure, Kind


def answers(
    base: str, revision: str | None, adapter: Path, prompt: str, max_tokens: int, gpu: bool
) -> tuple[str, str]:
    """(base's answer, adapter's answer). `base` is a folder or a hub id.

    Raises Failure (BAD_CONFIG) when model and adapter do not fit or cannot be read.
    """
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, revision=revision, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            base,
            revision=revision,
            dtype=torch.bfloat16,
            trust_remote_code=False,
            use_safetensors=True,
        )
        tuned = PeftModel.from_pretrained(model.to("cuda" if gpu else "cpu"), str(adapter))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        text = printable(" ".join(str(error).split()))[:200]
        sentence = f"base {base} and adapter {adapter} cannot be loaded together: {text}"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    template = adapter / "chat_template.jinja"
    if template.is_file():
        tokenizer.chat_template = template.read_text()
    with tuned.disable_adapter():
        before = answer(tuned, tokenizer, prompt, max_tokens)
    return before, answer(tuned, tokenizer, prompt, max_tokens)


def answer(model: Any, tokenizer: Any, prompt: str, max_tokens: int) -> str:
    """The most likely answer, as one chat turn (or a plain continuation without a template)."""
    if tokenizer.chat_template:
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
    else:
        inputs = tokenizer(prompt, return_tensors="pt")
    inputs = inputs.to(model.device)
    with torch.inference_mode():
        out = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
    text: str = tokenizer.decode(out[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()
