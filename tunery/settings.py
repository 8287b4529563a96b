"""Options that several words share, and what they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from jobs.validate import Context
from presets import Catalog, PresetError, load
from tunery.documents import Manifests
from tuning.failure import Failure, Kind


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """--presets, --allow-host, --byo: what the rules need to know of the installation."""
    parser.add_argument(
        "--presets",
        action="append",
        default=[],
        metavar="FILE",
        help="more presets or instance types, in the form of presets/models.yaml and gpus.yaml",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="a private host or network (minio.storage.svc, 10.0.0.0/8) that data may come from",
    )
    parser.add_argument(
        "--byo",
        action="store_true",
        help="the cluster does not provision nodes: instanceType must be empty",
    )


def catalog(arguments: argparse.Namespace) -> Catalog:
    """The shipped catalog and the user's files. Raises Failure for a file that is wrong."""
    try:
        return load([Path(p) for p in arguments.presets])
    except PresetError as error:
        sentence = "\n".join(problem.line() for problem in error.problems)
        raise Failure(Kind.BAD_CONFIG, sentence) from error


def context(
    arguments: argparse.Namespace,
    known: Catalog,
    config_maps: Mapping[tuple[str, str], Mapping[str, str]] | None,
) -> Context:
    return Context(
        catalog=known,
        config_maps=config_maps,
        auto_provisioning=not arguments.byo,
        allow_hosts=tuple(arguments.allow_host),
    )


def visible_config_maps(
    manifests: Manifests, namespace: str, name: str | None
) -> Mapping[tuple[str, str], Mapping[str, str]] | None:
    """The ConfigMaps of the files, or None when the one that is named is not among them.

    It may well be in the cluster: None makes its absence a warning instead of an error.
    """
    if name is None or (namespace, name) in manifests.config_maps:
        return manifests.config_maps
    return None
