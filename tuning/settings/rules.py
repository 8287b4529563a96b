"""Settings that fight, all found at once: after types (config_read) and ranges (config_ranges).

Each rule is a function from settings to problems. The adapter's own rules are in
adapter.py. KAITO's rules keep KAITO's words (api/v1beta1/tuning_config_validation.go).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator

from presets.problem import Problem, did_you_mean
from tuning.settings import adapter as config_lora
from tuning.settings.options import installed
from tuning.settings.ranges import out_of_range
from tuning.settings.setting import ROOT, Settings
from tuning.settings.values import said

MOUNT = "/mnt"
_METRICS = ("loss", "mean_token_accuracy", "entropy")
_CHECKPOINTING = {"use_reentrant", "preserve_rng_state", "determinism_check", "debug", "early_stop"}


def check(settings: Settings, method: str) -> tuple[Problem, ...]:
    """Every problem between settings that are each well-formed; defaults are among them."""
    found = [*_quantization(settings, method), *out_of_range(settings)]
    for rule in (*_RULES, *config_lora.RULES):
        found += rule(settings)
    return tuple(found)


def _quantization(settings: Settings, method: str) -> Iterator[Problem]:
    four = settings.get("quantization.load_in_4bit", False)
    eight = settings.get("quantization.load_in_8bit", False)
    path = f"{ROOT}.QuantizationConfig"
    if four and eight:
        what = "Cannot set both 'load_in_4bit' and 'load_in_8bit' to true"
        yield Problem(path, what, "keep one of them", "generic")
    if method == "lora" and (four or eight):
        what = "For method 'lora', 'load_in_4bit' or 'load_in_8bit' must not be true"
        yield Problem(path, what, "write method: qlora, or remove it", "generic")
    if method == "qlora" and not (four or eight):
        what = "For method 'qlora', either 'load_in_4bit' or 'load_in_8bit' must be true"
        yield Problem(path, what, "write method: lora, or load_in_4bit: true", "generic")


def output_dir(text: str) -> str | None:
    """KAITO's `Clean(Join("/mnt", text))`, or None when that is not a folder under /mnt.

    A path that begins with /mnt stays as it is.
    """
    whole = _clean(text) if text.startswith("/") else ""
    if whole != MOUNT and not whole.startswith(f"{MOUNT}/"):
        whole = _clean(f"{MOUNT}/{text}")
    return whole if whole.startswith(f"{MOUNT}/") else None


def _clean(path: str) -> str:
    # POSIX keeps two leading slashes apart; a mount does not
    return "/" + posixpath.normpath(path).lstrip("/")


def _output_dir(settings: Settings) -> Iterator[Problem]:
    name = "training.output_dir"
    text = settings.get(name, MOUNT + "/results")
    resolved = output_dir(text)
    if resolved is None:
        what = f"Invalid output_dir specified: '{text}', must be a directory"
        yield settings.problem(name, what, "name a folder under /mnt, such as /mnt/results")
    elif ":" in resolved or not resolved.isprintable():
        do = "name it with letters, digits, dots and dashes"
        yield settings.problem(name, f"{said(text)} cannot be mounted", do)


def _evaluation(settings: Settings) -> Iterator[Problem]:
    if settings.get("dataset.train_test_split", 1.0) < 1:
        return
    do = "set DatasetConfig.train_test_split below 1, such as 0.9, or remove it"
    asked = {
        "training.eval_strategy": settings.get("training.eval_strategy", "no") != "no",
        "training.eval_on_start": settings.get("training.eval_on_start", False),
        "training.load_best_model_at_end": settings.get("training.load_best_model_at_end", False),
        "training.metric_for_best_model": settings.get("training.metric_for_best_model"),
        "training.save_strategy": settings.get("training.save_strategy") == "best",
    }
    for name, needs_rows in asked.items():
        if needs_rows:
            what = f"{said(settings.get(name))} needs rows to evaluate on, and none are held back"
            yield settings.problem(name, what, do)


def _best_model(settings: Settings) -> Iterator[Problem]:
    evaluate = settings.get("training.eval_strategy", "no")
    save = settings.get("training.save_strategy", "steps")
    metric = settings.get("training.metric_for_best_model")
    name = "training.load_best_model_at_end"
    if metric is not None and metric.removeprefix("eval_") not in _METRICS:
        do = did_you_mean(metric[:80], _METRICS) or f"write one of {', '.join(_METRICS)}"
        what = f"{said(metric)} is not measured"
        yield settings.problem("training.metric_for_best_model", what, do)
    if save == "best" and evaluate == "no":
        do = "set eval_strategy to steps or epoch"
        what = '"best" compares evaluations, and eval_strategy is no'
        yield settings.problem("training.save_strategy", what, do)
    if not settings.get(name, False) or save == "best":
        return
    if evaluate == "no" or evaluate != save:
        what = f"true needs equal strategies, but evaluates by {evaluate} and saves by {save}"
        yield settings.problem(name, what, "set eval_strategy and save_strategy to the same")
    elif evaluate == "steps":
        yield from _aligned(settings, name)


def _aligned(settings: Settings, name: str) -> Iterator[Problem]:
    every = settings.get("training.eval_steps", settings.get("training.logging_steps", 10))
    save = settings.get("training.save_steps", 500)
    scale = 1_000_000 if every < 1 and save < 1 else 1
    mixed = (every < 1) != (save < 1)
    if every > 0 and save > 0 and (mixed or round(save * scale) % round(every * scale or 1)):
        what = f"true needs save_steps ({save:g}) to be a multiple of eval_steps ({every:g})"
        yield settings.problem(name, what, f"set save_steps to {every:g}")


def _steps_and_epochs(settings: Settings) -> Iterator[Problem]:
    limit = settings.get("training.max_steps", -1)
    warmup = settings.get("training.warmup_steps", 0)
    if limit > 0 and warmup >= 1 and warmup >= limit:
        what = f"{warmup:g} steps of warm-up never end in {limit} steps"
        yield settings.problem("training.warmup_steps", what, "write a share of all steps: 0.03")
    if limit > 0 and settings.is_user("training.num_train_epochs"):
        what = f"has no effect: max_steps ({limit}) decides"
        yield settings.warning("training.num_train_epochs", what, "keep one of them")


def _precision(settings: Settings) -> Iterator[Problem]:
    if settings.get("training.fp16", False) and settings.get("training.bf16", False):
        do = "keep one of them, or neither: Tunery chooses for the card"
        yield settings.problem("training.fp16", "true together with bf16: true", do)


def _scheduler(settings: Settings) -> Iterator[Problem]:
    kind = settings.get("training.lr_scheduler_type", "linear")
    given = settings.get("training.lr_scheduler_kwargs", {})
    scheduler = installed().schedulers[kind]
    name = "training.lr_scheduler_kwargs"
    allowed = (*scheduler.required, *scheduler.optional)
    for key in given:
        if key not in allowed:
            do = did_you_mean(key[:80], allowed) or f"it takes {', '.join(allowed) or 'none'}"
            yield settings.problem(name, f"{said(key)} is no setting of {kind}", do)
    for key in scheduler.required:
        if key not in given:
            what = f"{kind} needs {key}"
            yield settings.problem(name, what, f"write lr_scheduler_kwargs: {{{key}: …}}")
    if kind.endswith("_with_min_lr") and not {"min_lr", "min_lr_rate"} & set(given):
        yield settings.problem(name, f"{kind} needs min_lr or min_lr_rate", "add one of them")
    evaluates = settings.get("training.eval_strategy", "no") != "no"
    if kind in ("reduce_lr_on_plateau", "greedy") and not evaluates:
        do = "set eval_strategy and DatasetConfig.train_test_split, or choose cosine"
        what = f"{said(kind)} follows evaluations, and eval_strategy is no"
        yield settings.problem("training.lr_scheduler_type", what, do)


def _optimizer(settings: Settings) -> Iterator[Problem]:
    kind = settings.get("training.optim")
    if kind in installed().absent_optimizers:
        do = "write adamw_torch_fused, or leave it out"
        yield settings.problem("training.optim", f"{said(kind)} is not in the image", do)
    arguments = settings.get("training.optim_args", "")
    if arguments and not all(part.count("=") == 1 for part in arguments.split(",")):
        what = f"{said(arguments)} is not of the form name=value,name=value"
        yield settings.problem("training.optim_args", what, "correct it")


def _packing(settings: Settings) -> Iterator[Problem]:
    packs = settings.get("training.packing", False)
    if settings.get("training.padding_free", False) and not packs:
        do = "write packing: true, which is free of padding too, or remove it"
        what = "true without packing would not cut rows at max_length"
        yield settings.problem("training.padding_free", what, do)
    if packs and settings.get("training.packing_strategy") == "wrapped":
        do = "leave it out"
        what = '"wrapped" lets rows in one sequence see each other'
        yield settings.warning("training.packing_strategy", what, do)
    if packs and settings.get("training.truncation_mode") == "keep_end":
        what = '"keep_end" has no effect: packing cuts rows at their end'
        yield settings.warning("training.truncation_mode", what, "write packing: false to use it")
    if packs and settings.get("training.train_sampling_strategy") == "group_by_length":
        what = "grouping by length has no effect: packed sequences are of one length"
        yield settings.warning("training.train_sampling_strategy", what, "remove it")


def _loading(settings: Settings) -> Iterator[Problem]:
    if settings.get("training.dataloader_num_workers", 0) > 0:
        return
    do = "set dataloader_num_workers to 1 or more, or remove it"
    for key in ("prefetch_factor", "persistent_workers", "multiprocessing_context"):
        name = f"training.dataloader_{key}"
        if settings.get(name):
            what = f"{said(settings.get(name))} needs worker processes"
            yield settings.problem(name, what, do)


def _checkpointing(settings: Settings) -> Iterator[Problem]:
    name = "training.activation_checkpointing_kwargs"
    for key, value in settings.get(name, {}).items():
        if key == "selective" and not value:
            continue
        if key not in _CHECKPOINTING:
            do = did_you_mean(key[:80], _CHECKPOINTING) or "remove it"
            yield settings.problem(name, f"{said(key)} is not supported", do)


def _reports(settings: Settings) -> Iterator[Problem]:
    given = settings.get("training.report_to", "none")
    asked = [name for name in ([given] if isinstance(given, str) else given) if name != "none"]
    if asked:
        what = f"{said(', '.join(asked))} is ignored: Tunery reports progress itself"
        yield settings.warning("training.report_to", what, "see docs/configuration.md")


def _text(settings: Settings) -> Iterator[Problem]:
    template = settings.get("model.chat_template")
    if template is not None and "{{" not in template and "{%" not in template:
        do = "put the text of a Jinja template here, not the path of a file"
        yield settings.problem("model.chat_template", f"{said(template)} is no template", do)
    for key in ("context_column", "response_column", "messages_column", "dataset_path"):
        if settings.get(f"dataset.{key}", "-").strip() == "":
            yield settings.problem(f"dataset.{key}", "is empty", "name it, or remove the key")
    path = settings.get("dataset.dataset_path", "")
    if ".." in path.split("/"):
        do = "name a file or folder inside the data"
        yield settings.problem("dataset.dataset_path", f"{said(path)} leaves the data", do)
    padding = settings.get("training.pad_to_multiple_of", 1)
    if padding != "auto" and (isinstance(padding, str) or padding < 1):
        what = f"{said(padding)} is no multiple"
        yield settings.problem("training.pad_to_multiple_of", what, "write 8, or remove it")


_RULES: tuple[Callable[[Settings], Iterator[Problem]], ...] = (
    _output_dir,
    _evaluation,
    _best_model,
    _steps_and_epochs,
    _precision,
    _scheduler,
    _optimizer,
    _packing,
    _loading,
    _checkpointing,
    _reports,
    _text,
)
