"""Our reader of safetensors against the library's own, on good and on hostile files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from serving import tensors

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reads_what_the_library_wrote(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    wanted = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(7).to(dtype), "c": torch.zeros(0)}
    save_file(wanted, tmp_path / "x.safetensors")
    found = tensors.read(tmp_path / "x.safetensors")
    for name, tensor in wanted.items():
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].finite()
        assert np.array_equal(found[name].floats(), tensor.float().numpy())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_finds_the_one_number_that_is_none(
    tmp_path: Path, dtype: torch.dtype, value: float
) -> None:
    broken = torch.ones(1_200_000, dtype=dtype)
    broken[-2] = value
    save_file({"good": torch.ones(3, dtype=dtype), "broken": broken}, tmp_path / "x.safetensors")
    found = tensors.read(tmp_path / "x.safetensors")
    assert found["good"].finite() and not found["broken"].finite()


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    wanted = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(1, np.float32)}
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    tensors.write(tmp_path / "x.safetensors", shapes, wanted.__getitem__)
    found = load_file(tmp_path / "x.safetensors")
    assert {n: t.tolist() for n, t in found.items()} == {n: t.tolist() for n, t in wanted.items()}
    with safe_open(tmp_path / "x.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def raw(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"", b""),
        (b"{", b""),
        (b"[" * 100_000, b""),
        ([], b""),
        ({"a": entry()}, b""),
        ({"a": entry()}, b"12345"),
        ({"a": entry(offsets=(4, 8))}, b"12345678"),
        ({"a": entry(), "b": entry()}, b"1234"),
        ({"a": entry(shape=(-1, -1))}, b"1234"),
        ({"a": entry(shape=(1.0,))}, b"1234"),
        ({"a": entry(shape=(True,))}, b"1234"),
        ({"a": entry(shape="1")}, b"1234"),
        ({"a": entry(dtype=["F32"])}, b"1234"),
        ({"a": entry(dtype="F31")}, b"1234"),
        ({"a": entry(offsets=(0,))}, b"1234"),
        ({"a": entry(offsets=(0, 2**70))}, b"1234"),
        ({"a": 7}, b"1234"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, header: Any, data: bytes) -> None:
    path = raw(tmp_path / "x.safetensors", header, data)
    with pytest.raises(ValueError, match="is "):
        tensors.read(path)


def test_a_pointer_instead_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n")
    with pytest.raises(ValueError, match="whole"):
        tensors.read(path)


_NUMBER = st.one_of(st.integers(-2, 9), st.sampled_from([2**40, 2**63, 1.5, "1", None]))
_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "F33", None]),
        "shape": st.lists(_NUMBER, max_size=3),
        "data_offsets": st.lists(_NUMBER, min_size=1, max_size=3),
    }
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from("abc"), _ENTRY, max_size=3), st.integers(0, 40))
def test_accepts_nothing_that_the_library_refuses(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], size: int
) -> None:
    path = raw(tmp_path_factory.getbasetemp() / "h.safetensors", header, b"\0" * size)
    try:
        found = tensors.read(path)
    except ValueError:
        return
    try:
        with safe_open(path, "pt") as opened:
            assert sorted(opened.keys()) == sorted(found)
    except SafetensorError as error:  # pragma: no cover
        pytest.fail(f"the library refuses it: {error}")
