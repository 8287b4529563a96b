"""`tunery inspect REF`: what an adapter is, without pulling its weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunery import images, output, show

if TYPE_CHECKING:
    from tuning.images.manifest import Manifest
    from tuning.images.provenance import Provenance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="host/name:tag, host/name@sha256:…, or oci:DIR")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    manifest, facts = _look(arguments)
    if arguments.json:
        facts_json = facts.model_dump(mode="json")
        output.say_json(
            {"digest": manifest.digest, "size_bytes": manifest.size_bytes, **facts_json}
        )
        return 0
    output.say(f"{arguments.ref}")
    size = f"{manifest.size_bytes / 1e6:,.1f} MB"
    rows = [("digest", manifest.digest), ("size", size), *_rows(facts)]
    for line in show.table(rows):
        output.say(line)
    return 0


def _look(arguments: argparse.Namespace) -> tuple[Manifest, Provenance]:
    from tuning.images import layout, provenance

    if arguments.ref.startswith("oci:"):
        folder = Path(arguments.ref.removeprefix("oci:"))
        manifest = layout.read(folder)
        labels = layout.labels(folder, manifest)
        return manifest, provenance.read({**labels, **manifest.annotations})
    reference = images.reference_of(arguments.ref)
    seen = images.client(arguments, reference).inspect(reference)
    return seen.manifest, seen.provenance


def _rows(facts: Provenance) -> Iterator[tuple[str, str]]:
    """What is known, in the order people ask."""
    named = {
        "base model": facts.base_model,
        "revision": facts.base_revision,
        "preset": facts.preset,
        "method": facts.method,
        "rank, alpha": _pair(facts.rank, facts.alpha),
        "data": facts.dataset,
        "data digest": facts.dataset_digest,
        "config digest": facts.config_digest,
        "seed": facts.seed,
        "steps": facts.steps,
        "final loss": facts.final_loss,
        "eval loss": facts.eval_loss,
        "licence": facts.licenses,
        **{f"  {name}": version for name, version in sorted(facts.versions.items())},
    }
    yield from ((name, str(value)) for name, value in named.items() if value not in (None, ""))


def _pair(rank: int | None, alpha: float | None) -> str:
    return "" if rank is None else f"{rank}, {'' if alpha is None else f'{alpha:g}'}"
