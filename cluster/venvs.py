"""Virtual environments for images: installed here with uv, without what only a GPU needs.

Step of recipes.py. Copying one into an image costs a sixth of installing in its build, and needs
neither certificates nor an index there.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import stubs
from cluster.commands import run
from cluster.trouble import Trouble

TARGET = Path("/opt/venv")
"""Where it lies in an image."""
# Without the CUDA runtime torch would not tell cleanly that there is no GPU.
_KEPT = {"nvidia-cuda-runtime", "nvidia-cuda-cupti"}
_ONLY_FOR_GPUS = re.compile(r"^(nvidia-[\w-]+|cuda-bindings|triton)(?===)", re.MULTILINE)


def install(venv: Path, constraints: Path, wanted: Sequence[str]) -> None:
    """Install `wanted` (arguments of uv) at pinned versions, for the base image's Python."""
    overrides = venv.with_name(f"{venv.name}.overrides.txt")
    overrides.write_text(without_gpu(constraints.read_text()))
    # Relocatable: its commands find their Python beside them.
    python = ("--python", "/usr/bin/python3")
    run([uv(), "venv", "--quiet", "--relocatable", *python, str(venv)])
    install = [uv(), "pip", "install", "--quiet", "--python", str(venv / "bin" / "python")]
    pinned = ("--constraint", str(constraints), "--override", str(overrides))
    run([*install, "--link-mode=copy", *pinned, *wanted], timeout_s=1200)
    overrides.unlink()


def finish(venv: Path) -> None:
    """Make it whole for an image: stand-ins for absent libraries, and bytecode."""
    stubs.write(site_packages(venv))
    compile_bytecode(venv, TARGET)


def without_gpu(constraints: str) -> str:
    """Override lines that keep uv from installing what only a GPU needs."""
    names = sorted(set(_ONLY_FOR_GPUS.findall(constraints)) - _KEPT)
    return "".join(f'{name}; sys_platform == "never"\n' for name in names)


def compile_bytecode(venv: Path, target: Path) -> None:
    """Bytecode for a root that nobody can write; unchecked, as no file will ever change."""
    argv = [str(venv / "bin" / "python"), "-m", "compileall", "-q", "-j", "0"]
    argv += ["--invalidation-mode", "unchecked-hash", "-s", str(venv), "-p", str(target)]
    # Some packages ship templates that are no valid Python; compileall then exits 1.
    run(["sh", "-c", '"$@" >/dev/null || true', "sh", *argv, str(venv / "lib")], timeout_s=1200)


def site_packages(venv: Path) -> Path:
    """The only such folder of a virtual environment."""
    return next(venv.glob("lib/python3.*/site-packages"))


def uv() -> str:
    """The command. Raises Trouble where it is not installed."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Trouble("uv is not installed; run: make setup")
    return found
