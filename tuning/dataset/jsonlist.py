"""One large JSON list → its values, one at a time. Called by jsonrows.py.

The standard library reads a list only as a whole; here a window slides over the text.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tuning.dataset.rows import MAX_ROW_BYTES
from tuning.dataset.textfile import check_bomb, failure, opened

_BLOCK = 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")


class _Text:
    """A window that slides over a JSON text."""

    def __init__(self, file: IO[bytes], name: str, packed_bytes: int | None) -> None:
        self._file, self._name, self._packed_bytes = file, name, packed_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._read_bytes = 0
        self._window, self._at = "", 0

    def skip(self, character: str) -> bool:
        """Pass over white space, then over `character` if it comes next; "" is white space only."""
        while True:
            match = _SPACE.match(self._window, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._window) or not self._more(_BLOCK):
                break
        found = bool(character) and self._window.startswith(character, self._at)
        self._at += found
        return found

    def at_end(self, character: str) -> bool:
        """Whether the list is over; passes over the comma when it is not."""
        if self.skip(character):
            return True
        self.skip(",")
        self.skip("")
        return False

    def value(self, decoder: json.JSONDecoder, number: int) -> object:
        """The next value, wholly read. Raises Failure: what follows a broken one is unknown."""
        while True:
            try:
                value, end = decoder.raw_decode(self._window, self._at)
                if end < len(self._window):
                    self._at = end
                    return value
            except (ValueError, RecursionError):
                if len(self._window) - self._at > MAX_ROW_BYTES:
                    raise failure(
                        f"{self._name}: row {number} is not valid JSON, or larger than "
                        f"{MAX_ROW_BYTES // 2**20} MiB; correct it, or write JSON lines"
                    ) from None
            if not self._more(max(_BLOCK, len(self._window) - self._at)):
                what = f"{self._name} ends, or is no valid JSON, in row {number}"
                raise failure(f"{what}; if it was cut short, copy it again")

    def _more(self, count: int) -> bool:
        block = self._file.read(count)
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            pending = len(error.object) - len(block)
            at = self._read_bytes - pending + error.start
            raise failure(
                f"{self._name} is not UTF-8 text at byte {at}; save it as UTF-8"
            ) from None
        self._read_bytes += len(block)
        check_bomb(self._read_bytes, self._packed_bytes, self._name)
        self._window, self._at = self._window[self._at :] + text, 0
        return bool(block)


def values(path: Path, name: str) -> Iterator[object]:
    """The values of a file that is one JSON list. Raises Failure (BAD_DATA) where it breaks off."""
    decoder = json.JSONDecoder()
    with opened(path, name) as (file, packed_bytes):
        text = _Text(file, name, packed_bytes)
        text.skip("[")
        number = 0
        while not text.at_end("]"):
            number += 1
            yield text.value(decoder, number)
