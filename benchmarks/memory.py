"""The memory estimate against the measured peak: `python benchmarks/memory.py`.

Three model shapes, lora and qlora, with and without activation checkpointing. Each is trained for
two steps by the product's own code (model.py, arguments.py, TRL's trainer). What is
compared: all tensors alive at the peak of a step, as torch's allocator counts them, against
`Estimate.tensors_gib`. On a GPU the counter is torch.cuda.max_memory_allocated; without one, the
profiler's allocation events. CUDA's own context and the allocator's slack, which the estimate adds
on top for the refusal, do not exist on a CPU and are not part of the comparison.
"""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
)
from trl import SFTTrainer

from jobs.demand import demand
from jobs.estimate import Estimate, estimate
from presets import Architecture, Gpu
from tuning.config import (
    DatasetSection,
    ModelSection,
    QuantizationSection,
    TrainingConfig,
)
from tuning.run import BaseModelSource, DataSource, Hardware, Output, Places, Run
from tuning.training import arguments, device
from tuning.training import model as models

Method = Literal["lora", "qlora"]
_STEPS = 2
_RANK = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """A real model's block with fewer layers, so that it trains in seconds on a CPU."""

    title: str
    architecture: Architecture
    batch: int
    length: int


_VOCAB = 512
SHAPES = (
    # Its whole vocabulary: here the output head has a large share.
    Shape(
        "SmolLM2-360M, 12 layers",
        Architecture("llama", 12, 960, 15, 5, 64, 2560, 49152, True, 8192),
        batch=1,
        length=512,
    ),
    Shape(
        "Qwen3-0.6B, 10 layers",
        Architecture("qwen3", 10, 1024, 16, 8, 128, 3072, _VOCAB, True, 8192),
        batch=2,
        length=512,
    ),
    Shape(
        "Phi-3-mini, 4 layers (fused)",
        Architecture("phi3", 4, 3072, 32, 32, 96, 8192, _VOCAB, False, 4096),
        batch=1,
        length=512,
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    shape: Shape
    method: Method
    checkpointing: bool
    estimated: Estimate
    measured_gib: float

    @property
    def error(self) -> float:
        return self.estimated.tensors_gib / self.measured_gib - 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", help="part of a shape's title")
    only = parser.parse_args().only
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"Tensors at the peak of a training step, estimate against measurement, {where}\n")
    print(
        "| model shape | method | checkpointing | batch x length | estimated | measured | error |"
    )
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    for shape in SHAPES:
        if only is None or only.lower() in shape.title.lower():
            for row in _rows(shape):
                worst = max(worst, abs(row.error))
                print(_line(row), flush=True)
    print(f"\nLargest error: {worst:.1%}")


def _line(row: Row) -> str:
    on = "yes" if row.checkpointing else "no"
    return (
        f"| {row.shape.title} | {row.method} | {on} | {row.shape.batch} x {row.shape.length} "
        f"| {row.estimated.tensors_gib:.3f} GiB | {row.measured_gib:.3f} GiB | {row.error:+.1%} |"
    )


def _rows(shape: Shape) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        _save_base(shape.architecture, base)
        for method in ("lora", "qlora"):
            for checkpointing in (False, True):
                run = _run(shape, method, checkpointing, base, Path(folder))
                estimated = _estimated(shape, run, checkpointing)
                yield Row(shape, method, checkpointing, estimated, _measured_gib(shape, run))


def _save_base(a: Architecture, folder: Path) -> None:
    config = AutoConfig.for_model(
        a.model_type,
        num_hidden_layers=a.layers,
        hidden_size=a.hidden,
        num_attention_heads=a.heads,
        num_key_value_heads=a.kv_heads,
        head_dim=a.head_dim,
        intermediate_size=a.ffn,
        vocab_size=a.vocab,
        tie_word_embeddings=a.tied,
        max_position_embeddings=a.context,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def _run(shape: Shape, method: Method, checkpointing: bool, base: Path, work: Path) -> Run:
    gpus = 1 if torch.cuda.is_available() else 0
    config = TrainingConfig(
        method=method,
        model=ModelSection(dtype="bfloat16"),
        quantization=QuantizationSection(load_in_4bit=method == "qlora"),
        dataset=DatasetSection(),
        lora={"r": _RANK, "lora_alpha": 2 * _RANK, "target_modules": "all-linear"},
        training={
            "learning_rate": 2e-4,
            "per_device_train_batch_size": shape.batch,
            "max_steps": _STEPS,
            "max_length": shape.length,
            "packing": True,
            "activation_checkpointing": checkpointing,
            "save_strategy": "no",
        },
    )
    return Run(
        name="memory",
        preset="bench/memory",
        method=method,
        model=BaseModelSource(id="bench/memory", path=str(base)),
        config=config,
        data=DataSource(kind="path", path=str(work)),
        output=Output(kind="folder", target=str(work / "out")),
        hardware=Hardware(gpus=gpus, gib_per_gpu=0, bf16=True),
        places=Places(work=str(work)),
    )


def _estimated(shape: Shape, run: Run, checkpointing: bool) -> Estimate:
    kind = "hopper" if torch.cuda.is_available() else "cpu"
    card = Gpu("bench", "bench", "bench", 1, 0, kind, bf16=True)
    wanted = demand(shape.architecture, run.config, card)
    work = replace(wanted.work, batch=shape.batch, checkpointing=checkpointing)
    return estimate(shape.architecture, work)


def _measured_gib(shape: Shape, run: Run) -> float:
    gc.collect()
    chosen = device.choose(run, device.here())
    model = models.add_adapter(models.load_base(run, chosen), run, seed=0)
    trainer = SFTTrainer(
        model=model,
        args=arguments.sft_config(run, chosen, evaluates=False),
        train_dataset=_rows_of_tokens(shape),
        processing_class=_tokenizer(),
    )
    trainer.remove_callback(PrinterCallback)
    models.in_float32(model)
    before = _alive_bytes(model)
    with _peak_bytes(before) as peak:
        trainer.train()
    return peak["bytes"] / 2**30


def _rows_of_tokens(shape: Shape) -> Dataset:
    """Rows of the full length: packing leaves them as they are, and no batch is short."""
    draw = torch.Generator().manual_seed(0)
    size = (shape.batch * _STEPS, shape.length)
    tokens = torch.randint(3, _VOCAB, size, generator=draw).tolist()
    return Dataset.from_dict({"input_ids": tokens, "labels": tokens})


def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({"<pad>": 0, "<bos>": 1, "<eos>": 2}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


def _alive_bytes(model: torch.nn.Module) -> int:
    """Bytes of all weights, buffers and quantisation scales, shared storage counted once."""
    storages: dict[int, int] = {}
    for tensor in _tensors(model):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from model.buffers()
    for parameter in model.parameters():
        yield parameter
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            yield from (t for t in vars(state).values() if isinstance(t, torch.Tensor))
            state = getattr(state, "state2", None)


@contextmanager
def _peak_bytes(before: int) -> Iterator[dict[str, int]]:
    """The most bytes allocated at once inside the block, with those alive before it."""
    found: dict[str, int] = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield found
        found["bytes"] = torch.cuda.max_memory_allocated()
        return
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        yield found
    found["bytes"] = before + _highest(profile)


def _highest(profile: Any) -> int:
    """Largest running sum of the profiler's allocations (+) and releases (-)."""
    events = profile.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    running = highest = 0
    for _, nbytes in changes:
        running += nbytes
        highest = max(highest, running)
    return highest


if __name__ == "__main__":
    main()
