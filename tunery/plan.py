"""FILE → one valid tuning Workspace → its Run. What `check` and `run` do before anything else."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.memory import Plan
from jobs.resolve import Site, resolve
from jobs.validate import validate_create
from jobs.workspace import Workspace, parse
from presets import Architecture, Catalog
from presets.problem import Problem, errors
from tunery import architecture, images, output, settings
from tunery.documents import Found, Manifests, read
from tunery.machine import Machine
from tuning.failure import Failure, Kind
from tuning.reference import parse as parse_reference
from tuning.run import Output, Places, Run

_WORK = Path("out")


@dataclass(frozen=True, slots=True)
class Planned:
    """A file's tuning Workspace, resolved."""

    run: Run
    memory: Plan | None
    warnings: tuple[Found, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a YAML file with a tuning Workspace")
    parser.add_argument("--name", help="which Workspace, when the file holds several")
    parser.add_argument("--work", metavar="DIR", type=Path, help="work folder (default: out/NAME)")
    parser.add_argument(
        "--output",
        metavar="WHERE",
        help="image reference (host/name:tag), oci:DIR for an OCI layout, or a folder",
    )
    parser.add_argument(
        "--data", metavar="PATH", help="a file or folder instead of the Workspace's input"
    )
    parser.add_argument(
        "--model", metavar="PATH", type=Path, help="a folder with the base model's weights"
    )
    images.add_arguments(parser)
    settings.add_catalog(parser)


def plan(arguments: argparse.Namespace, machine: Machine | None) -> Planned:
    """Read, validate and resolve. Problems are told; Failure (BAD_CONFIG) when one refuses.

    `machine` None plans for the Workspace's instance type.
    """
    manifests = read([arguments.file])
    _stop_if_refused(manifests.problems)
    workspace, problems = _chosen(manifests, arguments)
    if workspace is None:
        raise _refused([Found(arguments.file, p) for p in problems])
    known = settings.catalog(arguments)
    context = settings.context(arguments, known, manifests.config_maps)
    problems += validate_create(workspace, context)
    _stop_if_refused([Found(arguments.file, p) for p in problems])
    resolution = resolve(workspace, context, _site(arguments, workspace, known, machine))
    seen = {p.line() for p in problems}
    problems += tuple(p for p in resolution.problems if p.line() not in seen)
    found = tuple(Found(arguments.file, p) for p in problems)
    if resolution.run is None:
        raise _refused(found)
    return Planned(resolution.run, resolution.plan, found)


def _chosen(
    manifests: Manifests, arguments: argparse.Namespace
) -> tuple[Workspace | None, tuple[Problem, ...]]:
    """The one tuning Workspace that is meant, or why there is none."""
    parsed = [parse(body) for _, body in manifests.workspaces]
    wanted = [entry for entry in parsed if _is_meant(entry[0], arguments.name)]
    if len(wanted) == 1:
        return wanted[0]
    names = ", ".join(w.name for w, _ in parsed if w is not None and w.tuning is not None)
    if not wanted:
        what = f"no tuning Workspace {arguments.name or ''}".rstrip()
        return None, (Problem("", what, f"it holds: {names or 'none'}"),)
    return None, (Problem("", f"{len(wanted)} tuning Workspaces", f"choose with --name: {names}"),)


def _is_meant(workspace: Workspace | None, name: str | None) -> bool:
    """One that cannot be read may be the one that is meant: its problems must be told."""
    if workspace is None:
        return True
    return workspace.name == name if name else workspace.tuning is not None


def _stop_if_refused(found: Sequence[Found]) -> None:
    if errors(f.problem for f in found):
        raise _refused(found)


def _refused(found: Sequence[Found]) -> Failure:
    """Tells every problem; the failure to raise."""
    output.tell_problems(found)
    count = len(errors(f.problem for f in found))
    sentence = f"refused: {count} problem{'s' if count > 1 else ''}, nothing was started"
    return Failure(Kind.BAD_CONFIG, sentence)


def _site(
    arguments: argparse.Namespace,
    workspace: Workspace,
    known: Catalog,
    machine: Machine | None,
) -> Site:
    work = (arguments.work or _WORK / workspace.name).absolute()
    places = Places(
        work=str(work),
        hub_token=_user_token(),
        registry_ca=str(arguments.ca.absolute()) if arguments.ca else None,
    )
    return Site(
        places=places,
        gpu=machine.gpu if machine else None,
        hardware=machine.hardware if machine else None,
        architecture=_architecture(arguments, workspace, known, places),
        model_path=str(arguments.model.absolute()) if arguments.model else None,
        data_path=_data(arguments.data),
        output=output_of(arguments.output, arguments.insecure) if arguments.output else None,
        insecure_registry=arguments.insecure,
    )


def _architecture(
    arguments: argparse.Namespace, workspace: Workspace, known: Catalog, places: Places
) -> Architecture | None:
    """Of the model at hand, else of the hub's; None leaves it to the preset."""
    if arguments.model is not None:
        return architecture.of_folder(arguments.model)
    named = workspace.tuning.preset if workspace.tuning else None
    if named is None or getattr(arguments, "no_data", False):
        return None
    return architecture.of_hub(known.preset(named.name), places)


def _data(data: str | None) -> str | None:
    if data is None:
        return None
    if not Path(data).exists():
        raise Failure(Kind.BAD_CONFIG, f"--data {data}: no such file or folder")
    return str(Path(data).absolute())


def _user_token() -> str | None:
    """Where `hf auth login` keeps the token, if there is one."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    file = Path(home) / "token"
    return str(file) if file.is_file() else None


def output_of(text: str, insecure: bool = False) -> Output:
    """`oci:DIR`, `host/name:tag` or a folder. Raises Failure for a reference that is malformed.

    A reference must name its registry's host (`docker.io/me/adapter`); a bare `me/adapter` is a
    folder: nothing is ever sent to a public registry by accident.
    """
    if text.startswith("oci:"):
        return Output(kind="layout", target=str(Path(text.removeprefix("oci:")).absolute()))
    host, slash, _ = text.partition("/")
    named = (
        slash and host not in (".", "..", "~") and (host == "localhost" or set(host) & set(".:"))
    )
    if not named:
        return Output(kind="folder", target=str(Path(text).expanduser().absolute()))
    try:
        parse_reference(text)
    except ValueError as error:
        raise Failure(Kind.BAD_CONFIG, f"--output {text}: {error}") from error
    return Output(kind="image", target=text, insecure=insecure)
