"""`tunery validate FILE…`: every problem, one a line. Exit 0 or 78. No network, no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from jobs.validate import Context, validate_create, validate_update
from jobs.workspace import Workspace, parse
from presets import Catalog
from presets.problem import Problem, errors
from tunery import output, settings
from tunery.documents import Found, Manifests, read
from tuning.failure import Kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML files; - is standard input")
    parser.add_argument(
        "--old",
        metavar="FILE",
        help="the Workspaces as they are now: also check that the change is allowed",
    )
    settings.add_catalog(parser)


def call(arguments: argparse.Namespace) -> int:
    known = settings.catalog(arguments)
    manifests = read(arguments.files)
    old = _by_name(read([arguments.old])) if arguments.old else {}
    found = list(manifests.problems)
    for file, body in manifests.workspaces:
        found += [Found(file, p) for p in problems_of(body, old, manifests, known, arguments)]
    return _report(arguments, manifests, found)


def problems_of(
    body: Mapping[str, Any],
    old: Mapping[tuple[str, str], Workspace],
    manifests: Manifests,
    known: Catalog,
    arguments: argparse.Namespace,
) -> tuple[Problem, ...]:
    """Everything wrong with one Workspace; `old` holds those that exist, by namespace and name."""
    workspace, problems = parse(body)
    if workspace is None:
        return problems
    context = _context(workspace, manifests, known, arguments)
    before = old.get((workspace.namespace, workspace.name))
    if before is not None:
        return problems + validate_update(before, workspace, context)
    return problems + validate_create(workspace, context)


def _context(
    workspace: Workspace, manifests: Manifests, known: Catalog, arguments: argparse.Namespace
) -> Context:
    part = workspace.tuning or workspace.inference
    name = part.config if part else None
    maps = settings.visible_config_maps(manifests, workspace.namespace, name)
    return settings.context(arguments, known, maps)


def _by_name(manifests: Manifests) -> dict[tuple[str, str], Workspace]:
    parsed = (parse(body)[0] for _, body in manifests.workspaces)
    return {(w.namespace, w.name): w for w in parsed if w is not None}


def _report(arguments: argparse.Namespace, manifests: Manifests, found: list[Found]) -> int:
    refused = errors(f.problem for f in found)
    if arguments.json:
        output.say_json({"valid": not refused, "problems": output.problems_json(found)})
    else:
        for f in found:
            output.say(f.line())
        if not refused:
            count = len(manifests.workspaces)
            output.say(f"{count} Workspace{'s' if count != 1 else ''} valid")
    return Kind.BAD_CONFIG.exit_code if refused else 0
