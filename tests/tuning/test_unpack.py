"""Hostile and honest layers, through a layout folder: what a registry serves is unpacked alike."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.adapters import adapter_folder, adapter_image

from tuning.failure import Failure, Kind
from tuning.images import layout, unpack
from tuning.images.decompress import plain
from tuning.images.manifest import Descriptor, Manifest

LAYER = "application/vnd.oci.image.layer.v1.tar"


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def archive(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(target: Path, *layers: bytes, wanted: unpack.Wanted = unpack.ADAPTER) -> Path:
    """Unpack `layers` into `target`, as pull does."""
    described = {
        Descriptor(LAYER, f"sha256:{hashlib.sha256(layer).hexdigest()}", len(layer)): layer
        for layer in layers
    }
    image = Manifest("sha256:" + "0" * 64, Descriptor("", "", 0), tuple(described), {})
    unpack.unpack_image(image, lambda d: blocks_of(described[d]), target, wanted)
    return target


def blocks_of(content: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


GOOD = (
    entry("data/", type=tarfile.DIRTYPE, mode=0o755),
    entry("data/adapter_config.json", b"{}"),
    entry("data/adapter_model.safetensors", b"weights"),
)


def header_only(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512


def pax(keys: dict[str, str], name: str = "data/x.json") -> bytes:
    return archive(entry(name, b"x", pax_headers=keys))


def sparse() -> bytes:
    info = tarfile.TarInfo("data/adapter_model.safetensors")
    info.type = tarfile.GNUTYPE_SPARSE
    return info.tobuf(tarfile.GNU_FORMAT)


def bad_checksum() -> bytes:
    content = bytearray(archive(*GOOD))
    content[0] ^= 1
    return bytes(content)


def long_name(name: str) -> bytes:
    return archive(entry(name, b"x"), form=tarfile.GNU_FORMAT)


HOSTILE: dict[str, bytes] = {
    "absolute path": archive(entry("/data/adapter_config.json", b"x")),
    "absolute path elsewhere": archive(entry("/etc/cron.d/x", b"x")),
    "dot dot": archive(entry("data/../../evil", b"x")),
    "dot dot first": archive(entry("../evil", b"x")),
    "sibling with the same prefix": archive(entry("../out-evil/x", b"x")),
    "symlink": archive(entry("data/a.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "symlink, then write through it": archive(
        entry("data", type=tarfile.SYMTYPE, linkname="/tmp"), entry("data/README.md", b"x")
    ),
    "symlink as a wanted file": archive(
        entry("data/README.md", type=tarfile.SYMTYPE, linkname="../../out-evil"),
        entry("data/README.md", b"x"),
    ),
    "hard link": archive(entry("data/README.md", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "hard link inside": archive(
        *GOOD, entry("data/README.md", type=tarfile.LNKTYPE, linkname="data/adapter_config.json")
    ),
    "device": archive(entry("data/README.md", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": archive(entry("data/README.md", type=tarfile.BLKTYPE)),
    "pipe": archive(entry("data/README.md", type=tarfile.FIFOTYPE)),
    "setuid": archive(entry("data/README.md", b"x", mode=0o4755)),
    "setgid": archive(entry("data/README.md", b"x", mode=0o2755)),
    "twice": archive(*GOOD, entry("data/adapter_config.json", b"other")),
    "twice, spelled otherwise": archive(*GOOD, entry("./data//adapter_config.json", b"other")),
    "huge": header_only("data/adapter_model.safetensors", 1 << 40),
    "huge and unwanted": header_only("data/other.bin", 1 << 60),
    "sparse": sparse(),
    "sparse by pax": pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": "1099511627776"}),
    "pax path": pax({"path": "../../evil"}),
    "pax absolute path": pax({"path": "/etc/evil"}),
    "pax size": pax({"size": "1099511627776"}),
    "pax negative size": pax({"size": "-5"}),
    "pax size of a word": pax({"size": "big"}),
    "pax too long": pax({"comment": "x" * 100_000}),
    "gnu long name": long_name("data/" + "../" * 60 + "evil"),
    "name with a zero byte": pax({"path": "data/README.md\0.bin"}),
    "data is a file": archive(entry("data", b"x")),
    "wrong checksum": bad_checksum(),
    "cut in a header": archive(*GOOD)[:1100],
    "cut in a file": archive(*GOOD)[:1540],
    "no tar": b"hello" * 300,
    "html": b"<html>not found</html>",
    "gzip of nonsense": gzip.compress(b"hello" * 300),
    "cut gzip": gzip.compress(os.urandom(4096))[:2000],
    "broken gzip": b"\x1f\x8b" + b"\xff" * 600,
    "broken zstd": b"\x28\xb5\x2f\xfd" + b"\xff" * 600,
    "empty": b"",
    "only what nobody wants": archive(entry("data/pickle.bin", b"x")),
    "only elsewhere": archive(entry("adapter_config.json", b"{}")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_layer_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(Failure) as failed:
        unpacked(inside / "out", HOSTILE[name])
    assert failed.value.kind is Kind.BAD_DATA
    assert failed.value.sentence.isprintable()
    assert list(tmp_path.iterdir()) == [inside]
    assert list(inside.iterdir()) == []


def test_a_hostile_second_layer_takes_the_first_along(tmp_path: Path) -> None:
    with pytest.raises(Failure):
        unpacked(tmp_path / "out", archive(*GOOD), HOSTILE["symlink as a wanted file"])
    assert list(tmp_path.iterdir()) == []


def bomb(compress: Callable[[bytes], bytes]) -> bytes:
    info = tarfile.TarInfo("data/adapter_model.safetensors")
    info.size = 1 << 30
    return compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(300 * 1024 * 1024))


@pytest.mark.parametrize(
    "compress", [gzip.compress, lambda data: bytes(pyarrow.compress(data, "zstd", asbytes=True))]
)
def test_a_bomb_stops_early(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Failure, match="unpacks to more than"):
        unpacked(tmp_path / "out", bomb(compress))
    assert list(tmp_path.iterdir()) == []


HONEST: dict[str, bytes] = {
    "tar": archive(*GOOD),
    "ustar": archive(*GOOD, form=tarfile.USTAR_FORMAT),
    "gnu": archive(*GOOD, form=tarfile.GNU_FORMAT),
    "gzip": gzip.compress(archive(*GOOD)),
    "gzip in two members": gzip.compress(archive(*GOOD)[:700])
    + gzip.compress(archive(*GOOD)[700:]),
    "gzip, padded": gzip.compress(archive(*GOOD)) + bytes(1500),
    "zstd": bytes(pyarrow.compress(archive(*GOOD), "zstd", asbytes=True)),
    "with a dot before": archive(*((entry(f"./{i.name}", c)) for i, c in GOOD[1:])),
    "no folder entry": archive(*GOOD[1:]),
    "pax times": archive(*((entry(i.name, c, mtime=1.5)) for i, c in GOOD[1:])),
    "0600 of another user": archive(*((entry(i.name, c, mode=0o600, uid=7)) for i, c in GOOD[1:])),
    "no end blocks": archive(*GOOD)[: 3 * 512 + 1024],
    "on top of busybox": archive(
        entry("bin/busybox", b"elf", mode=0o4755),
        entry("bin/sh", type=tarfile.LNKTYPE, linkname="bin/busybox"),
        entry("lib", type=tarfile.SYMTYPE, linkname="usr/lib"),
        entry("dev/null", type=tarfile.CHRTYPE),
        *GOOD,
    ),
    "with things nobody wants": archive(
        *GOOD,
        entry("data/training_args.bin", b"pickle"),
        entry("data/.hidden", b"x"),
        entry("data/sub/", type=tarfile.DIRTYPE),
        entry("data/sub/adapter_config.json", b"x"),
        entry("data/" + "n" * 300, b"x"),
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_layer_is_unpacked_whoever_made_it(tmp_path: Path, name: str) -> None:
    old = os.umask(0o077)
    try:
        out = unpacked(tmp_path / "out", HONEST[name])
    finally:
        os.umask(old)
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    assert found == {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}
    assert {oct(path.stat().st_mode & 0o7777) for path in out.iterdir()} == {"0o644"}
    assert oct(out.stat().st_mode & 0o7777) == "0o755"
    assert list(tmp_path.iterdir()) == [out]


def test_a_later_layer_replaces_a_file(tmp_path: Path) -> None:
    later = archive(entry("data/adapter_config.json", b'{"new": 1}'))
    out = unpacked(tmp_path / "out", archive(*GOOD), later)
    assert (out / "adapter_config.json").read_bytes() == b'{"new": 1}'


def test_an_image_of_rows_keeps_its_folders(tmp_path: Path) -> None:
    rows = archive(
        entry("data/train/part-0.parquet", b"PAR1"),
        entry("data/a b.jsonl", b"{}"),
        entry("data/c.ndjson.gz", b"gz"),
        entry("data/rows", b"{}"),
        entry("data/d.parquet.gz", b"no"),
        entry("data/script.py", b"no"),
        entry("data/..a/x.json", b"{}"),
    )
    out = unpacked(tmp_path / "out", rows, wanted=unpack.DATA_FILES)
    found = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert found == ["a b.jsonl", "c.ndjson.gz", "rows", "train/part-0.parquet"]


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path) -> None:
    both = archive(entry("data/a.json/b.json", b"x"), entry("data/a.json", b"x"))
    for content in (both, archive(entry("data/a.json", b"x"), entry("data/a.json/b.json", b"x"))):
        with pytest.raises(Failure, match="both a file and a folder"):
            unpacked(tmp_path / "out", content, wanted=unpack.DATA_FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(Failure, match="not an empty folder") as failed:
            unpacked(target, archive(*GOOD))
        assert failed.value.kind is Kind.BAD_CONFIG
    empty = tmp_path / "empty"
    empty.mkdir()
    assert unpacked(empty, archive(*GOOD)).is_dir()


def test_more_bytes_than_an_adapter_has_are_refused_unread(tmp_path: Path) -> None:
    huge = Descriptor(LAYER, "sha256:" + "0" * 64, 1 << 50)
    image = Manifest("", Descriptor("", "", 0), (huge,), {})

    def never(blob: Descriptor) -> Iterator[bytes]:
        raise AssertionError("downloaded")

    with pytest.raises(Failure, match="more than"):
        unpack.unpack_image(image, never, tmp_path / "out", unpack.ADAPTER)


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_any_bytes_are_a_layer_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, size: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        unpack.unpack_layer(blocks_of(content, size), len(content), folder, unpack.DATA_FILES)
    except Failure as failure:
        assert failure.kind is Kind.BAD_DATA


@given(st.integers(0, 3 * 512 + 2000), st.integers(0, 255))
def test_a_changed_byte_never_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, offset: int, value: int
) -> None:
    content = bytearray(archive(*GOOD))
    content[offset % len(content)] = value
    parent = tmp_path_factory.mktemp("changed")
    folder = parent / "f"
    folder.mkdir()
    try:
        unpack.unpack_layer(blocks_of(bytes(content)), len(content), folder, unpack.ADAPTER)
    except Failure as failure:
        assert failure.kind is Kind.BAD_DATA
    assert list(parent.iterdir()) == [folder]


@given(st.binary(max_size=5000), st.integers(1, 999), st.sampled_from(["gzip", "zstd", "none"]))
def test_what_was_compressed_comes_back(content: bytes, size: int, how: str) -> None:
    if how == "none" and content[:4].startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return
    data = content
    if how == "gzip":
        state = zlib.compressobj(wbits=31)
        data = state.compress(content) + state.flush()
    elif how == "zstd":
        data = bytes(pyarrow.compress(content, "zstd", asbytes=True))
    assert plain(blocks_of(data, size), 10**6).read(10**6) == content


def test_the_layout_of_a_built_image_unpacks_to_the_adapter(tmp_path: Path) -> None:
    image = adapter_image(tmp_path / "a")
    layout.write(image, tmp_path / "layout")
    layout.pull(tmp_path / "layout", tmp_path / "out")
    weights = "adapter_model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (tmp_path / "a" / weights).read_bytes()
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_bytes())
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert adapter_folder(tmp_path / "again").is_dir()
