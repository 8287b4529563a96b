"""Real LoRA adapters of a tiny model, without a training: random factors, saved by PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rig.tiny import MODEL_ID


def loaded(model: Path) -> Any:
    """The base model in 32 bits."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)


def lora(model: Path, folder: Path, seed: int = 1, base: str = MODEL_ID, **config: Any) -> Path:
    """An adapter that changes every answer; `config` goes to LoraConfig."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    wanted = {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
        "init_lora_weights": False,
        **config,
    }
    adapted = get_peft_model(loaded(model), LoraConfig(**wanted))
    adapted.peft_config["default"].base_model_name_or_path = base
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder
