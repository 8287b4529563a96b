"""`tunery WORD …`: parse the words, call the one asked for, turn failures into exit codes.

The outermost boundary of the command line: nothing below it exits, nothing above it exists. Each
word lives in its own file, imported only when asked for, so that `validate` never pays for torch.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from tuning.failure import Failure, Kind
from tuning.quiet import quiet

_WORDS = {
    "validate": "every problem of Workspaces and their ConfigMaps, without a network",
    "render": "the Kubernetes objects of Workspaces, as the operator makes them",
    "check": "all that can be known before training; trains nothing",
    "run": "tune on this machine: data, training, adapter image",
    "push": "push an adapter folder to a registry or an OCI layout",
    "pull": "pull an adapter image into a folder, verified",
    "inspect": "what an adapter is: provenance, digest, base model, metrics",
    "ask": "ask the base model and the adapter the same question",
}


_SUMMARY = "Fine-tune a language model from one YAML, and get an adapter you can trust."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one word; returns the exit code (tuning/failure.py; 2 for a misspelt command)."""
    quiet()
    arguments = _parser(sys.argv[1:] if argv is None else argv)
    try:
        return int(arguments.call(arguments))
    except Failure as failure:
        sys.stderr.write(f"tunery: {failure.sentence}\n")
        return failure.kind.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("tunery: interrupted\n")
        return Kind.INTERRUPTED.exit_code
    except BrokenPipeError:
        # Whoever read us has gone (`tunery … | head`); say nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tunery", description=_SUMMARY)
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    asked = next((a for a in argv if a in _WORDS), None)
    for word, summary in _WORDS.items():
        sub = words.add_parser(word, help=summary, description=summary[0].upper() + summary[1:])
        if word == asked:
            module = _imported(f"tunery.{word}")
            module.add_arguments(sub)
            sub.set_defaults(call=module.call)
        sub.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args(argv)


def _imported(name: str) -> ModuleType:
    """Import without looking for garbage, then or later: what a module makes stays."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
