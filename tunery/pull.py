"""`tunery pull REF DIR`: an adapter image → a folder, every digest verified."""

from __future__ import annotations

import argparse
from pathlib import Path

from tunery import images, output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="host/name:tag, host/name@sha256:…, or oci:DIR")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the adapter goes")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    from tuning.images import layout

    if arguments.ref.startswith("oci:"):
        found = layout.pull(Path(arguments.ref.removeprefix("oci:")), arguments.folder)
    else:
        reference = images.reference_of(arguments.ref)
        found = images.client(arguments, reference).pull(reference, arguments.folder)
    digest = found.digest
    if arguments.json:
        output.say_json({"folder": str(arguments.folder), "digest": digest})
    else:
        output.say(f"{arguments.folder}  {digest}")
    return 0
