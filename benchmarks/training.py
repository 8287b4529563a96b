"""Training speed: Tunery's defaults against plain TRL with KAITO's settings, and with its own.

`python -m benchmarks.training`. Same base model, same rows once over, same LoRA (all-linear, rank
16). Each contestant is a process; what counts is its CPU time. Tunery's Run comes from
jobs/resolve.py for this machine, with nothing set by a user except one epoch.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from benchmarks import measure, peers, workload
from benchmarks.measure import Finished
from benchmarks.peers import Job
from jobs.context import Context
from jobs.resolve import Site, resolve
from jobs.workspace import parse
from presets import Architecture, load
from presets.problem import errors
from tunery import machine
from tuning import run as runs
from tuning.config import CONFIG_KEY
from tuning.dataset.rows import Chat, to_json
from tuning.quiet import quiet
from tuning.run import Output, Places, Run

Method = Literal["lora", "qlora"]
OURS, KAITO, TRL = "Tunery's defaults", "TRL, KAITO's settings", "TRL's defaults"
_ONE_EPOCH = {"num_train_epochs": 1}
_CONFIG = "training_config: {TrainingArguments: {num_train_epochs: 1}}"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=("lora", "qlora"), action="append")
    asked = parser.parse_args(words)
    quiet()
    with tempfile.TemporaryDirectory(prefix="tunery-bench-") as folder:
        base = workload.build_model(Path(folder) / "base")
        data = _write_data(Path(folder), asked.rows)
        print(f"{asked.rows} rows, {sum(workload.lengths(asked.rows)):,} tokens, one epoch\n")
        for method in asked.method or ("lora", "qlora"):
            contestants = _contestants(method, base, data, Path(folder))
            print(_tables(method, measure.in_turns(contestants, asked.rounds)), flush=True)


def _write_data(folder: Path, rows: int) -> Path:
    """The same chats as a parquet file for the peers and as checked rows for Tunery."""
    import pyarrow
    import pyarrow.parquet

    chats = workload.chats(rows)
    lines = [to_json(Chat(tuple(chat), (1,))) + b"\n" for chat in chats]
    (folder / "rows.jsonl").write_bytes(b"".join(lines))
    pyarrow.parquet.write_table(pyarrow.table({"messages": chats}), folder / "rows.parquet")
    return folder / "rows.parquet"


def _contestants(
    method: Method, base: Path, data: Path, folder: Path
) -> Mapping[str, Callable[[int], Finished]]:
    job = functools.partial(Job, str(base), str(data), str(folder / "peer"), method)
    kaito = job(kbit_prepared=method == "qlora", options=peers.KAITO | _ONE_EPOCH)
    trl = job(options=peers.DEFAULTS | _ONE_EPOCH)
    return {
        OURS: lambda number: _ours(method, base, folder / f"ours-{method}-{number}"),
        KAITO: lambda _: _peer(kaito, folder / "kaito.json"),
        TRL: lambda _: _peer(trl, folder / "trl.json"),
    }


def _peer(job: Job, file: Path) -> Finished:
    return measure.python("benchmarks.peers", str(job.write(file)))


def _ours(method: Method, base: Path, work: Path) -> Finished:
    work.mkdir()
    shutil.copy(work.parent / "rows.jsonl", work / "rows.jsonl")
    runs.write(resolved(method, base, work), work / "run.json")
    return measure.python("benchmarks.ours", str(work / "run.json"))


def resolved(method: Method, base: Path, work: Path) -> Run:
    """What `tunery run` would do here with a Workspace that sets nothing but one epoch."""
    workspace, problems = parse(
        {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": "bench"},
            "resource": {"instanceType": "Standard_NC24ads_A100_v4"},
            "tuning": {"preset": {"name": "bench/llama"}, "method": method, "config": "bench"},
        }
    )
    if workspace is None:
        raise RuntimeError(f"the benchmark's Workspace is refused: {problems}")
    maps = {("default", "bench"): {CONFIG_KEY: _CONFIG}}
    here = machine.here()
    site = Site(
        places=Places(work=str(work)),
        gpu=here.gpu,
        hardware=here.hardware,
        architecture=Architecture.from_config(json.loads((base / "config.json").read_text())),
        model_path=str(base),
        data_path=str(work / "rows.jsonl"),
        output=Output(kind="folder", target=str(work / "out")),
    )
    found = resolve(workspace, Context(load(), config_maps=maps), site)
    if found.run is None:
        raise RuntimeError(f"the benchmark's run is refused: {errors(found.problems)}")
    return found.run


def _tables(method: Method, found: Mapping[str, Sequence[Finished]]) -> str:
    rows = [_row(name, finished, found[OURS]) for name, finished in found.items()]
    head = (
        f"method: {method}",
        "steps",
        "loop, CPU-s",
        "load to saved, CPU-s",
        "process, CPU-s",
        "loop, × ours",
        "load to saved, × ours",
        "process, × ours",
    )
    return measure.table(head, rows) + "\n"


def _row(name: str, finished: Sequence[Finished], ours: Sequence[Finished]) -> list[str]:
    each = [(_seconds(finished, key), _seconds(ours, key)) for key in ("loop", "work", "process")]
    seconds = [f"{measure.median(theirs):.1f}" for theirs, _ in each]
    ratios = ["1" if name == OURS else str(measure.ratio(*pair)) for pair in each]
    return [name, str(finished[0].facts["steps"]), *seconds, *ratios]


def _seconds(finished: Sequence[Finished], key: str) -> list[float]:
    if key == "process":
        return [f.cpu_s for f in finished]
    return [float(f.facts[f"{key}_cpu_s"]) for f in finished]


if __name__ == "__main__":
    main()
