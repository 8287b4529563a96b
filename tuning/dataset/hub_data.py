"""A data set of Hugging Face (or a mirror of it, HF_ENDPOINT) → its training files on disk.

Called by sources.py. The revision is pinned to a commit before the first byte. Only data files of
the train split are taken, so that nobody trains on the test split by accident; scripts never.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from presets.problem import printable, shown
from tuning.config import DatasetSection
from tuning.dataset import formats
from tuning.dataset.fetch import Fetched, Progress
from tuning.dataset.notes import file_sha256
from tuning.failure import Failure, Kind
from tuning.hub import Asked, ask
from tuning.retry import Patience

_Result = TypeVar("_Result")
_TRANSIENT = (408, 425, 429)
# Split names as the hub's own file patterns know them, as whole words of a path.
_TRAIN = re.compile(r"(^|[^a-z])train(ing)?([^a-z]|$)")
_OTHER = re.compile(r"(^|[^a-z])(test|testing|valid|validation|val|dev|eval|evaluation)([^a-z]|$)")


def download(
    name: str,
    dataset: DatasetSection,
    folder: Path,
    *,
    token: str | bool = False,
    progress: Progress | None = None,
    patience: Patience | None = None,
    endpoint: str | None = None,
) -> tuple[Fetched, ...]:
    """The training files of `org/name` or `org/name@revision`, verified, in the hub's order.

    Raises Failure: NO_ACCESS (gated, private), BAD_CONFIG (no such data set, revision or files, no
    space), UNAVAILABLE.
    """
    from huggingface_hub import HfApi, hf_hub_download

    repo, _, revision = name.partition("@")
    api = HfApi(endpoint=endpoint, token=token)
    patient = patience or Patience()
    info = ask(
        _asked(repo),
        lambda: api.dataset_info(repo, revision=revision or None, files_metadata=True, timeout=30),
        patient,
    )
    found = {s.rfilename: s for s in info.siblings or ()}
    names = pick(repo, list(found), _configurations(info.card_data), dataset)
    folder.mkdir(parents=True, exist_ok=True)
    _require_space(repo, folder, [found[n].size or 0 for n in names])
    files: list[Fetched] = []
    for file in names:
        got = ask(
            _asked(repo),
            lambda file=file: hf_hub_download(  # type: ignore[misc]  # bound at once
                repo,
                file,
                repo_type="dataset",
                revision=info.sha,
                local_dir=folder,
                token=token,
                endpoint=endpoint,
            ),
            patient,
        )
        files.append(_verified(repo, info.sha or "", file, Path(got), found[file].lfs))
        if progress:
            progress(file, files[-1].size_bytes, found[file].size)
    return tuple(files)


def pick(
    repo: str,
    names: Sequence[str],
    configurations: Sequence[Mapping[str, Any]],
    dataset: DatasetSection,
) -> list[str]:
    """The files to train on: one configuration, one format, the train split; sorted.

    Raises Failure (BAD_CONFIG) when it cannot be told which, or there are none.
    """
    data = sorted(n for n in names if formats.by_name(n) and not n.startswith("."))
    wanted = (dataset.dataset_path or "").strip("/")
    if wanted:
        data = [n for n in data if n == wanted or n.startswith(wanted + "/")]
        where = f" under DatasetConfig.dataset_path {shown(wanted)}"
    else:
        data, where = _of_configuration(repo, data, configurations), ""
    kinds = {formats.by_name(n) for n in data}
    kind = next((k for k in formats.Format if k in kinds), None)
    data = [n for n in data if formats.by_name(n) is kind]
    if any(_TRAIN.search(n.lower()) for n in data):
        data = [n for n in data if _TRAIN.search(n.lower()) or not _OTHER.search(n.lower())]
    elif not wanted:
        data = [n for n in data if not _OTHER.search(n.lower())]
    if not data:
        known = " ".join(formats.SUFFIXES)
        what = f"the data set {printable(repo)} has no training file{where} that ends in {known}"
        raise Failure(Kind.BAD_CONFIG, f"{what}; name a file or folder in dataset_path")
    return data


def _of_configuration(
    repo: str, data: list[str], configurations: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Files of the default configuration that the data set's card declares, if it does."""
    if not configurations:
        return data
    default = [c for c in configurations if c.get("default") or c.get("config_name") == "default"]
    chosen = (default or list(configurations))[0]
    if len(configurations) > 1 and not default:
        listed = ", ".join(shown(str(c.get("config_name"))) for c in configurations[:8])
        what = f"the data set {printable(repo)} has several configurations ({listed})"
        hint = "choose one by its folder in DatasetConfig.dataset_path"
        raise Failure(Kind.BAD_CONFIG, f"{what}; {hint}")
    patterns = list(_patterns(chosen.get("data_files")))
    return [n for n in data if any(fnmatch(n, p) for p in patterns)] if patterns else data


def _patterns(declared: object) -> Iterable[str]:
    """File patterns of the train split: a string, a list, or {split, path} of both."""
    if isinstance(declared, str):
        yield declared.removeprefix("./")
    elif isinstance(declared, Mapping):
        if declared.get("split", "train") == "train":
            yield from _patterns(declared.get("path"))
    elif isinstance(declared, (list, tuple)):
        for one in declared:
            yield from _patterns(one)


def _configurations(card: Any) -> list[Mapping[str, Any]]:
    declared = card.get("configs") if card is not None else None
    return [c for c in declared if isinstance(c, Mapping)] if isinstance(declared, list) else []


def _verified(repo: str, commit: str, name: str, path: Path, lfs: Any) -> Fetched:
    digest = file_sha256(path)
    expected = getattr(lfs, "sha256", None)
    if expected and expected != digest:
        path.unlink()
        what = f"{name} of {repo} came with wrong bytes (sha256 {digest[:12]}…)"
        raise Failure(Kind.UNAVAILABLE, f"{printable(what)}; run it again")
    url = printable(f"hf://datasets/{repo}@{commit}/{name}")
    return Fetched(path, digest, path.stat().st_size, url)


def _require_space(repo: str, folder: Path, sizes: Sequence[int]) -> None:
    needed, free = sum(sizes) / 2**30, shutil.disk_usage(folder).free / 2**30
    if needed > free:
        what = f"the data set {repo} needs {needed:.1f} GiB, but only {free:.1f} GiB are free"
        raise Failure(Kind.BAD_CONFIG, f"{printable(what)} in {folder}; give it a larger volume")


def _asked(repo: str) -> Asked:
    return Asked(
        what=f"the data set {repo}",
        if_misnamed="write org/name or org/name@revision",
        if_gated="accept its terms on the hub and give a token that may read it",
        if_private="correct the name, or give a token that may read it",
        if_no_revision="correct it behind the @",
    )
