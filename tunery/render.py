"""`tunery render FILE…`: the Kubernetes objects of Workspaces, as the operator would make them.

The operator's own function, asked about a cluster whose nodes are ready. Exit 0 or 78. No network.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from jobs.conditions import Reason
from jobs.decide import decide
from jobs.decision import Apply
from jobs.installation import Installation
from jobs.nodes import labels_of
from jobs.seen import Node, Seen, Tuned
from jobs.workspace import Workspace, parse
from presets import Catalog
from presets.problem import Problem, errors
from tunery import output, settings, validate
from tunery.documents import Found, Manifests, read
from tuning.failure import Kind

_TUNER = "tunery/tuner"
_WORK = ("Job", "StatefulSet")
_WIDE = 1000
_NOW = "1970-01-01T00:00:00Z"  # stands in the status, which is not printed

Body = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML files; - is standard input")
    parser.add_argument(
        "--namespace", metavar="NAME", help="of documents that name none (default: default)"
    )
    parser.add_argument(
        "--tuner-image", default=_TUNER, metavar="IMAGE", help=f"the pods' image ({_TUNER})"
    )
    settings.add_catalog(parser)


def call(arguments: argparse.Namespace) -> int:
    known = settings.catalog(arguments)
    manifests = _placed(read(arguments.files), arguments.namespace)
    found = list(manifests.problems)
    objects: list[Any] = []
    for file, body in manifests.workspaces:
        problems = validate.problems_of(body, {}, manifests, known, arguments)
        if not errors(problems):
            made, more = _objects(body, manifests, known, _installation(arguments))
            objects += made
            problems += more
        found += [Found(file, problem) for problem in problems]
    return _report(arguments, objects, found)


def _installation(arguments: argparse.Namespace) -> Installation:
    return Installation(
        tuner_image=arguments.tuner_image,
        auto_provisioning=not arguments.byo,
        allow_hosts=tuple(arguments.allow_host),
    )


def _objects(
    body: Body, manifests: Manifests, known: Catalog, installation: Installation
) -> tuple[list[Body], tuple[Problem, ...]]:
    """What the operator applies, in its order, or the reason why it would not."""
    workspace, _ = parse(body)
    if workspace is None:
        return [], ()
    nodes = (_node(workspace, known, installation),) * workspace.resource.count
    seen = Seen(nodes=nodes, config_maps=_visible(workspace, manifests), tuned=_tuned(manifests))
    decision = decide(body, seen, {}, installation, known, _NOW)
    objects = [action.object for action in decision.actions if isinstance(action, Apply)]
    if any(found["kind"] in _WORK for found in objects):
        return objects, ()
    told = {c["type"]: c for c in (decision.status or {}).get("conditions", ())}
    why = told.get("InferenceReady" if workspace.inference else "JobStarted", {})
    # What a tuning Workspace makes is known only in a cluster.
    later = why.get("reason") in (Reason.ADAPTER, Reason.ADAPTER_WAITS)
    message = str(why.get("message", "nothing would be made"))
    return [], (Problem("", message, warning=later),)


def _node(workspace: Workspace, known: Catalog, installation: Installation) -> Node:
    """One that fits: of the instance type or, where nodes are brought, with one unknown card."""
    gpu = known.gpu(workspace.resource.instance_type or "")
    labels = labels_of(workspace, installation)
    return Node("any", ready=True, labels=labels, gpus=gpu.count if gpu else 1)


def _visible(
    workspace: Workspace, manifests: Manifests
) -> Mapping[tuple[str, str], Mapping[str, str]] | None:
    part = workspace.tuning or workspace.inference
    config = part.config if part else None
    return settings.visible_config_maps(manifests, workspace.namespace, config)


def _tuned(manifests: Manifests) -> Mapping[tuple[str, str], Tuned]:
    """The Workspaces of the files, as one that serves their adapters would find them at first."""
    read = (parse(body)[0] for _, body in manifests.workspaces)
    return {(w.namespace, w.name): Tuned(tunes=w.tuning is not None) for w in read if w}


def _placed(manifests: Manifests, namespace: str | None) -> Manifests:
    """As `kubectl -n NAMESPACE apply` would place them."""
    if namespace is None:
        return manifests
    maps = {
        (namespace if space == "default" else space, name): data
        for (space, name), data in manifests.config_maps.items()
    }
    workspaces = tuple((file, _in(body, namespace)) for file, body in manifests.workspaces)
    return dataclasses.replace(manifests, workspaces=workspaces, config_maps=maps)


def _in(body: Body, namespace: str) -> Body:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("namespace"):
        return body
    return {**body, "metadata": {**metadata, "namespace": namespace}}


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: long texts as blocks, nothing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _report(arguments: argparse.Namespace, objects: list[Any], found: list[Found]) -> int:
    refused = errors(f.problem for f in found)
    output.tell_problems(found)
    if refused:
        return Kind.BAD_CONFIG.exit_code
    if arguments.json:
        output.say_json({"apiVersion": "v1", "kind": "List", "items": objects})
    else:
        output.say("---\n".join(_documents(objects)).rstrip("\n"))
    return 0


def _documents(objects: list[Any]) -> Iterator[str]:
    for found in objects:
        yield yaml.dump(found, Dumper=_Dumper, sort_keys=False, width=_WIDE, allow_unicode=True)
