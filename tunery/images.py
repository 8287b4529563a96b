"""What push, pull, inspect and ask share: how people name images and registries."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.failure import Failure, Kind
from tuning.reference import Reference, parse

if TYPE_CHECKING:
    from tuning.images.connection import Options
    from tuning.images.registry import Registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to reach the registry."""
    parser.add_argument("--insecure", action="store_true", help="the registry speaks plain http")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="the registry's own CA, in PEM")


def reference_of(text: str) -> Reference:
    """Raises Failure (BAD_CONFIG) with what is wrong with the reference."""
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(Kind.BAD_CONFIG, f"{text}: {error}") from error


def client(arguments: argparse.Namespace, reference: Reference) -> Registry:
    """A client for this registry, with the logins that `docker login` left."""
    from tuning.images.credentials import Credentials
    from tuning.images.registry import Registry

    return Registry(Credentials.of_user(os.environ), options(arguments, reference))


def options(arguments: argparse.Namespace, reference: Reference) -> Options:
    """What the shell says (proxies, CA), then what the command says. A person is waiting."""
    from tuning.images.connection import from_environment
    from tuning.retry import Patience

    found = from_environment(os.environ)
    hosts = frozenset({reference.registry}) if arguments.insecure else frozenset()
    return replace(
        found,
        insecure_hosts=hosts,
        ca_file=arguments.ca or found.ca_file,
        patience=Patience(deadline_s=10),
    )
