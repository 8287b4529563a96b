"""`tunery push DIR WHERE`: an adapter folder → an image in a registry or an OCI layout.

For adapters that were trained elsewhere, too: what the folder says of itself becomes provenance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tunery import images, output
from tunery.plan import output_of
from tuning.failure import Failure, Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with an adapter")
    parser.add_argument("where", metavar="WHERE", help="host/name:tag, or oci:DIR")
    images.add_arguments(parser)
    parser.add_argument(
        "--no-overwrite", action="store_true", help="refuse a tag that holds another adapter"
    )


def call(arguments: argparse.Namespace) -> int:
    from tuning.images import oci
    from tuning.images.foreign import provenance_of
    from tuning.push import to_disk, to_registry

    where = output_of(arguments.where, arguments.insecure)
    if where.kind == "folder":
        sentence = f"{arguments.where} names no registry; write host/name:tag or oci:DIR"
        raise Failure(Kind.BAD_CONFIG, sentence)
    where = where.model_copy(update={"overwrite": not arguments.no_overwrite})
    image = oci.build(arguments.folder, provenance_of(arguments.folder))
    if where.kind == "layout":
        pushed = to_disk(image, arguments.folder, where)
    else:
        client = images.client(arguments, images.reference_of(where.target))
        pushed = to_registry(image, where, client)
    if arguments.json:
        output.say_json(pushed.model_dump())
    else:
        output.say(pushed.pinned + (" (was there already)" if pushed.already_there else ""))
    return 0
