"""The model that is trained: frozen base in 4, 8 or 16 bits, LoRA layers in float32.

Called by tuning/train.py once device and precision are chosen. Nothing is downloaded here and no
code from a model folder is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, set_seed

from presets.problem import printable
from tuning.failure import Failure, Kind
from tuning.run import Run
from tuning.training import attention, ranks
from tuning.training.device import Device
from tuning.weights import within

ALL_LINEAR = "all-linear"


def folder(run: Run) -> Path:
    """Where the base model lies: given by the run, or fetched by `prepare`."""
    return within(Path(run.model.path)) if run.model.path else run.places.model_dir


def load_base(run: Run, device: Device) -> Any:
    """The frozen base on its device.

    Raises Failure (BAD_CONFIG) when the folder is no whole, readable model: transformers would fill
    missing weights with random numbers and only log it.
    """
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder(run),
            dtype=device.dtype,
            device_map=_device_map(run, device),
            quantization_config=quantization(run, device),
            attn_implementation=run.config.model.attn_implementation,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise _unusable(run, "cannot be loaded", error) from error
    absent = sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})
    if absent:
        what = f"lacks {len(absent)} of its weights, {absent[0]} for one"
        raise _unusable(run, what, None)
    keep_gradients_true(model)
    attention.use(model, run, device)
    model.config.use_cache = False
    return model


def quantization(run: Run, device: Device) -> BitsAndBytesConfig | None:
    """The run's QuantizationConfig; None when the base stays in 16 or 32 bits."""
    asked = run.config.quantization
    if not (asked.load_in_4bit or asked.load_in_8bit):
        return None
    if asked.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    # bfloat16 from a template that was written for newer cards must not reach one without it
    compute = torch.float32 if asked.bnb_4bit_compute_dtype == "float32" else device.dtype
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=asked.bnb_4bit_quant_type,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_use_double_quant=asked.bnb_4bit_use_double_quant,
    )


def keep_gradients_true(model: torch.nn.Module) -> None:
    """Forbid bitsandbytes to repack 4-bit weights for AVX512-BF16 inference.

    After any forward pass without gradients (an evaluation) on such a CPU, its later training
    passes go through a kernel outside autograd: the loss is right, the gradients are silently
    wrong (measured: median cosine 0.36 to the true ones, bitsandbytes 0.50).
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def add_adapter(model: Any, run: Run, seed: int) -> PeftModel:
    """The base with fresh LoRA layers in float32, the same ones for the same seed.

    Raises Failure (BAD_CONFIG) when an option is refused by PEFT or a target names no layer.
    """
    try:
        config = LoraConfig(**lora_options(run.config.lora))
        _check_targets(model, config.target_modules)
        set_seed(seed)
        adapted = get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        sentence = f"training_config.LoraConfig: {_one_line(error)}"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    in_float32(adapted)
    leave_casts_to_autocast(adapted)
    return adapted


def leave_casts_to_autocast(model: torch.nn.Module) -> None:
    """Keep PEFT from casting every layer's input to the adapter's float32.

    Under autocast that copy is cast back at once: the same numbers, computed later and held longer.
    """
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def lora_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of LoraConfig; all linear layers unless something else is said."""
    targets = options.get("target_modules") or ALL_LINEAR
    return {**options, "target_modules": targets, "task_type": "CAUSAL_LM"}


def in_float32(model: torch.nn.Module) -> None:
    """Make every trainable weight float32: bfloat16 loses small updates and breaks resuming."""
    for parameter in trainable(model).values():
        parameter.data = parameter.data.to(torch.float32)


def set_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put back trainable weights that were copied before."""
    for name, parameter in trainable(model).items():
        parameter.data.copy_(weights[name])


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The weights that training may change, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _check_targets(model: torch.nn.Module, targets: Any) -> None:
    """Each named target must exist: PEFT complains only when none of them does."""
    if isinstance(targets, str) or targets is None:
        return
    names = [name for name, _ in model.named_modules()]
    lost = sorted(t for t in targets if not any(n == t or n.endswith(f".{t}") for n in names))
    if lost:
        linear = (n.rsplit(".", 1)[-1] for n, m in model.named_modules() if _is_linear(m))
        known = ", ".join(sorted(set(linear)))
        raise ValueError(f"target_modules: the model has no {', '.join(lost)}; it has {known}")


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) and not isinstance(module, BaseTunerLayer)


def _device_map(run: Run, device: Device) -> Any:
    if device.kind == "cpu":
        return None
    if ranks.world_size() == 1 and torch.cuda.device_count() > 1:
        return "auto"  # one process, several cards: the layers are spread over them
    return {"": ranks.local_rank()}


def _unusable(run: Run, what: str, error: Exception | None) -> Failure:
    because = f" ({_one_line(error)})" if error else ""
    sentence = f"model {run.model.id}: the folder {folder(run)} {what}{because}"
    return Failure(Kind.BAD_CONFIG, sentence)


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:300]
