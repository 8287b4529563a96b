"""The bytes of an image's blobs, as they come, checked, and resumed where they broke off.

registry.py reads them into unpack.py. Memory holds one block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import requests

from tuning.failure import Failure, Kind
from tuning.images import refusal
from tuning.images.authorization import PULL
from tuning.images.manifest import Descriptor, Manifest, verified
from tuning.images.transport import Transport
from tuning.images.upload import OnBytes
from tuning.reference import Reference
from tuning.retry import Transient, patiently

_BLOCK_BYTES = 256 * 1024
_MOST_BREAKS = 20


class BlobStream:
    """Blobs of one image, with progress over all of them."""

    def __init__(
        self,
        transport: Transport,
        reference: Reference,
        manifest: Manifest,
        on_bytes: OnBytes | None,
    ) -> None:
        self._transport = transport
        self._reference = reference
        self._total = manifest.size_bytes
        self._on_bytes = on_bytes
        self._done = 0

    def blocks(self, blob: Descriptor) -> Iterator[bytes]:
        """The blob. Raises Transient at its end if the bytes were not those of its digest."""
        return verified(self._raw(blob), blob, lambda: self._wrong(blob))

    def _raw(self, blob: Descriptor) -> Iterator[bytes]:
        offset, breaks = 0, 0
        while offset < blob.size:
            try:
                for block in self._from(blob, offset):
                    offset += len(block)
                    self._progress(len(block))
                    yield block
            except Transient as broken:
                breaks += 1
                if breaks > _MOST_BREAKS:
                    sentence = f"{broken.sentence}; broke off {breaks} times, run it again later"
                    raise Failure(Kind.UNAVAILABLE, sentence) from broken
                time.sleep(self._transport.options.patience.wait_s(breaks, broken.retry_after_s))

    def _from(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` on. Raises Transient where the connection breaks."""
        answer = patiently(lambda: self._open(blob, offset), self._transport.options.patience)
        skip = offset if answer.status_code == 200 else 0
        try:
            with answer:
                for block in answer.iter_content(_BLOCK_BYTES):
                    if skip >= len(block):
                        skip -= len(block)
                        continue
                    yield block[skip:]
                    skip = 0
        except requests.RequestException as error:
            raise refusal.broken(error, self._reference.registry) from error

    def _open(self, blob: Descriptor, offset: int) -> requests.Response:
        url = self._transport.url(self._reference, f"blobs/{blob.digest}")
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._transport.send(self._reference, PULL, "GET", url, headers, stream=True)
        if answer.status_code in (200, 206):
            return answer
        with answer:
            if answer.status_code in (401, 403):
                raise self._transport.refused(answer, self._reference, PULL)
            if answer.status_code == 404:
                what = f"{self._reference.name} lacks the blob {blob.digest} of this image"
                raise Failure(Kind.UNAVAILABLE, f"{what}; push the image again")
            raise refusal.unexpected(answer, self._reference, "a blob")

    def _progress(self, count: int) -> None:
        self._done += count
        if self._on_bytes:
            self._on_bytes(min(self._done, self._total), self._total)

    def _wrong(self, blob: Descriptor) -> Transient:
        return Transient(f"{self._reference.registry} sent other bytes than {blob.digest} promises")
