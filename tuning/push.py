"""`push`: the finished adapter folder → an image in a registry, an OCI layout, or a plain folder.

Last word of the pod and safe to repeat: equal inputs have an equal digest, so a second push finds
everything there. Only a folder with a matching result.json is ever published.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tuning import folder, prepared, result
from tuning.failure import Failure, Kind
from tuning.images import layout, oci
from tuning.images.connection import Options, from_environment
from tuning.images.credentials import Credentials
from tuning.images.provenance import Provenance, whole
from tuning.images.registry import Registry
from tuning.prepared import Prepared
from tuning.reference import parse
from tuning.result import Result
from tuning.retry import Patience
from tuning.run import Output, Part, Run, canonical


class Pushed(Part):
    """`pushed.json`: where the adapter is and what it is called for ever."""

    target: str
    is_image: bool
    """False: an OCI layout or a folder on disk."""
    digest: str
    size_bytes: int
    already_there: bool = False

    @property
    def pinned(self) -> str:
        """The name to mount it by: repository@digest, or the folder."""
        return str(parse(self.target).at(self.digest)) if self.is_image else self.target


def push(run: Run, on_bytes: Callable[[int, int], None] | None = None) -> Pushed:
    """Publish the adapter of a finished run. Raises Failure (any of the registry's kinds).

    BAD_CONFIG when the run has not finished: a partial adapter is never published.
    """
    finished = _finished(run)
    image = oci.build(run.places.adapter_dir, provenance(run, prepared.read(run), finished))
    if run.output.kind == "image":
        pushed = to_registry(image, run.output, client(run), on_bytes)
    else:
        pushed = to_disk(image, run.places.adapter_dir, run.output)
    result.replace(run.places.pushed_file, canonical(pushed.model_dump(mode="json")) + b"\n")
    return pushed


def to_registry(
    image: oci.Image,
    output: Output,
    registry: Registry,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Pushed:
    """Push to the reference that `output` names."""
    done = registry.push(image, parse(output.target), output.overwrite, on_bytes)
    return Pushed(
        target=output.target,
        is_image=True,
        digest=done.digest,
        size_bytes=done.size_bytes,
        already_there=done.already_there,
    )


def to_disk(image: oci.Image, adapter_dir: Path, output: Output) -> Pushed:
    """Write an OCI layout, or copy the adapter folder."""
    if output.kind == "layout":
        layout.write(image, Path(output.target))
    else:
        folder.publish(adapter_dir, Path(output.target))
    return Pushed(
        target=output.target, is_image=False, digest=image.digest, size_bytes=image.size_bytes
    )


def provenance(run: Run, ready: Prepared, finished: Result) -> Provenance:
    """What the image says of how it was made; nothing that differs between equal runs."""
    lora: Mapping[str, object] = run.config.lora
    return Provenance(
        preset=run.preset,
        base_model=run.model.id,
        base_revision=run.model.revision or ready.model_revision or "",
        dataset=result.source_of(run),
        dataset_digest=ready.report.dataset_digest,
        config_digest=run.identity(),
        method=run.method,
        rank=whole(lora.get("r")),
        alpha=whole(lora.get("lora_alpha")),
        seed=whole(run.config.training.get("seed")),
        steps=finished.steps,
        final_loss=finished.final_loss,
        eval_loss=finished.eval_loss,
        versions=finished.versions,
        licenses=run.model.licence or "",
        description=f"{run.method} adapter for {run.model.id}",
    )


def only_push_is_left(run: Run) -> bool:
    """Whether an earlier pod has trained this run to its end, on a volume that outlived it.

    Elsewhere downloads are as old as the training, so looking again costs nothing and notices data
    that has changed.
    """
    if run.places.scratch is None or prepared.read_if_any(run) is None:
        return False
    finished = result.read(run.places.result_file)
    weights = run.places.adapter_dir / oci.WEIGHTS_FILE
    return finished is not None and finished.identity == run.identity() and weights.is_file()


def _finished(run: Run) -> Result:
    finished = result.read(run.places.result_file)
    if finished is None or finished.identity != run.identity():
        sentence = f"no finished training of this run in {run.places.work}; run `train` first"
        raise Failure(Kind.BAD_CONFIG, sentence)
    weights = run.places.adapter_dir / oci.WEIGHTS_FILE
    try:
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        sentence = f"{weights} cannot be read: {error.strerror}; delete result.json to train again"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    if found != finished.adapter_sha256:
        sentence = f"{weights} is not what was trained; delete result.json to train again"
        raise Failure(Kind.BAD_CONFIG, sentence)
    return finished


def client(run: Run, patience: Patience | None = None) -> Registry:
    """Who pushes: the mounted Secret, else what `docker login` left for a person."""
    usual = options(run)
    return Registry(credentials(run), replace(usual, patience=patience or usual.patience))


def credentials(run: Run) -> Credentials:
    """The mounted Secret's, else those of the person at this machine."""
    if run.places.push_auth:
        return Credentials.load((run.places.push_auth,))
    return Credentials.of_user(os.environ)


def options(run: Run) -> Options:
    """How to reach the registry: the run's word first, then the shell's (proxies, CA)."""
    found = from_environment(os.environ)
    ca = run.places.registry_ca
    hosts: frozenset[str] = frozenset()
    if run.output.kind == "image" and run.output.insecure:
        hosts = frozenset({parse(run.output.target).registry})
    return replace(found, insecure_hosts=hosts, ca_file=Path(ca) if ca else found.ca_file)
