import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.adapters import PROVENANCE, adapter_folder, adapter_image

from tuning.failure import Failure, Kind
from tuning.images import oci, provenance
from tuning.images.blob import Blob, of_segments
from tuning.images.provenance import Provenance


def content(blob: Blob) -> bytes:
    return b"".join(bytes(block) for block in blob.blocks())


def test_the_image_has_the_shape_that_every_reader_takes(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    manifest, config = json.loads(image.manifest), json.loads(content(image.config))
    assert "artifactType" not in manifest
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar"
    ] * 2
    assert [layer["annotations"][oci.TITLE] for layer in manifest["layers"]] == [
        "metadata.tar",
        "weights.tar",
    ]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["Labels"] == manifest["annotations"]
    assert "created" not in config
    assert manifest["annotations"]["sh.kaito.model.name"] == "phi-4"


def test_every_descriptor_says_what_its_blob_is(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    manifest = json.loads(image.manifest)
    described = [*manifest["layers"], manifest["config"]]
    for descriptor, blob in zip(described, image.blobs, strict=True):
        assert (descriptor["digest"], descriptor["size"]) == (blob.digest, blob.size)
        assert of_segments((content(blob),)).digest == blob.digest
        assert len(content(blob)) == blob.size


def test_the_layers_are_canonical_tars_under_data(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    (folder / oci.WEIGHTS_FILE).chmod(0o600)
    image = oci.build(folder, PROVENANCE)
    names = []
    for layer in image.layers:
        with tarfile.open(fileobj=BytesIO(content(layer.blob))) as archive:
            for member in archive:
                names.append(member.name)
                assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
                assert (member.mtime, member.mode) == (0, 0o755 if member.isdir() else 0o644)
                assert not member.pax_headers
            weights = archive.extractfile(member.name)
    assert names == [
        "data",
        "data/README.md",
        "data/adapter_config.json",
        "data",
        "data/adapter_model.safetensors",
    ]
    assert weights is not None
    assert weights.read() == (folder / oci.WEIGHTS_FILE).read_bytes()


def test_gnu_tar_reads_the_layers_without_a_word(tmp_path: Path) -> None:
    for number, layer in enumerate(adapter_image(tmp_path / "a").layers):
        file = tmp_path / f"{number}.tar"
        file.write_bytes(content(layer.blob))
        done = subprocess.run(["tar", "-tf", file], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_only_allowed_files_are_published(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    for name in ("training_args.bin", "optimizer.pt", ".env", "notes.txt", "adapter_model.bin"):
        (folder / name).write_text("no")
    (folder / "checkpoint-1").mkdir()
    for name in ("tokenizer.json", "chat_template.jinja", "training.json", "loss.svg"):
        (folder / name).write_text("{}")
    image = oci.build(folder, PROVENANCE)
    with tarfile.open(fileobj=BytesIO(content(image.layers[0].blob))) as archive:
        names = archive.getnames()
    assert names == [
        "data",
        "data/README.md",
        "data/adapter_config.json",
        "data/chat_template.jinja",
        "data/loss.svg",
        "data/tokenizer.json",
        "data/training.json",
    ]


BUILD = """
import json, os, sys
from pathlib import Path
os.umask(int(sys.argv[2], 8))
folder = Path(sys.argv[1])
config = json.loads((folder / "adapter_config.json").read_text())
config["target_modules"] = list({"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"})
copy = folder.parent / sys.argv[3]
copy.mkdir()
(copy / "adapter_config.json").write_text(json.dumps(config))
for name in ("README.md", "adapter_model.safetensors"):
    (copy / name).write_bytes((folder / name).read_bytes())
    os.utime(copy / name, (int(sys.argv[4]), int(sys.argv[4])))
from tuning.images import oci
from tuning.images.provenance import Provenance
print(oci.build(copy, Provenance(base_model="acme/base", versions={"b": "1", "a": "2"})).digest)
"""


def test_equal_adapters_have_equal_digests_in_any_process(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    digests = set()
    for number, umask in enumerate(("022", "077", "000")):
        environ = {**os.environ, "PYTHONHASHSEED": str(number + 1)}
        arguments = [str(folder), umask, f"copy{number}", str(number * 10**6)]
        done = subprocess.run(
            [sys.executable, "-c", BUILD, *arguments],
            capture_output=True,
            text=True,
            env=environ,
            check=True,
            cwd=Path(oci.__file__).parents[1],
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_another_byte_or_fact_is_another_digest(tmp_path: Path) -> None:
    one = adapter_image(tmp_path / "a")
    other = adapter_image(tmp_path / "b", seed=2)
    changed = oci.build(tmp_path / "a", PROVENANCE.model_copy(update={"seed": 43}))
    assert len({one.digest, other.digest, changed.digest}) == 3
    assert one.layers == oci.build(tmp_path / "a", PROVENANCE).layers


def test_a_readme_edit_leaves_the_weights_layer_alone(tmp_path: Path) -> None:
    before = adapter_image(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("new")
    after = oci.build(tmp_path / "a", PROVENANCE)
    assert before.layers[1] == after.layers[1]
    assert before.layers[0] != after.layers[0]


def test_the_base_model_is_named_by_its_public_id() -> None:
    text = json.dumps(
        {"peft_type": "LORA", "base_model_name_or_path": "/mnt/model", "target_modules": ["b", "a"]}
    ).encode()
    config = json.loads(oci.canonical_adapter_config(text, "acme/base"))
    assert config["base_model_name_or_path"] == "acme/base"
    assert config["target_modules"] == ["a", "b"]
    assert json.loads(oci.canonical_adapter_config(text))["base_model_name_or_path"] == "/mnt/model"


@given(st.lists(st.text(max_size=5), max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_a_set_does_not_count(names: list[str], order: object) -> None:
    shuffled = list(names)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' Random
    one, other = (
        json.dumps({"peft_type": "LORA", "target_modules": n}).encode() for n in (names, shuffled)
    )
    assert oci.canonical_adapter_config(one) == oci.canonical_adapter_config(other)


def _cut(folder: Path) -> None:
    file = folder / oci.WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-1])


SPOIL: dict[str, Callable[[Path], object]] = {
    "no adapter_config.json": lambda f: (f / oci.CONFIG_FILE).unlink(),
    "has no adapter_model.safetensors": lambda f: (f / oci.WEIGHTS_FILE).unlink(),
    "is not JSON": lambda f: (f / oci.CONFIG_FILE).write_text("{"),
    "no peft_type": lambda f: (f / oci.CONFIG_FILE).write_text("{}"),
    "not a whole safetensors": _cut,
    "not a whole safetensors file": lambda f: (f / oci.WEIGHTS_FILE).write_bytes(b""),
    "not a whole safetensors file;": lambda f: (f / oci.WEIGHTS_FILE).write_bytes(b"\xff" * 64),
}


@pytest.mark.parametrize("sentence", SPOIL)
def test_what_is_no_adapter_is_refused(tmp_path: Path, sentence: str) -> None:
    folder = adapter_folder(tmp_path / "a")
    SPOIL[sentence](folder)
    with pytest.raises(Failure) as failed:
        oci.build(folder, PROVENANCE)
    assert failed.value.kind is Kind.BAD_DATA
    assert sentence in failed.value.sentence


def test_weights_that_shrink_while_they_are_pushed_are_noticed(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    _cut(tmp_path / "a")
    with pytest.raises(Failure, match="became shorter"):
        content(image.layers[1].blob)


@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(0, 60), st.integers(0, 60))
def test_any_range_of_a_blob_is_that_range(parts: list[bytes], start: int, stop: int) -> None:
    blob = of_segments(tuple(parts))
    whole = b"".join(parts)
    assert b"".join(bytes(b) for b in blob.blocks(start, stop)) == whole[start:stop]


def test_provenance_comes_back_from_the_annotations() -> None:
    assert provenance.read(PROVENANCE.annotations()) == PROVENANCE


def test_annotations_are_short_sorted_and_without_holes() -> None:
    found = PROVENANCE.annotations()
    assert list(found) == sorted(found)
    assert "sh.tunery.eval-loss" not in found
    assert found["sh.tunery.final-loss"] == "0.125"
    assert found["sh.tunery.versions.peft"] == "0.21.2"
    assert Provenance().annotations() == {}


@given(st.dictionaries(st.sampled_from(sorted(PROVENANCE.annotations())), st.text(max_size=9)))
def test_foreign_annotations_never_break_an_inspection(annotations: dict[str, str]) -> None:
    assert isinstance(provenance.read(annotations), Provenance)
