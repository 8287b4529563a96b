"""`prepare`: all that can fail cheaply, before a GPU second is spent.

First word of the pod (its init container) and of `tunery run` and `check`: pre-flight of the push,
the base model's files, the data, every row, the number of steps. Leaves prepared.json, last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tuning import data, folder, prepared, steps, weights
from tuning.dataset import sources, tokenizer
from tuning.dataset.fetch import Fetched
from tuning.dataset.tokens import encoded_rows
from tuning.images import preflight, unpack
from tuning.images.credentials import Credentials
from tuning.images.registry import Registry
from tuning.prepared import Prepared
from tuning.progress import Quarters, Rows
from tuning.push import credentials, only_push_is_left, options
from tuning.reference import parse
from tuning.run import Run
from tuning.stop import Stop

Note = Callable[[str], None]


def prepare(
    run: Run, stop: Stop, note: Note, *, push_checked: bool = True, with_weights: bool = True
) -> Prepared:
    """Check and fetch everything a run needs; without weights, all but them.

    Raises Failure: NO_ACCESS (registry, hub, data), BAD_DATA, BAD_CONFIG, UNAVAILABLE.
    """
    if push_checked and run.output.kind == "folder":
        folder.require_writable(Path(run.output.target))
    run.places.work_dir.mkdir(parents=True, exist_ok=True)
    if push_checked and run.output.kind == "image":
        note(f"may push to {run.output.target}: {check_push(run)}")
    if only_push_is_left(run):
        note("this run has finished already; only the push is left")
        return prepared.read(run)
    stop.check("before the download")
    found = weights.obtain(run, note, only_tokenizer=not with_weights)
    files = sources.gather(
        run.data,
        run.config.dataset,
        run.places.data_dir,
        Quarters(note, "fetched"),
        pull_image=lambda image, folder: _pull(run, image, folder),
        token=weights.token_of(run.places),
    )
    stop.check("before the rows were checked")
    known = _known(run, found, files)
    if known is not None:
        note("the rows are as they were checked before")
        return known
    words = tokenizer.load_tokenizer(found.folder, run.config.model.chat_template)
    report = data.prepare_rows(run, files, words, Rows(note))
    ready = _planned(run, found, words, report)
    prepared.write(ready, run.places.prepared_file)
    return ready


def _known(run: Run, found: weights.Weights, files: Sequence[Fetched]) -> Prepared | None:
    """What was prepared before, if model, data and rows are still those."""
    before = prepared.read_if_any(run)
    if before is None or before.model_revision != found.revision:
        return None
    same_data = sorted(f.sha256 for f in before.report.files) == sorted(f.sha256 for f in files)
    rows = (
        (run.places.rows_file, before.report.rows_digest),
        (run.places.eval_rows_file, before.report.eval_rows_digest),
    )
    same_rows = all(_sha256(path) == digest for path, digest in rows)
    return before if same_data and same_rows and before.model_folder == str(found.folder) else None


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_push(run: Run) -> str:
    """One phrase on what the registry said. Raises Failure when it will not take the adapter."""
    access = preflight.check_push(
        parse(run.output.target), credentials(run), options(run), run.output.overwrite
    )
    who = f"as {access.user}" if access.user else "without a login"
    there = "a tag that exists" if access.existing_digest else "a new tag"
    return f"{who}, {there}"


def _planned(run: Run, found: weights.Weights, words: object, report: data.DataReport) -> Prepared:
    training = run.config.training
    lengths = [
        len(example.input_ids) for example in encoded_rows(run.places.rows_file, words, training)
    ]
    plan = steps.schedule(lengths, run.config, run.hardware.gpus)
    noticed = [p.line() for p in steps.warnings(plan, run.config)]
    return Prepared(
        identity=run.identity(),
        model_folder=str(found.folder),
        model_revision=found.revision,
        report=report,
        sequences=plan.sequences,
        steps=plan.steps,
        tokens=plan.tokens,
        warnings=(*report.warnings, *noticed),
    )


def _pull(run: Run, image: str, folder: Path) -> None:
    client = Registry(Credentials.load(run.places.pull_auth), options(run))
    client.pull(parse(image), folder, unpack.DATA_FILES)
