"""`tunery ask WHAT "PROMPT"`: base and adapter answer side by side, for eyes.

WHAT is the Workspace's file after `tunery run`, an adapter folder, or an image.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunery import images, output
from tunery.machine import here
from tuning.failure import Failure, Kind


@dataclass(frozen=True, slots=True)
class Pair:
    """An adapter folder and the folder (or hub id) of the model under it."""

    adapter: Path
    base: str
    revision: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="FILE|DIR|REF", help="a Workspace that ran, or an adapter")
    parser.add_argument("prompt", metavar="PROMPT")
    parser.add_argument("--model", metavar="PATH", help="the base model's folder")
    parser.add_argument("--work", metavar="DIR", type=Path, help="the work folder of `tunery run`")
    parser.add_argument("--max-tokens", type=int, default=100, metavar="N")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    from tuning.answer import answers

    with _pair(arguments) as pair:
        gpu = here().hardware.gpus > 0
        base, adapter = answers(
            pair.base, pair.revision, pair.adapter, arguments.prompt, arguments.max_tokens, gpu
        )
    if arguments.json:
        output.say_json({"prompt": arguments.prompt, "base": base, "adapter": adapter})
        return 0
    output.say(f"prompt   {arguments.prompt}")
    output.say(f"base     {base}")
    output.say(f"adapter  {adapter}")
    return 0


@contextmanager
def _pair(arguments: argparse.Namespace) -> Iterator[Pair]:
    what = Path(arguments.what)
    if what.is_file():
        yield _of_workspace(what, arguments)
    elif what.is_dir():
        yield _of_folder(what, arguments.model)
    elif arguments.what.endswith((".yaml", ".yml")) or arguments.what.startswith((".", "/")):
        raise Failure(Kind.BAD_CONFIG, f"{arguments.what}: no such file or folder")
    else:
        with tempfile.TemporaryDirectory(prefix="tunery-ask-") as folder:
            target = Path(folder) / "adapter"
            _pull(arguments, target)
            yield _of_folder(target, arguments.model)


def _of_workspace(file: Path, arguments: argparse.Namespace) -> Pair:
    """What `tunery run` of this file left in its work folder."""
    from tunery.documents import read
    from tuning import prepared, run

    manifests = read([str(file)])
    names = [str(body.get("metadata", {}).get("name")) for _, body in manifests.workspaces]
    work = arguments.work or (Path("out") / names[0] if names else None)
    if work is None or not (work / "run.json").is_file():
        sentence = f"{file} has not been run here; run `tunery run {file}` first or give --work"
        raise Failure(Kind.BAD_CONFIG, sentence)
    done = run.read(work / "run.json")
    if not done.places.adapter_dir.is_dir():
        raise Failure(Kind.BAD_CONFIG, f"{work} has no finished adapter yet; run it to its end")
    return Pair(done.places.adapter_dir, arguments.model or prepared.read(done).model_folder)


def _of_folder(folder: Path, model: str | None) -> Pair:
    from tuning.images.foreign import provenance_of

    if model is not None:
        return Pair(folder, model)
    facts = provenance_of(folder)
    if not facts.base_model:
        sentence = f"{folder} does not name its base model; give it with --model"
        raise Failure(Kind.BAD_CONFIG, sentence)
    return Pair(folder, facts.base_model, facts.base_revision or None)


def _pull(arguments: argparse.Namespace, target: Path) -> None:
    reference = images.reference_of(arguments.what)
    images.client(arguments, reference).pull(reference, target)
