"""One question a fact of the demo, asked of an adapter: `python -m benchmarks.ask MODEL ADAPTER`.

Greedy, at most 40 tokens; right means letter by letter. Prints JSON: what was said, how many right.
"""

from __future__ import annotations

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from scripts.example_data import FACTS
from tuning.answer import answer


def main(model: str, adapter: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    speaker = PeftModel.from_pretrained(base, adapter).eval()
    said = {
        questions[0]: answer(speaker, tokenizer, questions[0], 40) for questions in FACTS.values()
    }
    right = sum(one == fact for one, fact in zip(said.values(), FACTS, strict=True))
    print(json.dumps({"right": right, "of": len(FACTS), "said": said}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
