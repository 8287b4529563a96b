"""The project's images, built here: the base, the tuner (small, for tests, or whole), the operator.

Names of local images are their recipes' digests, so nothing is built twice and nothing stale used.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from cluster import images, stubs
from cluster.commands import run
from cluster.images import FOLDER
from cluster.layout import Layout
from cluster.progress import step
from cluster.trouble import CommandFailed, Trouble

ROOT = Path(__file__).parent.parent
TUNER = "localhost/tunery/tuner:dev"
TUNER_WHOLE = "localhost/tunery/tuner:whole"
OPERATOR = "localhost/tunery/operator:dev"
EXTRAS = ("tuner", "server")
"""What the tuner's image holds: training, and serving with transformers."""
TUNER_LOADS = (
    *("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "fastapi"),
    *("tuning.train", "serving.prepare"),
)
OPERATOR_LOADS = ("kopf", "aiohttp", "cryptography", "prometheus_client", "jobs.decide")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Without the CUDA runtime torch would not tell cleanly that there is no GPU.
_KEPT = {"nvidia-cuda-runtime", "nvidia-cuda-cupti"}
_ONLY_FOR_GPUS = re.compile(r"^(nvidia-[\w-]+|cuda-bindings|triton)(?===)", re.MULTILINE)


def base(layout: Layout) -> str:
    """A Debian with Python, in place of the public base image; its name."""
    packages = (FOLDER / "base" / "packages.txt").read_text().split()
    recipe = FOLDER / "base" / "Containerfile"
    name = f"localhost/tunery/base:{digest([recipe, FOLDER / 'base' / 'packages.txt'])}"
    if not images.exists(layout, name):
        with step("base image of Debian packages"):
            context = fresh(layout.images / "base.context")
            argv = [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={','.join(packages)}",
                "--dpkgopt=force-unsafe-io",
                "bookworm",
                str(context / "base.tar"),
            ]
            run(images.sandboxed(argv), env={"TMPDIR": str(context)}, timeout_s=1200)
            images.build(layout, recipe, context, name)
            shutil.rmtree(context)
    return name


def tuner(layout: Layout) -> str:
    """The tuner for tests: no GPU libraries, and the code of the working tree on top."""
    runtime = tuner_runtime(layout)
    with step(f"{TUNER}: the code"):
        context = fresh(layout.images / "tuner-code.context")
        for package in ("presets", "tuning", "serving"):
            copy_code(ROOT / package, context / package)
        recipe = FOLDER / "tuner-code" / "Containerfile"
        images.build(layout, recipe, context, TUNER, ["--build-arg", f"RUNTIME={runtime}"])
    return TUNER


def tuner_runtime(layout: Layout) -> str:
    """Base and dependencies of the tuner for tests, as an image; its name."""
    below = base(layout)
    recipe = FOLDER / "tuner-cpu" / "Containerfile"
    repository = "localhost/tunery/tuner-cpu"
    name = f"{repository}:{digest([Path(stubs.__file__), recipe], below + pins(*EXTRAS))}"
    if not images.exists(layout, name):
        context = fresh(layout.images / "tuner-cpu.context")
        with step("the tuner's dependencies, without what only a GPU needs"):
            install(context / "venv", context)
        with step(f"stand-ins for {len(stubs.write(site_packages(context / 'venv')))} libraries"):
            compile_bytecode(context / "venv", Path("/opt/venv"))
        with step(f"image {name}"):
            images.build(layout, recipe, context, name, ["--build-arg", f"BASE={below}"])
        shutil.rmtree(context)
        images.remove(layout, *(tag for tag in images.tags(layout, repository) if tag != name))
    return name


def pins(*extras: str) -> str:
    """Every package of extras at its version. Other lines of constraints.txt change no image."""
    argv = [_uv(), "pip", "compile", "--quiet", "--no-emit-index-url", "--no-header"]
    argv += ["--no-annotate", *_named(extras), "--constraint", str(ROOT / "constraints.txt")]
    argv += [str(ROOT / "pyproject.toml")]
    try:
        return run([*argv, "--offline"])  # what was installed here is known: no need to ask
    except CommandFailed:
        return run(argv)


def tuner_whole(layout: Layout) -> str:
    """Dockerfile.tuner as it is, 6 GB, on the local base."""
    return _from_dockerfile(layout, "Dockerfile.tuner", TUNER_WHOLE)


def contents(layout: Layout, name: str) -> str:
    """Check an image from inside; a table of what it holds, with versions and licences.

    Raises:
        CommandFailed: something does not load, or is not at its pinned version.
    """
    argv = ["python", "/script", *(OPERATOR_LOADS if name == OPERATOR else TUNER_LOADS)]
    constraints = (ROOT / "constraints.txt").read_text()
    return images.run_in(layout, name, argv, FOLDER / "contents.py", constraints)


def operator(layout: Layout) -> str:
    """Dockerfile.operator as it is, on the local base."""
    return _from_dockerfile(layout, "Dockerfile.operator", OPERATOR)


def install(venv: Path, scratch: Path) -> None:
    """The tuner's extras at the pinned versions, for the base image's Python, less GPU packages."""
    overrides = scratch / "overrides.txt"
    overrides.write_text(without_gpu((ROOT / "constraints.txt").read_text()))
    uv, python = _uv(), str(venv / "bin" / "python")
    run([uv, "venv", "--quiet", "--python", "/usr/bin/python3", str(venv)])
    run(
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--link-mode=copy",
            "--constraint",
            str(ROOT / "constraints.txt"),
            "--override",
            str(overrides),
            *_named(EXTRAS),
            "-r",
            str(ROOT / "pyproject.toml"),
        ],
        timeout_s=1200,
    )
    overrides.unlink()


def _named(extras: Iterable[str]) -> list[str]:
    return [part for extra in extras for part in ("--extra", extra)]


def without_gpu(constraints: str) -> str:
    """Override lines that keep uv from installing what only a GPU needs."""
    names = sorted(set(_ONLY_FOR_GPUS.findall(constraints)) - _KEPT)
    return "".join(f'{name}; sys_platform == "never"\n' for name in names)


def compile_bytecode(venv: Path, target: Path) -> None:
    """Bytecode for a root that nobody can write; unchecked, as no file will ever change."""
    argv = [
        str(venv / "bin" / "python"),
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(venv),
        "-p",
        str(target),
    ]
    # Some packages ship templates that are no valid Python; compileall then exits 1.
    run(["sh", "-c", '"$@" >/dev/null || true', "sh", *argv, str(venv / "lib")], timeout_s=1200)


def site_packages(venv: Path) -> Path:
    """The only such folder of a virtual environment."""
    return next(venv.glob("lib/python3.*/site-packages"))


def fresh(folder: Path) -> Path:
    """An empty folder at this path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def copy_code(source: Path, target: Path) -> None:
    """A package without what Python leaves beside it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def digest(files: Iterable[Path], also: str = "") -> str:
    """Twelve hex digits of the contents."""
    contents = [also.encode(), *(f.read_bytes() for f in files)]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]


def _from_dockerfile(layout: Layout, dockerfile: str, name: str) -> str:
    below = base(layout)
    secret = ["--secret", f"id=ca,src={CERTIFICATES}"] if CERTIFICATES.exists() else []
    # Where packages come from is this machine's business: seen while building, not kept.
    settings = [f"--volume={path}:{path}:ro" for path in ("/etc/pip.conf",) if Path(path).exists()]
    with step(f"{name} from {dockerfile}"):
        images.build(
            layout,
            ROOT / dockerfile,
            ROOT,
            name,
            ["--layers", "--build-arg", f"BASE={below}", *secret, *settings],
        )
    return name


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Trouble("uv is not installed; run: make setup")
    return found
