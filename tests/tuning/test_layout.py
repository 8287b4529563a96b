import json
import subprocess
from pathlib import Path

import pytest
from rig.adapters import PROVENANCE, adapter_folder, adapter_image

from tuning.failure import Failure, Kind
from tuning.images import layout, oci, provenance


def skopeo(*arguments: str | Path) -> str:
    command = ["skopeo", "--insecure-policy", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_skopeo_reads_the_layout(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    folder = tmp_path / "layout"
    assert layout.write(image, folder) == image.digest
    for name in (f"oci:{folder}", f"oci:{folder}:latest"):
        seen = json.loads(skopeo("inspect", name))
        assert seen["Digest"] == image.digest
        assert seen["Labels"] == PROVENANCE.annotations()
    skopeo("copy", "--preserve-digests", f"oci:{folder}", f"oci:{tmp_path / 'copy'}")
    assert layout.read(tmp_path / "copy").digest == image.digest


def test_what_was_written_is_read(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    layout.write(image, tmp_path / "layout")
    found = layout.read(tmp_path / "layout")
    assert found.digest == image.digest
    assert provenance.read(found.annotations) == PROVENANCE
    assert layout.labels(tmp_path / "layout", found) == PROVENANCE.annotations()


def test_a_new_image_takes_the_place_of_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    layout.write(adapter_image(tmp_path / "a"), folder)
    second = adapter_image(tmp_path / "b", seed=2)
    for _ in range(2):
        layout.write(second, folder)
    assert len(json.loads((folder / "index.json").read_bytes())["manifests"]) == 1
    assert layout.read(folder).digest == second.digest
    kept = {path.name for path in (folder / "blobs" / "sha256").iterdir()}
    wanted = {blob.digest for blob in second.blobs} | {second.digest}
    assert {f"sha256:{name}" for name in kept} == wanted


def test_a_write_that_was_cut_off_can_be_repeated(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    folder = tmp_path / "layout"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / image.layers[1].blob.digest.removeprefix("sha256:")).write_bytes(b"half")
    layout.write(image, folder)
    layout.pull(folder, tmp_path / "out")


def test_every_uid_can_read_the_layout(tmp_path: Path) -> None:
    layout.write(adapter_image(tmp_path / "a"), tmp_path / "layout")
    files = [path for path in (tmp_path / "layout").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


@pytest.mark.parametrize("change", [b"", b"other"])
def test_a_changed_blob_is_noticed(tmp_path: Path, change: bytes) -> None:
    image = adapter_image(tmp_path / "a")
    folder = tmp_path / "layout"
    layout.write(image, folder)
    weights = folder / "blobs" / "sha256" / image.layers[1].blob.digest.removeprefix("sha256:")
    weights.write_bytes(weights.read_bytes()[:-5] + change)
    with pytest.raises(Failure, match="was changed"):
        layout.pull(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_blob_is_noticed(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    layout.write(image, tmp_path / "layout")
    digest = image.config.digest.removeprefix("sha256:")
    (tmp_path / "layout" / "blobs" / "sha256" / digest).unlink()
    with pytest.raises(Failure, match="cannot be read"):
        layout.labels(tmp_path / "layout", layout.read(tmp_path / "layout"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"meow")
    many = tmp_path / "many"
    layout.write(image, many)
    index = json.loads((many / "index.json").read_bytes())
    index["manifests"] *= 2
    (many / "index.json").write_text(json.dumps(index))
    file = tmp_path / "file"
    file.write_text("x")
    for folder in (other, many, file):
        with pytest.raises(Failure, match="name a new folder") as failed:
            layout.write(image, folder)
        assert failed.value.kind is Kind.BAD_CONFIG
    assert [path.name for path in other.iterdir()] == ["cat.jpg"]


def test_a_place_where_nobody_may_write_is_a_sentence(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    with pytest.raises(Failure, match="cannot be written"):
        layout.write(image, Path("/proc/nothing"))


INDEXES = {
    "none": None,
    "no json": "{",
    "a list": "[]",
    "no images": '{"manifests": []}',
    "path as digest": '{"manifests": [{"mediaType": "x", "digest": "../../etc", "size": 1}]}',
}


@pytest.mark.parametrize("name", INDEXES)
def test_what_is_no_layout_is_a_sentence(tmp_path: Path, name: str) -> None:
    text = INDEXES[name]
    if text is not None:
        (tmp_path / "index.json").write_text(text)
    with pytest.raises(Failure) as failed:
        layout.read(tmp_path)
    assert failed.value.kind is Kind.BAD_DATA


def test_an_interrupted_build_leaves_the_old_image(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    first = adapter_image(tmp_path / "a")
    layout.write(first, folder)
    second = adapter_image(tmp_path / "b", seed=2)
    (tmp_path / "b" / oci.WEIGHTS_FILE).write_bytes(b"gone")
    with pytest.raises(Failure, match="became shorter"):
        layout.write(second, folder)
    assert layout.read(folder).digest == first.digest
    assert not list(folder.rglob(".*"))
    assert adapter_folder(tmp_path / "c").is_dir()
