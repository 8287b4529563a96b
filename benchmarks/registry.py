"""Push and pull of a 300 MB adapter against other tools: `python -m benchmarks.registry`.

A real docker-registry on the loopback. Each contestant is a process of its own that prints wall,
CPU-seconds and growth of its memory for the work alone, without start-up; they take turns. Every
push goes to a registry just started: nothing is skipped or mounted. What is pushed: the same tar.
What is pulled: the pushed image, to unpacked files.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import oras.provider
import requests

from benchmarks import measure
from benchmarks.measure import Finished
from tuning.images import layout, oci
from tuning.images.provenance import Provenance
from tuning.images.registry import Registry
from tuning.reference import parse

sys.path.insert(0, str(measure.ROOT / "tests"))
from rig.adapters import adapter_folder
from rig.registry import running_registry

_PUSHES = {
    "raw streamed PUT (requests)": "raw",
    "Tunery": "tunery",
    "oras-py": "oras",
    "skopeo copy --preserve-digests": "skopeo",
}
_PULLS = {
    "skopeo copy --dest-decompress, then tar": "skopeo-pull",
    "Tunery (verified, streamed)": "tunery-pull",
    "oras-py, then tar (not verified)": "oras-pull",
}


def main(words: Sequence[str]) -> None:
    if words and words[0] in _WORK:
        _WORK[words[0]](*map(str, words[1:]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch, running_registry() as registry:
        folder = Path(scratch)
        _prepare(folder, chosen.megabytes * 10**6, registry.host)
        print(f"\nPush of {chosen.megabytes} MB, {chosen.rounds} rounds in turns\n")
        print(_table(_PUSHES, _push(folder), chosen.rounds))
        print("\nPull to unpacked files\n")
        print(_table(_PULLS, _pull(folder, registry.host), chosen.rounds))


def _push(folder: Path) -> Callable[[str], Finished]:
    def run(word: str) -> Finished:
        # skopeo remembers where it has seen a blob and would mount it.
        with running_registry() as fresh:
            return measure.python("benchmarks.registry", word, str(folder), fresh.host)

    return run


def _pull(folder: Path, host: str) -> Callable[[str], Finished]:
    return lambda word: measure.python("benchmarks.registry", word, str(folder), host)


def _prepare(folder: Path, weights_bytes: int, host: str) -> None:
    """The adapter, its image as a layout, its weights layer as a file, and one pushed copy."""
    image = oci.build(adapter_folder(folder / "adapter", weights_bytes), Provenance())
    layout.write(image, folder / "layout")
    blob = image.layers[1].blob
    (folder / "weights.tar").symlink_to(folder / "layout/blobs/sha256" / blob.digest[7:])
    (folder / "digest").write_text(blob.digest)
    Registry().push(image, parse(f"{host}/pushed:v1"))


def _table(contestants: Mapping[str, str], run: Callable[[str], Finished], rounds: int) -> str:
    def contestant(word: str) -> Callable[[int], Finished]:
        return lambda _: run(word)

    found = measure.in_turns({n: contestant(w) for n, w in contestants.items()}, rounds)
    first = next(iter(contestants))
    rows = []
    for name, runs in found.items():
        wall, cpu = (_column(runs, key) for key in ("wall_s", "cpu_s"))
        against = [
            measure.ratio(ours, _column(found[first], key))
            for ours, key in ((wall, "wall_s"), (cpu, "cpu_s"))
        ]
        growth = "–" if "skopeo" in name else f"{max(_column(runs, 'growth_mib')):.0f}"
        cells = [f"{measure.median(wall):.2f}", *against, f"{measure.median(cpu):.2f}"]
        rows.append([name, *cells, growth])
    head = ["", "wall s", "wall ratio", "CPU ratio", "CPU s", "memory + MiB (worst)"]
    return measure.table(head, rows)


def _column(runs: Sequence[Finished], key: str) -> list[float]:
    return [float(run.facts[key]) for run in runs]


def _timed(work: Callable[[], Any]) -> None:
    """Do it, then print wall, CPU (children included) and how much the peak of memory grew."""
    before, start = _usage(), time.perf_counter()
    work()
    wall_s, after = time.perf_counter() - start, _usage()
    facts = {"wall_s": wall_s, "cpu_s": after[0] - before[0], "growth_mib": after[1] - before[1]}
    print(json.dumps(facts))


def _usage() -> tuple[float, float]:
    """CPU-seconds with children, and the peak of this process in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return cpu_s, own.ru_maxrss / 1024


def _tunery(folder: str, host: str) -> None:
    image = oci.build(Path(folder) / "adapter", Provenance())
    registry = Registry()
    _timed(lambda: registry.push(image, parse(f"{host}/tunery:v1")))


def _raw(folder: str, host: str) -> None:
    digest = (Path(folder) / "digest").read_text()
    session = requests.Session()

    def work() -> None:
        url = f"http://{host}/v2/raw/blobs/uploads/"
        location = session.post(url).headers["Location"]
        with (Path(folder) / "weights.tar").open("rb") as file:
            answer = session.put(f"{location}&digest={digest}", data=file)
        answer.raise_for_status()

    _timed(work)


def _oras(folder: str, host: str) -> None:
    client = oras.provider.Registry(insecure=True)
    file = f"{folder}/weights.tar:{oci.LAYER_TYPE}"
    _timed(
        lambda: client.push(
            f"{host}/oras:v1", files=[file], disable_path_validation=True, quiet=True
        )
    )


def _skopeo(folder: str, host: str) -> None:
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests"]
    command += ["--dest-tls-verify=false", f"oci:{folder}/layout"]
    _timed(lambda: subprocess.run([*command, f"docker://{host}/skopeo:v1"], check=True))


def _tunery_pull(folder: str, host: str) -> None:
    registry = Registry()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        _timed(lambda: registry.pull(parse(f"{host}/pushed:v1"), Path(out) / "adapter"))


def _skopeo_pull(folder: str, host: str) -> None:
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        copy = [*command, "--dest-decompress", f"docker://{host}/pushed:v1", f"dir:{out}/image"]

        def work() -> None:
            subprocess.run(copy, check=True)
            manifest = json.loads(Path(out, "image", "manifest.json").read_bytes())
            for layer in manifest["layers"]:
                _untar(f"{out}/image/{layer['digest'][7:]}", out)

        _timed(work)


def _oras_pull(folder: str, host: str) -> None:
    client = oras.provider.Registry(insecure=True)
    with tempfile.TemporaryDirectory(dir=folder) as out:

        def work() -> None:
            for file in client.pull(f"{host}/pushed:v1", outdir=out):
                _untar(file, out)

        _timed(work)


def _untar(file: str, out: str) -> None:
    subprocess.run(["tar", "-xf", file, "-C", out], check=True)


_WORK: Mapping[str, Callable[..., None]] = {
    "raw": _raw,
    "tunery": _tunery,
    "oras": _oras,
    "skopeo": _skopeo,
    "tunery-pull": _tunery_pull,
    "skopeo-pull": _skopeo_pull,
    "oras-pull": _oras_pull,
}

if __name__ == "__main__":
    main(sys.argv[1:])
