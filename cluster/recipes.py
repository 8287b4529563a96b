"""The project's images, built here: the base, the tuner (small, for tests, or whole), the operator,
vLLM on CPUs.

Names of local images are their recipes' digests, so nothing is built twice and nothing stale used.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cluster import images, stubs, venvs
from cluster.commands import run
from cluster.images import FOLDER
from cluster.layout import Layout
from cluster.lock import locked
from cluster.progress import step
from cluster.trouble import CommandFailed

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
VLLM_LOADS = ("torch", "vllm._C", "vllm.entrypoints.cli.main", "vllm.platforms.cpu")
OPERATOR_LOADS = ("kopf", "aiohttp", "cryptography", "prometheus_client", "jobs.decide")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CONSTRAINTS = ROOT / "constraints.txt"
VLLM_PINS = FOLDER / "vllm-cpu" / "requirements.txt"


def base(layout: Layout, also: Sequence[str] = ()) -> str:
    """A Debian with Python, in place of the public base image; its name. `also` adds packages."""
    packages = [*(FOLDER / "base" / "packages.txt").read_text().split(), *also]
    recipe = FOLDER / "base" / "Containerfile"
    key = digest([recipe, FOLDER / "base" / "packages.txt"], " ".join(also))
    name = f"localhost/tunery/base:{key}"
    with locked(layout, "image-base"):
        if not images.exists(layout, name):
            _build_base(layout, packages, recipe, name)
    return name


def _build_base(layout: Layout, packages: Iterable[str], recipe: Path, name: str) -> None:
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


def tuner(layout: Layout) -> str:
    """The tuner for tests: no GPU libraries, and the code of the working tree on top."""
    runtime = tuner_runtime(layout)
    with locked(layout, "image-tuner"), step(f"{TUNER}: the code"):
        context = fresh(layout.images / "tuner-code.context")
        for package in ("presets", "tuning", "serving"):
            copy_code(ROOT / package, context / package)
        recipe = FOLDER / "tuner-code" / "Containerfile"
        images.build(layout, recipe, context, TUNER, ["--build-arg", f"RUNTIME={runtime}"])
    return TUNER


def tuner_runtime(layout: Layout) -> str:
    """Base and dependencies of the tuner for tests, as an image; its name."""

    def fill(venv: Path) -> None:
        wanted = [*_named(EXTRAS), "-r", str(ROOT / "pyproject.toml")]
        venvs.install(venv, CONSTRAINTS, wanted)

    return _of_venv(layout, "tuner-cpu", base(layout), fill, [], pins(*EXTRAS))


def vllm_cpu(layout: Layout) -> str:
    """vLLM on CPUs, in place of its public image; its name."""

    def fill(venv: Path) -> None:
        venvs.install(venv, VLLM_PINS, ["--no-deps", "-r", str(VLLM_PINS)])
        _rename_vllm(venvs.site_packages(venv))

    return _of_venv(layout, "vllm-cpu", base(layout, ["libnuma1"]), fill, [VLLM_PINS])


def _of_venv(
    layout: Layout,
    what: str,
    below: str,
    fill: Callable[[Path], None],
    files: Iterable[Path],
    also: str = "",
) -> str:
    """An image of a base and a virtual environment, built when anything of it has changed."""
    recipe = FOLDER / what / "Containerfile"
    repository = f"localhost/tunery/{what}"
    name = f"{repository}:{digest([Path(stubs.__file__), recipe, *files], below + also)}"
    with locked(layout, f"image-{what}"):
        if not images.exists(layout, name):
            _build_venv(layout, what, fill, name, below)
            old = (tag for tag in images.tags(layout, repository) if tag != name)
            images.remove(layout, *old)
    return name


def _build_venv(
    layout: Layout, what: str, fill: Callable[[Path], None], name: str, below: str
) -> None:
    context = fresh(layout.images / f"{what}.context")
    with step(f"{what}: its packages, without what only a GPU needs"):
        fill(context / "venv")
    with step(f"{what}: stand-ins for absent libraries, and bytecode"):
        venvs.finish(context / "venv")
    recipe = FOLDER / what / "Containerfile"
    with step(f"image {name}"):
        images.build(layout, recipe, context, name, ["--build-arg", f"BASE={below}"])
    shutil.rmtree(context)


def _rename_vllm(site_packages: Path) -> None:
    """Its code looks for a distribution of the name that it has for GPUs."""
    (found,) = site_packages.glob("vllm_cpu-*.dist-info")
    about = found / "METADATA"
    about.write_text(re.sub(r"^Name: .*$", "Name: vllm", about.read_text(), count=1, flags=re.M))
    found.rename(found.with_name(found.name.replace("vllm_cpu-", "vllm-")))


def pins(*extras: str) -> str:
    """Every package of extras at its version. Other lines of constraints.txt change no image."""
    argv = [venvs.uv(), "pip", "compile", "--quiet", "--no-emit-index-url", "--no-header"]
    argv += ["--no-annotate", *_named(extras), "--constraint", str(CONSTRAINTS)]
    argv += [str(ROOT / "pyproject.toml")]
    try:
        return run([*argv, "--offline"])  # what was installed here is known: no need to ask
    except CommandFailed:
        return run(argv)


def _named(extras: Iterable[str]) -> list[str]:
    return [part for extra in extras for part in ("--extra", extra)]


def tuner_whole(layout: Layout) -> str:
    """Dockerfile.tuner as it is, 6 GB, on the local base."""
    return _from_dockerfile(layout, "Dockerfile.tuner", TUNER_WHOLE)


def contents(layout: Layout, name: str) -> str:
    """Check an image from inside; a table of what it holds, with versions and licences.

    Raises:
        CommandFailed: something does not load, or is not at its pinned version.
    """
    loads: tuple[str, ...] = TUNER_LOADS
    pinned = CONSTRAINTS.read_text()
    if name == OPERATOR:
        loads = OPERATOR_LOADS
    elif "/vllm-cpu:" in name:
        loads, pinned = VLLM_LOADS, VLLM_PINS.read_text().replace("vllm-cpu==", "vllm==")
    argv = ["python", "/script", *loads]
    return images.run_in(layout, name, argv, FOLDER / "contents.py", pinned)


def operator(layout: Layout) -> str:
    """Dockerfile.operator as it is, on the local base."""
    return _from_dockerfile(layout, "Dockerfile.operator", OPERATOR)


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
    with locked(layout, f"image-{dockerfile}"), step(f"{name} from {dockerfile}"):
        images.build(
            layout,
            ROOT / dockerfile,
            ROOT,
            name,
            ["--layers", "--build-arg", f"BASE={below}", *secret, *settings],
        )
    return name
