"""`python -m cluster`: build, up, with, down, status, exec, load, image, logs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import control, images, machine, preflight, processes, recipes, session, store, up
from cluster.build import build, folder_of, missing
from cluster.layout import Layout, default
from cluster.lock import locked
from cluster.parts import CORE, PARTS
from cluster.progress import say
from cluster.trouble import Trouble

_IMAGES = {
    "base": recipes.base,
    "operator": recipes.operator,
    "tuner": recipes.tuner,
    "tuner-whole": recipes.tuner_whole,
    "vllm-cpu": recipes.vllm_cpu,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 with causes on standard error, or that of `exec`'s command."""
    given = parser().parse_args(argv)
    layout = default()
    try:
        return _act(layout, given)
    except Trouble as trouble:
        for cause in trouble.causes:
            say(f"cluster: {cause}")
        return 1


def parser() -> argparse.ArgumentParser:
    """The words and their options."""
    root = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    words = root.add_subparsers(dest="word", required=True)
    word = words.add_parser("build", help="build binaries into the cache")
    word.add_argument(
        "part", nargs="*", help=f"default: what `up` needs; there are: {' '.join(PARTS)}"
    )
    word = words.add_parser("up", help="start the cluster, building what is missing")
    _add_options(word)
    word = words.add_parser("with", help="start it, run a command, stop it unless it ran before")
    _add_options(word)
    word.add_argument("command", nargs=argparse.REMAINDER)
    words.add_parser("down", help="stop it and remove everything but the cache")
    words.add_parser("status", help="what is built and what runs; exit 1 when not all runs")
    word = words.add_parser("exec", help="run a command inside, with kubectl and ctr at hand")
    word.add_argument("command", nargs=argparse.REMAINDER)
    word = words.add_parser("load", help="import an image archive, or an image built here")
    word.add_argument("image")
    word = words.add_parser("image", help="build an image of the project with buildah")
    word.add_argument("image", choices=sorted(_IMAGES))
    word.add_argument("--check", action="store_true", help="load everything in it, list licences")
    word.add_argument("--load", action="store_true", help="bring it to the node")
    word.add_argument("--push", metavar="REF", help="push it to the registry beside the cluster")
    word = words.add_parser("logs", help="print the log of a part's program")
    word.add_argument("program")
    return root


def _add_options(word: argparse.ArgumentParser) -> None:
    word.add_argument("--gpus", type=int, default=0, help="nvidia.com/gpu to offer on the node")
    word.add_argument("--karpenter", action="store_true", help="simulated nodes for NodeClaims")
    word.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE", help="put on the node"
    )


def _options(given: argparse.Namespace) -> up.Options:
    wrong = [label for label in given.label if "=" not in label]
    if wrong:
        raise Trouble(f"--label {wrong[0]}: say KEY=VALUE")
    return up.Options(given.gpus, dict(x.split("=", 1) for x in given.label), given.karpenter)


def _parts(given: argparse.Namespace) -> Sequence[str]:
    known = " ".join(PARTS)
    wrong = [name for name in dict.fromkeys(given.part) if name not in PARTS]
    if wrong:
        raise Trouble(*(f"no part is called {name!r}; there are: {known}" for name in wrong))
    return given.part or CORE


def _act(layout: Layout, given: argparse.Namespace) -> int:
    if given.word == "build":
        wanted = _parts(given)
        preflight.check(layout, building=bool(missing(layout, wanted)))
        build(layout, wanted)
    elif given.word == "up":
        with locked(layout):
            up.up(layout, _options(given))
            layout.borrowed.unlink(missing_ok=True)
    elif given.word == "with":
        return session.around(layout, _options(given), _command(given))
    elif given.word == "down":
        with locked(layout):
            up.down(layout)
    elif given.word == "status":
        return _status(layout)
    elif given.word == "exec":
        return _exec(layout, _command(given))
    elif given.word == "load":
        store.load(layout, _running(layout), given.image)
    elif given.word == "image":
        name = _IMAGES[given.image](layout)
        if given.check:
            sys.stdout.write(recipes.contents(layout, name))
        if given.load:
            store.load(layout, _running(layout), name)
        if given.push:
            images.push(layout, _running(layout), name, given.push)
    elif given.word == "logs":
        return _logs(layout, given.program)
    return 0


def _running(layout: Layout) -> int:
    pid = machine.find(layout)
    if pid is None:
        raise Trouble("no cluster runs; start it with: python -m cluster up")
    return pid


def _status(layout: Layout) -> int:
    for name, part in PARTS.items():
        state = "built" if not missing(layout, [name]) else "not built"
        say(f"{name:12} {part.version:10} {state:10} {folder_of(layout, name)}")
    pid = machine.find(layout)
    if pid is None:
        say("no cluster runs")
        return 1
    pids = {name: processes.host_pid(layout, pid, name) for name in control.daemons(layout)}
    for name, number in pids.items():
        say(f"{name:24} {'pid ' + str(number) if number else 'does not run'}")
    return 0 if all(pids.values()) else 1


def _command(given: argparse.Namespace) -> list[str]:
    command: list[str] = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        raise Trouble(f"{given.word} needs a command, as in: python -m cluster {given.word} true")
    return command


def _exec(layout: Layout, command: Sequence[str]) -> int:
    folders = [str(folder_of(layout, n)) for n in PARTS if not missing(layout, [n])]
    env = {
        **os.environ,
        "KUBECONFIG": str(layout.kubeconfig),
        "CONTAINERD_NAMESPACE": "k8s.io",
        "PATH": ":".join([*folders, os.environ["PATH"]]),
    }
    return subprocess.call(machine.inside(_running(layout), command, Path.cwd()), env=env)


def _logs(layout: Layout, name: str) -> int:
    log = layout.logs / f"{name}.log"
    if not log.exists():
        known = sorted(file.stem for file in layout.logs.glob("*.log"))
        raise Trouble(f"no log of {name!r}; there are: {' '.join(known) or 'none'}")
    sys.stdout.write(log.read_text(errors="replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
