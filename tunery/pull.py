"""`tunery pull REF DIR`: an adapter image → a folder, every digest verified."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tunery import output
from tunery.images import reference_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="host/name:tag, host/name@sha256:…, or oci:DIR")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where the adapter goes")
    parser.add_argument("--insecure", action="store_true", help="the registry speaks plain http")


def call(arguments: argparse.Namespace) -> int:
    from tuning import layout
    from tuning.credentials import Credentials
    from tuning.registry import Registry

    if arguments.ref.startswith("oci:"):
        digest = layout.unpack(Path(arguments.ref.removeprefix("oci:")), arguments.folder)
    else:
        reference = reference_of(arguments.ref)
        with Registry(Credentials.of_user(os.environ), insecure=arguments.insecure) as client:
            digest = client.pull(reference, arguments.folder)
    if arguments.json:
        output.say_json({"folder": str(arguments.folder), "digest": digest})
    else:
        output.say(f"{arguments.folder}  {digest}")
    return 0
