"""The recipe: rows → model → trainer → (resume | stop) → adapter folder + result.json.

Read from top to bottom. Called by `python -m tuning train` in the pod and by `tunery run` on a
laptop, once `prepare` has left checked rows and the base model. A run that is stopped, diverges or
runs out of memory leaves no adapter folder; an equal run leaves the same bytes.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerState
from trl import SFTTrainer

from tuning import prepared
from tuning import result as results
from tuning.dataset.tokenizer import load_tokenizer, own_template
from tuning.failure import Failure, Kind
from tuning.keeper import Keeper, beside
from tuning.progress import ProgressSink
from tuning.result import Result
from tuning.run import Run
from tuning.stop import Stop
from tuning.training import (
    arguments,
    callbacks,
    checkpoint,
    device,
    examples,
    export,
    guard,
    ranks,
    summary,
)
from tuning.training import model as models
from tuning.training import trainer as trainers
from tuning.training.checkpoint import Checkpoint, Facts
from tuning.training.device import Device
from tuning.training.examples import Examples

_GIB = 1024**3


def train(run: Run, stop: Stop, report: ProgressSink) -> Result:
    """Train the run's adapter, or go on with it, or say what it already reached.

    Leaves `run.places.adapter_dir` and, last, `run.places.result_file`. Raises Failure: INTERRUPTED
    after a stop (a checkpoint is kept), BAD_CONFIG when the work folder belongs to another run,
    when an option is refused or the loss diverges, OUT_OF_MEMORY, UNAVAILABLE when the disk is full
    or the GPU is missing, INTERNAL when a check of our own fails.
    """
    data_sha256 = examples.digest(run.places.rows_file, run.places.eval_rows_file)
    finished = _finished(run, data_sha256)
    if finished:
        report.note("this run has finished already; its adapter is kept as it is")
        return finished
    chosen = device.choose(run, device.here())
    report.note(f"training on {chosen.name} in {chosen.reason}")
    with guard.as_failures(run):
        return _train(run, data_sha256, chosen, stop, report)


def _train(run: Run, data_sha256: str, chosen: Device, stop: Stop, report: ProgressSink) -> Result:
    tokenizer = load_tokenizer(models.folder(run), run.config.model.chat_template)
    rows = examples.load(run.places.rows_file, run, tokenizer)
    if rows is None:
        raise Failure(Kind.INTERNAL, f"{run.places.rows_file} is missing; run `prepare` first")
    held_out = examples.load(run.places.eval_rows_file, run, tokenizer)

    stop.check("before the model was loaded")
    _repeatable(chosen)
    model = models.add_adapter(models.load_base(run, chosen), run, arguments.seed(run))
    export.rehearse(model, run)
    stop.check("before the first step")

    base, adapter = guard.fingerprint(model), guard.weights(model)
    known = checkpoint.facts(run, data_sha256, base, ranks.world_size(), chosen.precision)
    trainer = trainers.build(run, chosen, model, tokenizer, rows, held_out)
    # TRL rounds the adapter of a quantised base to bfloat16, which would not resume bitwise
    models.in_float32(model)
    models.set_weights(model, adapter)
    started_s = time.monotonic()
    _go(trainer, run, known, stop, report)
    seconds = time.monotonic() - started_s
    eval_loss = _evaluate(trainer)

    guard.refuse_changed_base(base, model)
    callbacks.refuse_infinite(model, trainer.state.global_step)
    still = guard.unmoved(adapter, model)
    warning = guard.refuse_untrained(still, len(adapter), trainer.state.global_step)
    if warning:
        report.note(warning)
    return _publish(run, known, trainer, rows, held_out, eval_loss, seconds)


def _go(trainer: SFTTrainer, run: Run, known: Facts, stop: Stop, report: ProgressSink) -> None:
    """All steps; on the way checkpoints are kept where they outlive the pod. Raises as `_fit`."""
    telling = callbacks.ProgressCallback(report)
    try:
        with beside(run, report.note) if ranks.is_main() else nullcontext() as keeper:
            _watch(trainer, run, known, stop, telling, keeper)
            if keeper:
                keeper.fetch(known)
            ranks.wait_for_all()
            _fit(trainer, run, known, stop, report)
    finally:
        telling.news()


def _watch(
    trainer: SFTTrainer,
    run: Run,
    known: Facts,
    stop: Stop,
    telling: callbacks.ProgressCallback,
    keeper: Keeper | None,
) -> None:
    saving = callbacks.CheckpointCallback(
        run.places.work_dir, known, summary.versions(), offer=keeper.offer if keeper else None
    )
    if keeper:
        telling.kept_step = lambda: keeper.step
    elif run.places.scratch:
        telling.kept_step = lambda: saving.step  # on a volume
    watchers = (callbacks.FiniteCallback(), saving, callbacks.StopCallback(stop), telling)
    for watch in watchers:
        trainer.add_callback(watch)


def _fit(trainer: SFTTrainer, run: Run, known: Facts, stop: Stop, report: ProgressSink) -> None:
    """Bring the model to the last step, from wherever the newest checkpoint is.

    Raises Failure (INTERRUPTED) when it was stopped before: the Trainer returns as if all was done.
    """
    found, warnings = checkpoint.choose(run.places.work_dir, known, summary.versions())
    for warning in warnings:
        report.note(warning)
    per_epoch, steps = _steps(trainer)
    arguments.epochs_as_steps(trainer.args, per_epoch)
    if found and found.step >= steps:
        report.note(f"all {steps} steps were done already; only the export is left")
        _restore(trainer, found)
        return
    if found:
        report.note(f"going on from step {found.step} of {steps}")
    trainer.train(resume_from_checkpoint=str(found.folder) if found else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise callbacks.interrupted(stop, trainer.state.global_step, trainer.state.max_steps)


def _steps(trainer: SFTTrainer) -> tuple[int, int]:
    """(optimizer steps per epoch, of the whole run)."""
    loader = trainer.get_train_dataloader()
    values = trainer.set_initial_training_values(trainer.args, loader)
    return int(values[1]), int(values[6])


def _restore(trainer: SFTTrainer, found: Checkpoint) -> None:
    """The end state of a run whose last step is saved; train() would add one step more."""
    trainer.state = TrainerState.load_from_json(str(found.state_file))
    source = found.weights_file
    best = trainer.state.best_model_checkpoint
    if trainer.args.load_best_model_at_end and best:
        source = found.folder.parent / Path(best).name / found.weights_file.name
    set_peft_model_state_dict(trainer.model, load_file(source))


def _evaluate(trainer: SFTTrainer) -> float | None:
    """Loss of the final weights on the evaluation split; None without one."""
    if trainer.eval_dataset is None:
        return None
    last = [e for e in trainer.state.log_history if "eval_loss" in e][-1:]
    current = last and last[0]["step"] == trainer.state.global_step
    if current and not trainer.args.load_best_model_at_end:
        return float(last[0]["eval_loss"])
    return float(trainer.evaluate()["eval_loss"])


def _publish(
    run: Run,
    known: Facts,
    trainer: SFTTrainer,
    rows: Examples,
    held_out: Examples | None,
    eval_loss: float | None,
    seconds: float,
) -> Result:
    """Adapter folder first, result.json last; by the main process only."""
    if ranks.is_main():
        sizes = summary.Data(
            rows.rows, held_out.rows if held_out else 0, rows.tokens, rows.with_loss
        )
        ready = prepared.read_if_any(run)
        revision = ready.model_revision if ready else run.model.revision
        record = summary.record(
            run, known, revision, arguments.seed(run), sizes, _trained(trainer, eval_loss)
        )
        template = own_template(trainer.processing_class, run.config.model.chat_template)
        digest = export.export(trainer.model, run, record, template)
        shared = record.model_dump(include=set(Result.model_fields))
        reached = Result(
            **shared, adapter_sha256=digest, seconds=seconds, peak_memory_gib=_peak_memory_gib()
        )
        results.write(reached, run.places.result_file)
    ranks.wait_for_all()
    written = results.read(run.places.result_file)
    if written is None:
        raise Failure(Kind.INTERNAL, f"{run.places.result_file} was not written")
    return written


def _trained(trainer: SFTTrainer, eval_loss: float | None) -> summary.Trained:
    state = trainer.state
    return summary.Trained(
        steps=state.global_step,
        epochs=float(state.epoch or 0.0),
        tokens=int(state.num_input_tokens_seen),
        history=state.log_history,
        eval_loss=eval_loss,
        trainable_parameters=sum(p.numel() for p in models.trainable(trainer.model).values()),
    )


def _finished(run: Run, data_sha256: str) -> Result | None:
    """What an equal run has left here; None when there is training to do.

    Raises Failure (BAD_CONFIG) when another run has finished in this folder.
    """
    left = results.read(run.places.result_file)
    if left is None or left.adapter_sha256 != export.weights_sha256(run.places.adapter_dir):
        return None
    if (left.identity, left.data_sha256) == (run.identity(), data_sha256):
        return left
    sentence = (
        f"{run.places.work} holds the finished adapter of another run (other settings or rows); "
        "use another work folder, or delete this one"
    )
    raise Failure(Kind.BAD_CONFIG, sentence)


def _repeatable(chosen: Device) -> None:
    """Ask for the kernels that give the same bits twice, where a GPU has them."""
    if chosen.kind == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a module property


def _peak_memory_gib() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / _GIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GIB
