"""safetensors files without torch: every header checked, tensors as numpy arrays over the file.

Read by adapter.py and base.py, written by compose.py. The format: eight bytes of header length,
a JSON header, the bytes of all tensors without gaps. numpy has no bfloat16, so the bytes are kept
and widened when somebody computes with them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Shape = tuple[int, ...]

# safetensors refuses longer headers itself (its MAX_HEADER_SIZE).
_LONGEST_HEADER_BYTES = 100_000_000
_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
_FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
# The bits of the exponent: all set means infinite or not a number.
_EXPONENTS = {"F16": 0x7C00, "BF16": 0x7F80}
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor as the header describes it."""

    name: str
    dtype: str
    shape: Shape
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file that stays on disk until it is used."""

    dtype: str
    shape: Shape
    raw: NDArray[np.uint8]

    @property
    def is_float(self) -> bool:
        """Whether `floats` and `finite` can read it."""
        return self.dtype in _FLOATS or self.dtype == "BF16"

    def floats(self) -> Floats:
        """The numbers in 32 bits, exactly (F64 is rounded)."""
        if self.dtype == "BF16":
            wide = self.raw.view("<u2").astype(np.uint32) << np.uint32(16)
            return wide.view(np.float32).reshape(self.shape)
        numbers = self.raw.view(np.dtype(_FLOATS[self.dtype]).newbyteorder("<"))
        return numbers.astype(np.float32).reshape(self.shape)

    def finite(self) -> bool:
        """No infinity and nothing that is not a number."""
        if self.dtype in _EXPONENTS:
            bits, mask = self.raw.view("<u2"), np.uint16(_EXPONENTS[self.dtype])
            return not any(bool(((b & mask) == mask).any()) for b in _blocks(bits))
        numbers = self.raw.view(np.dtype(_FLOATS[self.dtype]).newbyteorder("<"))
        return all(bool(np.isfinite(block).all()) for block in _blocks(numbers))


def read(path: Path) -> Mapping[str, Tensor]:
    """Every tensor of the file. Raises ValueError (what is wrong with the file) or OSError."""
    found = header(path)
    start = path.stat().st_size - (found[-1].end if found else 0)
    if not found or found[-1].end == 0:
        return {e.name: Tensor(e.dtype, e.shape, np.zeros(0, np.uint8)) for e in found}
    data = np.memmap(path, np.uint8, "r", offset=start)
    return {e.name: Tensor(e.dtype, e.shape, data[e.begin : e.end]) for e in found}


def header(path: Path) -> list[Entry]:
    """What the file holds, in the order of its bytes. Raises ValueError or OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0] if size >= 8 else 0
        if not 2 <= length <= min(_LONGEST_HEADER_BYTES, size - 8):
            raise ValueError("is not a whole safetensors file (its header is cut or too long)")
        text = file.read(length)
    try:
        described = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("is not a safetensors file (its header is not JSON)") from error
    if not isinstance(described, dict):
        raise ValueError("is not a safetensors file (its header is not a JSON object)")
    described.pop("__metadata__", None)
    entries = sorted((_entry(n, v) for n, v in described.items()), key=lambda e: (e.begin, e.end))
    _check_gapless(entries, size - 8 - length)
    return entries


def write(path: Path, shapes: Mapping[str, Shape], floats: Callable[[str], Floats]) -> None:
    """Tensors in 32 bits, sorted by name, so that equal ones make equal files.

    `floats` gives each in its turn: no more than one is held in memory.
    """
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in sorted(shapes):
        end = position + math.prod(shapes[name]) * 4
        place = [position, end]
        described[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": place}
        position = end
    text = json.dumps(described, separators=(",", ":")).encode()
    # The data begins at a multiple of eight bytes, as safetensors itself writes it.
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(shapes):
            file.write(np.ascontiguousarray(floats(name), "<f4").data)


def _entry(name: str, value: Any) -> Entry:
    try:
        dtype, shape = value["dtype"], tuple(value["shape"])
        begin, end = value["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        right = whole and end - begin == math.prod(shape) * _BYTES[dtype]
    except (TypeError, KeyError, ValueError):
        right = False
    if not right:
        raise ValueError(f"is broken: the tensor {name[:80]} has no valid type, shape and place")
    return Entry(name, dtype, shape, begin, end)


def _check_gapless(entries: list[Entry], data_bytes: int) -> None:
    position = 0
    for entry in entries:
        if entry.begin != position:
            raise ValueError(f"is broken: the bytes of {entry.name[:80]} are not where they belong")
        position = entry.end
    if position != data_bytes:
        raise ValueError(f"is cut or damaged: {data_bytes} bytes of data instead of {position}")


def _blocks(numbers: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Pieces of a large tensor, so that a check needs little memory."""
    for start in range(0, numbers.size, _BLOCK):
        yield numbers[start : start + _BLOCK]
