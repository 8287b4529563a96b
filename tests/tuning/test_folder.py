"""An adapter put into a folder that somebody else owns: a volume's root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tuning.failure import Failure, Kind
from tuning.folder import publish, require_writable
from tuning.images.oci import CONFIG_FILE, WEIGHTS_FILE

NEW = {CONFIG_FILE: "{new}", WEIGHTS_FILE: "new weights", "README.md": "new card"}
OLD = {CONFIG_FILE: "{old}", WEIGHTS_FILE: "old weights", "chat_template.jinja": "old template"}
THEIRS = {"notes.txt": "of somebody", "lost+found/x": "y", "training_data.jsonl": "{}"}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    made = write(tmp_path / "adapter", NEW)
    for path in made.iterdir():
        path.chmod(0o600)
    return made


def test_a_new_folder_holds_exactly_the_adapter(adapter: Path, tmp_path: Path) -> None:
    publish(adapter, tmp_path / "out")
    assert read(tmp_path / "out") == NEW
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_a_volume_keeps_what_is_not_ours_and_nothing_of_the_adapter_before(
    adapter: Path, tmp_path: Path
) -> None:
    volume = write(tmp_path / "volume", OLD | THEIRS)
    inode = volume.stat().st_ino
    publish(adapter, volume)
    assert read(volume) == NEW | THEIRS
    assert volume.stat().st_ino == inode, "a mounted folder cannot be replaced"


def test_every_user_can_read_it(adapter: Path, tmp_path: Path) -> None:
    volume = write(tmp_path / "volume", THEIRS)
    before = os.umask(0o077)
    try:
        publish(adapter, volume)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((volume / name).stat().st_mode) for name in NEW}
    assert modes == {0o644}


@pytest.mark.parametrize("blocked", [WEIGHTS_FILE, "README.md"])
def test_one_that_cannot_be_finished_is_no_adapter(
    adapter: Path, tmp_path: Path, blocked: str
) -> None:
    volume = write(tmp_path / "volume", OLD)
    (volume / f".{blocked}.part").mkdir()  # so that this file cannot be written
    with pytest.raises(Failure) as caught:
        publish(adapter, volume)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert str(volume) in caught.value.sentence
    assert not (volume / CONFIG_FILE).exists(), "old and new would be taken for one adapter"
    (volume / f".{blocked}.part").rmdir()
    publish(adapter, volume)
    assert read(volume) == NEW


def test_publishing_twice_is_publishing_once(adapter: Path, tmp_path: Path) -> None:
    for _ in range(2):
        publish(adapter, tmp_path / "out")
    assert read(tmp_path / "out") == NEW


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_volume_of_somebody_else_is_no_access(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(Failure) as caught:
        require_writable(tmp_path)
    assert caught.value.kind is Kind.NO_ACCESS


def test_asking_whether_it_is_writable_leaves_nothing(tmp_path: Path) -> None:
    require_writable(tmp_path)
    require_writable(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_never_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure) as caught:
        require_writable(Path("/proc/1/no-such-place"))
    assert "cannot be written to" in caught.value.sentence
