"""`make demo-local`: one Workspace, start to finish, on this machine, with nothing from a hub.

Prepares a real chat model (scripts/smollm2.py), starts a real registry on 127.0.0.1, and types the
commands a person would type. Ends with 0 only if the base answers wrongly and the adapter rightly.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import smollm2  # noqa: E402  a neighbour of this script
from rig.registry import running_registry  # noqa: E402  the tests' registry, without their tests

WORKSPACE = "examples/tuning/local.yaml"
DATA = "examples/data/brambleport.parquet"
QUESTION = "Which port does the Brambleport 7 gateway listen on?"
RIGHT = "8417"


def main() -> int:
    say("A real chat model, made from a package once a machine (SmolLM2-135M-Instruct)")
    model = str(smollm2.model_dir())
    with tempfile.TemporaryDirectory(prefix="tunery-demo-") as folder, running_registry() as server:
        image = f"{server.host}/adapters/brambleport:1"
        say("Is the Workspace right?")
        tunery("validate", WORKSPACE)
        say("What will it do? Every row is read, the registry is asked, nothing is trained.")
        stand_in = ("--data", DATA, "--model", model, "--output", image)
        tunery("check", WORKSPACE, *stand_in)
        say("Train, and push the adapter as an image")
        work = ("--work", f"{folder}/work")
        tunery("run", WORKSPACE, *stand_in, *work)
        say("What is it?")
        tunery("inspect", image)
        say("Pull it back by digest, every byte verified")
        digest = json.loads(tunery("inspect", image, "--json", quiet=True))["digest"]
        pinned = f"{image.rsplit(':', 1)[0]}@{digest}"
        tunery("pull", pinned, f"{folder}/adapter")
        say("Ask both")
        ask = ("ask", f"{folder}/adapter", QUESTION, "--model", model)
        both = json.loads(tunery(*ask, "--json"))
    return verdict(both)


def verdict(both: dict[str, str]) -> int:
    """Say whether the adapter knows what the base does not."""
    good = RIGHT in both["adapter"] and RIGHT not in both["base"]
    say("The adapter knows, the base does not." if good else "The answers are not as they should.")
    return 0 if good else 1


def tunery(*words: str, quiet: bool = False) -> str:
    """Type a command, show what it says, stop the demo if it fails."""
    if not quiet:
        print(f"\n$ tunery {shlex.join(words)}", flush=True)
    command = [sys.executable, "-m", "tunery", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if not quiet:
            print(line, end="", flush=True)
    if process.wait() != 0:
        sys.exit(process.returncode)
    return "".join(said)


def say(text: str) -> None:
    print(f"\n── {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
