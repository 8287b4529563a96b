"""What a person would write with TRL alone: the other side of two benchmarks, a process each.

`python -m benchmarks.peers JOB.json` trains one LoRA adapter on the `messages` of a parquet file
and prints its CPU-seconds. Nothing of Tunery is used. Written after the libraries' documentation
and after what KAITO's tuning script was seen to set; no code was taken from either.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Job:
    """What to train; everything that is not here is TRL's default."""

    model: str
    data: str
    """A parquet file with a column `messages`."""
    out: str
    method: Literal["lora", "qlora"] = "lora"
    kbit_prepared: bool = False
    """prepare_model_for_kbit_training, as KAITO calls it for qlora."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of SFTConfig, beside its defaults."""

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path


LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"}
"""Tunery's, so that all contestants train the same adapter."""
KAITO: dict[str, Any] = {"per_device_train_batch_size": 1, "gradient_checkpointing": True}
"""It trains on every token, packs nothing, and crashes with a larger batch."""
DEFAULTS: dict[str, Any] = {}
"""TRL 1.16: batch 8, padded, gradient checkpointing, at most 1024 tokens a row."""


def main(path: str) -> None:
    job = Job(**json.loads(Path(path).read_text()))
    _import_libraries()
    started_s = time.process_time()
    trainer = _trainer(job)
    loop_s = time.process_time()
    trainer.train()
    ended_s = time.process_time()
    trainer.model.save_pretrained(job.out)
    facts = {
        "work_cpu_s": time.process_time() - started_s,
        "loop_cpu_s": ended_s - loop_s,
        "steps": trainer.state.global_step,
        "loss": trainer.state.log_history[-1].get("train_loss"),
    }
    print(json.dumps(facts))


def _import_libraries() -> None:
    """Importing is not work: both sides pay it before the clock of the work starts."""
    import datasets  # noqa: F401  paid for here
    import peft  # noqa: F401  paid for here
    import trl.trainer.sft_trainer  # noqa: F401  paid for here


def _trainer(job: Job) -> Any:
    from datasets import load_dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    model = _base(job)
    if job.kbit_prepared:
        model = prepare_model_for_kbit_training(model)
    args = SFTConfig(
        output_dir=f"{job.out}/checkpoints",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        **job.options,
    )
    return SFTTrainer(
        model=model,
        args=args,
        train_dataset=load_dataset("parquet", data_files=job.data, split="train"),
        processing_class=AutoTokenizer.from_pretrained(job.model),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **LORA),
    )


def _base(job: Job) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    return AutoModelForCausalLM.from_pretrained(
        job.model,
        dtype=torch.bfloat16,
        quantization_config=four_bits if job.method == "qlora" else None,
    )


if __name__ == "__main__":
    main(sys.argv[1])
