"""`tunery push DIR WHERE`: an adapter folder → an image in a registry or an OCI layout.

For adapters that were trained elsewhere, too: what the folder says of itself becomes provenance.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tunery import output
from tunery.plan import output_of
from tuning.failure import Failure, Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder with an adapter")
    parser.add_argument("where", metavar="WHERE", help="host/name:tag, or oci:DIR")
    parser.add_argument("--insecure", action="store_true", help="the registry speaks plain http")
    parser.add_argument(
        "--no-overwrite", action="store_true", help="refuse a tag that holds another adapter"
    )


def call(arguments: argparse.Namespace) -> int:
    from tuning import oci
    from tuning.credentials import Credentials
    from tuning.foreign import provenance_of
    from tuning.push import publish

    where = output_of(arguments.where, arguments.insecure)
    if where.kind == "folder":
        sentence = f"{arguments.where} names no registry; write host/name:tag or oci:DIR"
        raise Failure(Kind.BAD_CONFIG, sentence)
    where = where.model_copy(update={"overwrite": not arguments.no_overwrite})
    image = oci.build(arguments.folder, provenance_of(arguments.folder))
    pushed = publish(image, arguments.folder, where, Credentials.of_user(os.environ))
    if arguments.json:
        output.say_json(pushed.model_dump())
    else:
        output.say(pushed.pinned + (" (was there already)" if pushed.already_there else ""))
    return 0
