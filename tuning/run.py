"""Run: the one contract between whoever schedules and the process that works.

`jobs/resolve.py` makes it from a Workspace, the operator stores it as a ConfigMap, `tunery run`
writes the same file, and `python -m tuning WORD RUN.json` reads it. Everything is resolved, nothing
is secret: credentials are named by the path where they are mounted. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tuning.config import TrainingConfig
from tuning.failure import Failure, Kind


class Part(BaseModel):
    """A frozen piece of the contract; a key it does not know is an error, not a surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseModelSource(Part):
    """The model that is tuned."""

    id: str
    """Public Hugging Face id `org/name`: what the adapter's provenance says."""
    revision: str | None = None
    """Pinned commit; None means the hub's default branch, pinned by `prepare`."""
    path: str | None = None
    """A folder with the weights (mounted image, volume, `--model`): then nothing is downloaded."""
    gated: bool = False
    licence: str | None = None
    """SPDX expression, for the image's labels."""


class DataSource(Part):
    """Where the rows come from; exactly one of the kinds."""

    kind: Literal["urls", "path", "dataset", "image"]
    urls: tuple[str, ...] = ()
    path: str | None = None
    """A file or a folder: a mounted volume or `--data`."""
    dataset: str | None = None
    """Hugging Face data set id."""
    image: str | None = None
    """OCI image whose /data holds the files."""
    allow_hosts: tuple[str, ...] = ()
    """Host names or networks that may be private: an in-house object store."""


class Output(Part):
    """Where the adapter goes."""

    kind: Literal["image", "layout", "folder"]
    target: str
    """Image reference, OCI layout folder, or plain folder."""
    insecure: bool = False
    """The registry speaks plain http."""
    overwrite: bool = True
    """A tag that exists with another digest may be moved."""
    checkpoints: bool = False
    """Of an image: keep checkpoints beside it while training, because the work folder will go."""


class Hardware(Part):
    """The cards the run was resolved for. `gpus` 0 is a CPU."""

    gpus: int
    gib_per_gpu: float
    bf16: bool
    name: str = ""


class Places(Part):
    """Folders and mounted credentials: where things are, never what they say."""

    work: str
    scratch: str | None = None
    """For downloads, where they need not outlive the pod; None: the work folder."""
    push_auth: str | None = None
    """A docker config.json (or a folder with .dockerconfigjson) for the push."""
    pull_auth: tuple[str, ...] = ()
    registry_ca: str | None = None
    """A PEM file with the CA of an in-house registry."""
    hub_token: str | None = None
    """A file with a Hugging Face token, read by `prepare` only."""
    termination_log: str | None = None

    @property
    def work_dir(self) -> Path:
        return Path(self.work)

    @property
    def scratch_dir(self) -> Path:
        return Path(self.scratch or self.work)

    @property
    def data_dir(self) -> Path:
        """Downloaded files, as they came."""
        return self.scratch_dir / "data"

    @property
    def model_dir(self) -> Path:
        """Downloaded weights."""
        return self.scratch_dir / "model"

    @property
    def rows_file(self) -> Path:
        """Checked rows, ready to tokenise (JSON lines); exists only when whole."""
        return self.work_dir / "rows.jsonl"

    @property
    def eval_rows_file(self) -> Path:
        return self.work_dir / "eval_rows.jsonl"

    @property
    def prepared_file(self) -> Path:
        """What `prepare` found (tuning/prepared.py); written last."""
        return self.work_dir / "prepared.json"

    @property
    def adapter_dir(self) -> Path:
        """The finished adapter; exists only when training has finished."""
        return self.work_dir / "adapter"

    @property
    def result_file(self) -> Path:
        """What `train` reached (tuning/result.py); written last."""
        return self.work_dir / "result.json"

    @property
    def pushed_file(self) -> Path:
        return self.work_dir / "pushed.json"


class Resolved(Part):
    """One setting of the run and where it came from, as shown to the user."""

    path: str
    value: str
    source: Literal["user", "preset", "method", "default", "memory", "hardware"]


class Run(Part):
    """One tuning run, wholly resolved."""

    version: Literal[1] = 1
    name: str
    namespace: str = "default"
    preset: str
    """The name the user wrote: `sh.kaito.model.name` of the image."""
    method: Literal["lora", "qlora"]
    model: BaseModelSource
    config: TrainingConfig
    data: DataSource
    output: Output
    hardware: Hardware
    places: Places
    resolved: tuple[Resolved, ...] = ()

    def identity(self) -> str:
        """sha256 of all that decides the adapter's bytes, except the data's own digest.

        Places, output, names and credentials do not count: moving a run does not change it.
        """
        core = self.model_dump(mode="json", include={"version", "method", "model", "config"})
        for name in ("path", "gated", "licence"):
            core["model"].pop(name)
        # Where a value came from and the volume's folder change no weight.
        for name in ("sources", "output_dir"):
            core["config"].pop(name)
        return hashlib.sha256(canonical(core)).hexdigest()


def canonical(value: object) -> bytes:
    """The bytes of a JSON value that are the same in every process."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(run: Run, path: Path) -> None:
    """Write run.json whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(canonical(run.model_dump(mode="json")) + b"\n")
    temporary.replace(path)


def read(path: Path) -> Run:
    """Read run.json. Raises Failure (BAD_CONFIG) with the field that is wrong."""
    try:
        return Run.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Failure(Kind.BAD_CONFIG, f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Failure(Kind.BAD_CONFIG, f"{path}: {where}: {first['msg']}") from error
