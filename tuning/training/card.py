"""The model card: README.md of the adapter folder, from the record alone. Pure.

Nothing in it depends on when or where the run ran, so that equal runs give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from presets.problem import printable
from tuning.result import Record

_SHOWN = (
    ("training.learning_rate", "learning rate"),
    ("training.lr_scheduler_type", "schedule"),
    ("training.num_train_epochs", "epochs asked"),
    ("training.per_device_train_batch_size", "batch size"),
    ("training.gradient_accumulation_steps", "gradient accumulation"),
    ("training.max_length", "max length"),
    ("training.packing", "packing"),
    ("lora.r", "rank"),
    ("lora.lora_alpha", "alpha"),
    ("lora.lora_dropout", "dropout"),
)


def readme(record: Record, targets: Sequence[str]) -> str:
    """The whole file, in Markdown with the hub's YAML header."""
    return "\n".join(
        [
            *_header(record),
            f"# LoRA adapter for {_cell(record.base_model)}",
            "",
            f"Trained by Tunery with {_method(record)} on {record.rows} rows"
            f"{f' of `{_cell(record.data)}`' if record.data else ''}. It holds only the adapter;"
            " the base model is loaded beside it.",
            "",
            "![loss curve](loss.svg)",
            "",
            "## Metrics",
            "",
            *_table(_metrics(record)),
            "",
            "## Settings",
            "",
            *_table(_settings(record, targets)),
            "",
            "## Use",
            "",
            *_usage(record),
            "",
            "## Provenance",
            "",
            *_table(_provenance(record)),
            "",
        ]
    )


def _header(record: Record) -> list[str]:
    return [
        "---",
        f"base_model: {json.dumps(record.base_model)}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags: [lora, tunery]",
        "---",
        "",
    ]


def _method(record: Record) -> str:
    return "QLoRA (4-bit base)" if record.method == "qlora" else "LoRA"


def _metrics(record: Record) -> Iterable[tuple[str, str]]:
    yield "steps", str(record.steps)
    yield "epochs", f"{record.epochs:g}"
    yield "tokens seen", f"{record.tokens:,}"
    yield "tokens with loss", f"{record.tokens_with_loss:,}"
    yield "loss, mean of all steps", f"{record.train_loss:.4f}"
    yield "loss, last twentieth", f"{record.final_loss:.4f}"
    if record.eval_loss is not None:
        yield f"loss on {record.eval_rows} evaluation rows", f"{record.eval_loss:.4f}"


def _settings(record: Record, targets: Sequence[str]) -> Iterable[tuple[str, str]]:
    for path, label in _SHOWN:
        section, name = path.split(".")
        value = record.settings.get(section, {}).get(name)
        if value is not None:
            yield label, str(value)
    yield "adapted layers", ", ".join(targets)
    yield "trainable parameters", f"{record.trainable_parameters:,}"
    yield "base precision", "4-bit NF4" if record.method == "qlora" else record.dtype
    yield "seed", str(record.seed)


def _provenance(record: Record) -> Iterable[tuple[str, str]]:
    yield "base model", f"{record.base_model} @ {record.revision or 'unpinned'}"
    yield "training rows, sha256", record.data_sha256
    yield "run", record.identity
    yield from sorted(record.versions.items())


def _usage(record: Record) -> list[str]:
    base = json.dumps(record.base_model)
    revision = f", revision={json.dumps(record.revision)}" if record.revision else ""
    return [
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"base = AutoModelForCausalLM.from_pretrained({base}{revision})",
        f"tokenizer = AutoTokenizer.from_pretrained({base}{revision})",
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
        "```",
    ]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {_cell(k)} | {_cell(v)} |" for k, v in rows)]


def _cell(text: str) -> str:
    """One table cell: no line break, no column break, no markup of the user's."""
    return printable(text).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
