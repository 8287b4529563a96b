"""What must stop a run, and what must be true of its arithmetic."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rig import tiny
from rig.tiny import Method
from rig.trained import go
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from tuning.dataset.rows import Chat, Text
from tuning.dataset.tokenizer import load_tokenizer
from tuning.failure import Failure, Kind
from tuning.progress import Quiet
from tuning.run import Run
from tuning.training import arguments, callbacks, checkpoint, device, examples, guard, model
from tuning.training.loss import IGNORED


def run_of(base: Path, work: Path, method: Method = "lora", **training: Any) -> Run:
    run = tiny.make_run(work, base, method, training={"max_steps": 4, **training})
    tiny.write_rows(run.places.rows_file)
    return run


def adapted(run: Run) -> Any:
    base = model.load_base(run, device.choose(run, device.here()))
    return model.add_adapter(base, run, seed=0)


# --- what stops a run ---------------------------------------------------------------------------


def test_a_loss_that_is_no_number_ends_the_run_and_exports_nothing(
    base: Path, tmp_path: Path
) -> None:
    run = run_of(base, tmp_path, learning_rate=1e30, max_grad_norm=0.0, max_steps=20)
    with pytest.raises(Failure) as diverged:
        go(run)
    assert diverged.value.kind is Kind.BAD_CONFIG
    assert "learning_rate" in diverged.value.sentence and "lower" in diverged.value.sentence
    assert not run.places.adapter_dir.exists() and not run.places.result_file.exists()
    assert not list(run.places.work_dir.glob(f"checkpoint-*/{checkpoint.SEAL}"))


def test_an_adapter_that_did_not_move_is_not_exported(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path, learning_rate=0.0)
    with pytest.raises(Failure, match="still what it was") as untrained:
        go(run)
    assert untrained.value.kind is Kind.BAD_CONFIG
    assert not run.places.adapter_dir.exists()


def test_few_unmoved_weights_are_a_warning() -> None:
    assert guard.refuse_untrained((), 4, steps=9) is None
    assert "1 of 4" in (guard.refuse_untrained(("a",), 4, steps=9) or "")
    assert guard.refuse_untrained(("a",), 4, steps=1) is None


def test_a_base_that_changed_by_one_bit_is_noticed(base: Path, tmp_path: Path) -> None:
    lora = adapted(run_of(base, tmp_path))
    before = guard.fingerprint(lora)
    guard.refuse_changed_base(before, lora)
    frozen = next(p for p in lora.parameters() if not p.requires_grad)
    frozen.data.view(torch.int32)[3, 5] ^= 1
    with pytest.raises(Failure) as changed:
        guard.refuse_changed_base(before, lora)
    assert changed.value.kind is Kind.INTERNAL


def test_a_base_with_missing_weights_is_refused_not_filled_with_random_ones(
    base: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(base, tmp_path / "base")
    weights = load_file(other / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Failure, match=r"lacks 1 of its weights, model\.layers\.1\.mlp"):
        go(run_of(other, tmp_path / "work"))


@pytest.mark.parametrize("damage", ["truncated", "no weights", "no config", "not a model", "none"])
def test_an_unreadable_base_is_one_sentence(base: Path, tmp_path: Path, damage: str) -> None:
    other = tmp_path / "base"
    if damage != "none":
        shutil.copytree(base, other)
    if damage == "truncated":
        (other / "model.safetensors").write_bytes(b"\x10")
    if damage == "no weights":
        (other / "model.safetensors").unlink()
    if damage == "no config":
        (other / "config.json").unlink()
    if damage == "not a model":
        (other / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(Failure) as unusable:
        go(run_of(other, tmp_path / "work"))
    assert unusable.value.kind is Kind.BAD_CONFIG
    assert str(other) in unusable.value.sentence and "\n" not in unusable.value.sentence


BAD_OPTIONS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str]] = {
    "misspelt target": ({"target_modules": ["q_proj", "qproj"]}, {}, "has no qproj"),
    "output layer": ({"target_modules": ["lm_head"]}, {}, "lm_head"),
    "unknown LoRA option": ({"rank": 8}, {}, "rank"),
    "rank of zero": ({"r": 0}, {}, "r"),
    "unknown schedule": ({}, {"lr_scheduler_type": "never"}, "never"),
    "unknown training option": ({}, {"batch": 8}, "batch"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_an_option_that_a_library_refuses_is_one_sentence(
    base: Path, tmp_path: Path, case: str
) -> None:
    lora, training, words = BAD_OPTIONS[case]
    run = tiny.make_run(tmp_path, base, lora=lora, training=training)
    tiny.write_rows(run.places.rows_file)
    with pytest.raises(Failure) as refused:
        go(run)
    assert refused.value.kind is Kind.BAD_CONFIG
    assert words in refused.value.sentence and "training_config" in refused.value.sentence


def test_no_rows_file_says_to_prepare(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    run.places.rows_file.unlink()
    with pytest.raises(Failure, match="prepare"):
        go(run)


MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", MEMORY, ids=lambda e: type(e).__name__)
def test_full_memory_says_what_to_lower(base: Path, tmp_path: Path, error: Exception) -> None:
    with pytest.raises(Failure) as full, guard.as_failures(run_of(base, tmp_path)):
        raise error
    assert full.value.kind is Kind.OUT_OF_MEMORY
    for words in ("batch_size 16", "max_length 64", "activation_checkpointing", "qlora"):
        assert words in full.value.sentence


DISK = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", DISK, ids=lambda e: type(e).__name__)
def test_a_full_disk_is_told_and_may_be_tried_again(
    base: Path, tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(Failure) as full, guard.as_failures(run_of(base, tmp_path)):
        raise error
    assert full.value.kind is Kind.UNAVAILABLE and str(tmp_path) in full.value.sentence


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OSError(errno.EIO, "I/O")])
def test_other_errors_are_not_renamed(base: Path, tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), guard.as_failures(run_of(base, tmp_path)):
        raise error


# --- its arithmetic -----------------------------------------------------------------------------


def _gradients(lora: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    lora.train()
    lora.zero_grad()
    lora(**batch).loss.backward()
    return torch.cat([p.grad.flatten() for p in model.trainable(lora).values()])


def test_an_evaluation_does_not_bend_the_gradients_of_a_4_bit_base(
    base: Path, tmp_path: Path
) -> None:
    """bitsandbytes repacks weights for AVX512-BF16 in a forward without gradients."""
    lora = adapted(run_of(base, tmp_path, "qlora"))
    for parameter in model.trainable(lora).values():
        torch.nn.init.normal_(parameter, std=0.02)
    ids = torch.arange(32).reshape(2, 16) % 500
    batch = {"input_ids": ids, "labels": ids}
    before = _gradients(lora, batch)
    with torch.no_grad():
        lora.eval()(**batch)
    after = _gradients(lora, batch)
    assert torch.equal(before, after)


def test_loss_lies_on_the_answers_only(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    tokenizer = load_tokenizer(base)
    loaded = examples.load(run.places.rows_file, run, tokenizer)
    assert loaded is not None and loaded.rows == 64
    for row, code in zip(loaded.dataset, tiny.codes(), strict=True):
        learned = [label for label in row["labels"] if label != IGNORED]
        assert tokenizer.decode(learned) == f"{code}<|end|>"


def test_no_evaluation_file_is_no_evaluation(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    assert examples.load(run.places.eval_rows_file, run, load_tokenizer(base)) is None


def test_packed_rows_do_not_see_each_other(base: Path, tmp_path: Path) -> None:
    """The first step's loss is the mean over all rows, however they are packed."""
    losses = {}
    for packing in (False, True):
        run = run_of(
            base,
            tmp_path / str(packing),
            packing=packing,
            per_device_train_batch_size=64,
            max_steps=3,
        )
        losses[packing] = go(run).watcher.steps[1].loss
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)


def test_packing_runs_as_many_steps_as_the_plan_says(base: Path, tmp_path: Path) -> None:
    from tuning.steps import schedule

    options = {"max_steps": -1, "num_train_epochs": 2, "packing": True}
    run = run_of(base, tmp_path, per_device_train_batch_size=2, **options)
    loaded = examples.load(run.places.rows_file, run, load_tokenizer(base))
    assert loaded is not None
    plan = schedule([len(row["input_ids"]) for row in loaded.dataset], run.config)
    result = go(run).result
    assert (result.steps, result.tokens) == (plan.steps, plan.tokens)


def test_an_evaluation_split_is_evaluated_at_the_end(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    tiny.write_rows(run.places.eval_rows_file, [Chat(tuple(c), (1,)) for c in tiny.chats()[:5]])
    trained = go(run)
    assert trained.result.eval_loss is not None and math.isfinite(trained.result.eval_loss)
    assert trained.watcher.steps[-1].eval_loss == trained.result.eval_loss


def test_plain_text_rows_train_too(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    tiny.write_rows(run.places.rows_file, [Text(f"{q} {a}") for q, a in _pairs()])
    assert go(run).result.steps == 4


def _pairs() -> list[tuple[str, str]]:
    return list(zip(tiny.questions(), tiny.codes(), strict=True))


def test_the_adapters_first_weights_depend_on_the_seed_alone(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    torch.manual_seed(123)
    first = guard.weights(adapted(run))
    torch.rand(7)
    second = guard.weights(adapted(run))
    assert all(torch.equal(first[name], second[name]) for name in first)


# --- when it saves ------------------------------------------------------------------------------


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _asked(callback: callbacks.CheckpointCallback, tmp_path: Path, **state: Any) -> bool:
    control = TrainerControl()
    every = state.pop("eval_steps", 0)
    args = TrainingArguments(
        output_dir=str(tmp_path), eval_strategy="steps" if every else "no", eval_steps=every or None
    )
    told = TrainerState(max_steps=100, eval_steps=every or 500, **state)
    callback.on_step_end(args, told, control)
    return bool(control.should_save)


def _callback(tmp_path: Path, clock: Clock) -> callbacks.CheckpointCallback:
    facts = checkpoint.Facts(
        identity="",
        settings={},
        data_sha256="",
        base_weights="",
        world_size=1,
        precision="float32",
    )
    return callbacks.CheckpointCallback(tmp_path, facts, {}, clock=clock)


def test_a_checkpoint_is_due_every_ten_minutes(tmp_path: Path) -> None:
    clock = Clock()
    callback = _callback(tmp_path, clock)
    clock.now_s = 599
    assert not _asked(callback, tmp_path, global_step=5)
    clock.now_s = 600
    assert _asked(callback, tmp_path, global_step=6)


def test_a_checkpoint_is_due_before_an_evaluation_and_after_the_last_step(tmp_path: Path) -> None:
    clock = Clock()
    callback = _callback(tmp_path, clock)
    assert _asked(callback, tmp_path, global_step=100)
    assert not _asked(callback, tmp_path, global_step=9, eval_steps=10)
    clock.now_s = 61
    assert _asked(callback, tmp_path, global_step=9, eval_steps=10)
    assert not _asked(callback, tmp_path, global_step=8, eval_steps=10)


def test_nan_weights_never_become_a_checkpoint(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    layer.weight.data[0, 0] = math.nan
    state = TrainerState(global_step=5, max_steps=10)
    args = TrainingArguments(output_dir=str(tmp_path))
    with pytest.raises(Failure, match="no longer finite"):
        _callback(tmp_path, Clock()).on_save(args, state, TrainerControl(), model=layer)


# --- options ------------------------------------------------------------------------------------


def test_what_tunery_decides_cannot_be_overridden(base: Path, tmp_path: Path) -> None:
    run = run_of(
        base,
        tmp_path,
        output_dir="/elsewhere",
        report_to="wandb",
        logging_steps=10,
        save_total_limit=1,
        assistant_only_loss=True,
        resume_from_checkpoint="/x",
        push_to_hub=True,
    )
    args = arguments.sft_config(run, device.choose(run, device.here()), evaluates=False)
    assert args.output_dir == str(tmp_path)
    assert args.logging_steps == 1 and not args.logging_nan_inf_filter
    assert args.save_total_limit is None and not args.push_to_hub
    assert not args.assistant_only_loss and args.report_to == []
    assert args.resume_from_checkpoint is None


def test_rows_stay_in_order_when_shuffling_is_off(base: Path, tmp_path: Path) -> None:
    run = run_of(base, tmp_path)
    here = device.choose(run, device.here())
    assert arguments.sft_config(run, here, False).train_sampling_strategy == "random"
    dataset = run.config.dataset.model_copy(update={"shuffle_dataset": False})
    run = run.model_copy(update={"config": run.config.model_copy(update={"dataset": dataset})})
    assert arguments.sft_config(run, here, False).train_sampling_strategy == "sequential"


def test_quiet_is_a_sink(base: Path, tmp_path: Path) -> None:
    from tuning.stop import Stop
    from tuning.train import train

    assert train(run_of(base, tmp_path), Stop(), Quiet()).steps == 4
