"""`tunery inspect REF`: what an adapter is, without pulling its weights."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunery import output, show
from tunery.images import reference_of

if TYPE_CHECKING:
    from tuning.provenance import Provenance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="host/name:tag, host/name@sha256:…, or oci:DIR")
    parser.add_argument("--insecure", action="store_true", help="the registry speaks plain http")


def call(arguments: argparse.Namespace) -> int:
    from tuning import layout, provenance
    from tuning.credentials import Credentials
    from tuning.registry import Registry

    if arguments.ref.startswith("oci:"):
        seen = layout.inspect(Path(arguments.ref.removeprefix("oci:")))
    else:
        reference = reference_of(arguments.ref)
        with Registry(Credentials.of_user(os.environ), insecure=arguments.insecure) as client:
            seen = client.inspect(reference)
    facts = provenance.read(seen.annotations)
    if arguments.json:
        output.say_json(
            {"digest": seen.digest, "size_bytes": seen.size_bytes, **facts.model_dump()}
        )
        return 0
    output.say(f"{arguments.ref}")
    rows = [("digest", seen.digest), ("size", f"{seen.size_bytes / 1e6:,.1f} MB"), *_rows(facts)]
    for line in show.table(rows):
        output.say(line)
    return 0


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
