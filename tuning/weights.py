"""The base model's files: a mounted folder as it is, or a download from a hub at one commit.

Part of `prepare`, in tuning pods and in serving ones. A hub is Hugging Face or a mirror of it
(HF_ENDPOINT). The revision is pinned to a commit before the first byte, and a marker written last
says that the folder is whole: a second run needs no network. Only safetensors are taken: a pickle
can run code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tuning.failure import Failure, Kind
from tuning.hub import Asked, ask
from tuning.retry import Patience
from tuning.run import BaseModelSource, Places, Run

_WEIGHTS = "*.safetensors"
_WANTED = (
    _WEIGHTS,
    "*.json",
    "*.jinja",
    "*.model",
    "*.txt",
)
_IN_IMAGES = ("weights", "workspace/weights", "workspace/tfs/weights", "model", "data")
_MARKER = ".tunery-model.json"


class Weights(BaseModel):
    """Where the model lies and which commit it is."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    revision: str | None
    """The hub's commit; None for a folder that somebody mounted without saying."""


def obtain(
    run: Run, note: Callable[[str], None] = lambda _: None, *, only_tokenizer: bool = False
) -> Weights:
    """The model's folder, complete. Raises Failure: NO_ACCESS, BAD_CONFIG or UNAVAILABLE.

    `only_tokenizer` leaves the weights on the hub: enough to count tokens.
    """
    places = run.places
    wanted = [p for p in _WANTED if not (only_tokenizer and p == _WEIGHTS)]
    return fetch(run.model, places.model_dir, places.hub_token, note, wanted=wanted)


def fetch(
    model: BaseModelSource,
    model_dir: Path,
    hub_token: str | None,
    note: Callable[[str], None] = lambda _: None,
    *,
    wanted: Sequence[str] = _WANTED,
    field: Literal["tuning", "inference"] = "tuning",
) -> Weights:
    """The same for whoever has no Run; `field` is the part of the Workspace that names the model.

    `hub_token` is a file. Raises Failure: NO_ACCESS, BAD_CONFIG or UNAVAILABLE.
    """
    if model.path is not None:
        folder = within(Path(model.path))
        _require_complete(folder)
        return Weights(folder=folder, revision=model.revision)
    done = _finished(model_dir, model.revision)
    if done is not None:
        return done
    return _download(model, model_dir, read_token(hub_token), note, wanted, field)


def within(mounted: Path) -> Path:
    """Where a model lies in what is mounted: a folder of files, or an image that holds one.

    KAITO's own model images have it in `workspace`.
    """
    places = (mounted, *(mounted / place for place in _IN_IMAGES))
    return next((place for place in places if (place / "config.json").is_file()), mounted)


def config_of(model_id: str, revision: str | None, token: str | bool) -> dict[str, Any]:
    """A hub model's config.json, for its memory estimate. Somebody waits: little patience.

    Raises Failure: NO_ACCESS, BAD_CONFIG or UNAVAILABLE.
    """
    from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # as documented

    def get() -> bytes:
        # Not hf_hub_download: that retries for half a minute by itself.
        answer = get_session().get(
            hf_hub_url(model_id, "config.json", revision=revision),
            headers=build_hf_headers(token=token),
            follow_redirects=True,
            timeout=10,
        )
        hf_raise_for_status(answer)
        return bytes(answer.content)

    try:
        found = json.loads(ask(_asked(model_id), get, Patience(deadline_s=10)))
    except ValueError as error:
        sentence = f"the config.json of {model_id} is not JSON; choose another revision"
        raise Failure(Kind.BAD_CONFIG, sentence) from error
    return found if isinstance(found, dict) else {}


def token_of(places: Places) -> str | bool:
    """The mounted Hugging Face token; False (none at all) when the Workspace names none."""
    return read_token(places.hub_token)


def read_token(file: str | None) -> str | bool:
    """The token in a file; False when there is no file to read."""
    if file is None:
        return False
    try:
        return Path(file).read_text().strip() or False
    except OSError as error:
        sentence = f"the mounted Hugging Face token cannot be read: {error.strerror}"
        raise Failure(Kind.NO_ACCESS, sentence) from error


def _require_complete(folder: Path) -> None:
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        sentence = (
            f"the model folder {folder} has no {' and no '.join(missing)}; "
            "give a folder as save_pretrained writes it"
        )
        raise Failure(Kind.BAD_CONFIG, sentence)


def _finished(folder: Path, wanted: str | None) -> Weights | None:
    try:
        marker = Weights.model_validate_json((folder / _MARKER).read_bytes())
    except (OSError, ValidationError):
        return None
    if wanted is not None and wanted != marker.revision:
        return None
    return Weights(folder=folder, revision=marker.revision)


def _download(
    model: BaseModelSource,
    folder: Path,
    token: str | bool,
    note: Callable[[str], None],
    wanted: Sequence[str],
    field: Literal["tuning", "inference"],
) -> Weights:
    from huggingface_hub import HfApi, snapshot_download

    folder.mkdir(parents=True, exist_ok=True)
    asked = _asked(model.id, field)
    info = ask(
        asked,
        lambda: HfApi(token=token).model_info(
            model.id, revision=model.revision, files_metadata=True, timeout=30
        ),
    )
    sizes = {s.rfilename: s.size or 0 for s in info.siblings or ()}
    _require_safetensors(model.id, sizes)
    needed_bytes = sum(size for name, size in sizes.items() if _matches(name, wanted))
    _require_space(folder, needed_bytes)
    note(f"fetching {model.id} at {info.sha} ({needed_bytes / 1e6:,.1f} MB)")
    ask(
        asked,
        lambda: snapshot_download(
            model.id,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=list(wanted),
            token=token,
        ),
    )
    weights = Weights(folder=folder, revision=info.sha)
    if _WEIGHTS not in wanted:
        return weights
    _require_complete(folder)
    (folder / _MARKER).write_text(weights.model_dump_json())
    return weights


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)


def _require_safetensors(model_id: str, sizes: dict[str, int]) -> None:
    if not any(name.endswith(".safetensors") for name in sizes):
        sentence = (
            f"{model_id} has no safetensors weights (files that can run code are never loaded); "
            "choose a revision with safetensors or convert it"
        )
        raise Failure(Kind.BAD_CONFIG, sentence)


def _require_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        sentence = (
            f"the model needs {needed_bytes / 2**30:.1f} GiB of disk and {free_bytes / 2**30:.1f} "
            "GiB are free; give the work folder a larger volume"
        )
        raise Failure(Kind.BAD_CONFIG, sentence)


def _asked(model_id: str, field: Literal["tuning", "inference"] = "tuning") -> Asked:
    preset = f"{field}.preset.name"
    name_it = "name a Secret with HF_TOKEN in presetOptions.modelAccessSecret"
    revision = "ModelConfig.revision" if field == "tuning" else "the revision of its preset"
    return Asked(
        what=model_id,
        if_misnamed=f"write {preset} as org/name",
        if_gated=f"accept its licence on the hub and {name_it}",
        if_private=f"correct {preset} or {name_it}",
        if_no_revision=f"correct {revision}",
    )
