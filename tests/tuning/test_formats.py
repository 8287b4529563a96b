import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.dataset import formats
from tuning.dataset.formats import Format


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train-00000.parquet", Format.PARQUET),
        ("A.JSONL", Format.JSONL),
        ("a.jsonl.gz", Format.JSONL),
        ("a.csv", Format.CSV),
        ("README_parquet_info.md", None),
        ("notes_csv_readme.md", None),
        ("parquet", None),
        (".parquet", None),
        ("a.parquet.gz", None),
        ("a.gz", None),
        ("a.parquet.tmp", None),
        ("", None),
    ],
)
def test_only_the_real_suffix_counts(name: str, expected: Format | None) -> None:
    assert formats.by_name(name) is expected


@pytest.mark.parametrize(
    ("name", "head", "extension", "expected"),
    [
        ("download", b"PAR1....", None, Format.PARQUET),
        ("download", b' {"a": 1}', None, Format.JSONL),
        ("download", b"\xef\xbb\xbf[1", None, Format.JSON),
        ("download", b"a,b\n", "csv", Format.CSV),
        ("download", b"a,b\n", ".CSV", Format.CSV),
        ("download", b"a,b\n", None, None),
        ("download", b"a,b\n", "webdataset", None),
        ("x.csv", b"PAR1", "parquet", Format.CSV),
    ],
)
def test_without_a_suffix_the_bytes_or_the_configuration_tell(
    name: str, head: bytes, extension: str | None, expected: Format | None
) -> None:
    assert formats.of(name, head, extension) is expected


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("a.parquet", b"PAR1\x15\x00", None),
        ("a.jsonl", b'{"a": 1}\n', None),
        ("a.jsonl.gz", b"\x1f\x8b\x08", None),
        ("a.jsonl", b"\x1f\x8b\x08", None),
        ("a.csv", b"a,b\n", None),
        ("a.arrow", b"\xff\xff\xff\xff", None),
        ("a.parquet", b"", "empty"),
        ("a.parquet", b"<!DOCTYPE html><html>", "web page"),
        ("a.csv", b"\n  <HTML>", "web page"),
        ("a.json", b'<?xml version="1.0"?><Error>', "web page"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid", "LFS"),
        ("a.jsonl", b"PK\x03\x04", "zip"),
        ("a.csv", b"\xff\xfea\x00", "UTF-16"),
        ("a.parquet", b'{"error": "not found"}', "no parquet file"),
        ("a.jsonl", b"PAR1", "a parquet file"),
        ("a.jsonl.gz", b'{"a": 1}', "not compressed"),
    ],
)
def test_the_first_bytes_must_be_what_the_name_promises(
    name: str, head: bytes, words: str | None
) -> None:
    problem = formats.problem(name, head)
    assert (problem is None) == (words is None)
    assert words is None or (problem is not None and words in problem)


@given(st.text(), st.binary(), st.none() | st.text())
def test_any_name_and_any_bytes_get_an_answer(name: str, head: bytes, extension: str) -> None:
    formats.by_name(name)
    formats.of(name, head, extension)
    formats.problem(name, head)
