"""One blob → a registry, whole or not at all, in one streamed PUT or in chunks.

Specification: OCI distribution spec v1.1, "Pushing blobs". An upload session that broke is asked
where it stands; unless it answers with an offset, the upload starts anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import requests

from tuning.images import refusal
from tuning.images.authorization import PULL, PUSH
from tuning.images.blob import Blob
from tuning.images.transport import Transport, checked
from tuning.reference import Reference
from tuning.retry import Transient, patiently

OnBytes = Callable[[int, int], None]
"""(bytes done, bytes in all). The first may go back when an upload starts anew."""

_OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class _Slice:
    """A sized stream, in the form that requests sends with a Content-Length."""

    blob: Blob
    start: int
    stop: int
    on_done: Callable[[int], None]

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[memoryview]:
        done = self.start
        for block in self.blob.blocks(self.start, self.stop):
            yield block
            done += len(block)
            self.on_done(done)


class Uploader:
    """Puts blobs into one repository."""

    def __init__(self, transport: Transport, reference: Reference) -> None:
        self._transport = transport
        self._reference = reference

    def has(self, blob: Blob) -> bool:
        """Whether the repository has the blob already."""
        url = self._transport.url(self._reference, f"blobs/{blob.digest}")
        answer = self._transport.ask(self._reference, PULL, "HEAD", url)
        return answer.status_code == 200

    def put(self, blob: Blob, on_done: Callable[[int], None]) -> None:
        """Upload it. Raises Failure."""
        options = self._transport.options
        if blob.size > options.monolithic_max_bytes:
            _Chunked(self._transport, self._reference, blob, on_done).run()
            return
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            if attempts > 1 and self.has(blob):
                return  # the answer was lost, not the blob
            answer = self._monolithic(blob, on_done)
            if answer.status_code == 413:
                _Chunked(self._transport, self._reference, blob, on_done).run()
                return
            if answer.status_code == 400 and attempts == 1:
                # Bytes that changed on the way show up as a wrong digest: once more.
                checked(answer, self._reference, 201)
            expect(answer, self._transport, self._reference, 201, "the upload of a blob")

        patiently(attempt, options.patience)

    def _monolithic(self, blob: Blob, on_done: Callable[[int], None]) -> requests.Response:
        location = start_upload(self._transport, self._reference)
        url = _with_digest(location, blob.digest)
        try:
            return self._transport.send(
                self._reference,
                PUSH,
                "PUT",
                url,
                _OCTETS,
                lambda: _Slice(blob, 0, blob.size, on_done),
            )
        except Transient:
            # An expired token can look like a broken connection when a body is under way.
            self._transport.authorizer.forget(self._reference)
            raise


class _Chunked:
    """POST, PATCH and PATCH, PUT; the registry's newest Location and Range are believed."""

    def __init__(
        self, transport: Transport, reference: Reference, blob: Blob, on_done: Callable[[int], None]
    ) -> None:
        self._transport = transport
        self._reference = reference
        self._blob = blob
        self._on_done = on_done
        self._location = ""
        self._offset = 0
        self._chunk_bytes = transport.options.chunk_bytes
        self._in_doubt = False
        self._began_anew = False

    def run(self) -> None:
        patience = self._transport.options.patience
        done = False
        while not done:
            while self._offset < self._blob.size or not self._location:
                patiently(self._chunk, patience)
            done = patiently(self._finish, patience)

    def _chunk(self) -> None:
        """Send the next chunk, from where the registry says the upload stands."""
        self._settle()
        stop = min(self._offset + self._chunk_bytes, self._blob.size)
        start = self._offset
        headers = _OCTETS | {"Content-Range": f"{start}-{stop - 1}"}
        self._in_doubt = True
        answer = self._send("PATCH", self._location, headers, start, stop)
        if answer.status_code in (404, 416):
            checked(answer, self._reference, 202)
        expect(answer, self._transport, self._reference, 202, "a chunk of a blob")
        self._location = self._transport.location(answer, self._reference)
        self._offset = _acknowledged(answer) or stop
        self._in_doubt = False

    def _finish(self) -> bool:
        """Close the upload; False when there is more to send first."""
        if self._in_doubt:
            self._settle()
            if self._offset < self._blob.size:
                return False
        self._in_doubt = True
        answer = self._send("PUT", _with_digest(self._location, self._blob.digest), {}, 0, 0)
        if answer.status_code in (400, 404, 416) and not self._began_anew:
            # The session is lost, or holds other bytes than were sent.
            self._began_anew, self._location, self._offset = True, "", 0
            return False
        expect(answer, self._transport, self._reference, 201, "the upload of a blob")
        return True

    def _settle(self) -> None:
        """After a doubt, ask the session; without a session, begin one."""
        if self._location and self._in_doubt:
            answer = self._transport.send(self._reference, PUSH, "GET", self._location)
            if answer.status_code == 204:
                self._location = self._transport.location(answer, self._reference)
                self._offset = _acknowledged(answer) or 0
            else:
                self._location = ""
        if not self._location:
            answer = open_session(self._transport, self._reference)
            self._location = self._transport.location(answer, self._reference)
            least = answer.headers.get("OCI-Chunk-Min-Length", "")
            if least.isdigit():
                self._chunk_bytes = max(self._chunk_bytes, int(least))
            self._offset = 0
        self._in_doubt = False

    def _send(
        self, method: str, url: str, headers: dict[str, str], start: int, stop: int
    ) -> requests.Response:
        def body() -> _Slice:
            return _Slice(self._blob, start, stop, self._on_done)

        return self._transport.send(
            self._reference, PUSH, method, url, headers, body if stop else None
        )


def open_session(transport: Transport, reference: Reference) -> requests.Response:
    """Ask to upload: 202 with a Location. Raises Failure or Transient."""
    url = transport.url(reference, "blobs/uploads/")
    answer = transport.send(reference, PUSH, "POST", url)
    expect(answer, transport, reference, 202, "the start of an upload")
    return answer


def start_upload(transport: Transport, reference: Reference) -> str:
    """The address of a new upload session."""
    return transport.location(open_session(transport, reference), reference)


def expect(
    answer: requests.Response, transport: Transport, reference: Reference, status: int, doing: str
) -> None:
    """Raises the Failure that a final answer other than `status` means, while pushing."""
    if answer.status_code == status:
        return
    if answer.status_code in (401, 403):
        raise transport.refused(answer, reference, PUSH)
    if answer.status_code == 404:
        raise refusal.not_found(answer, reference, pushing=True)
    raise refusal.unexpected(answer, reference, doing)


def upload_all(
    transport: Transport, reference: Reference, blobs: tuple[Blob, ...], on_bytes: OnBytes | None
) -> int:
    """Upload the blobs that the repository lacks; returns how many bytes that were."""
    total = sum(blob.size for blob in blobs)
    uploader = Uploader(transport, reference)
    before, sent = 0, 0
    for blob in blobs:

        def on_done(done: int, before: int = before) -> None:
            if on_bytes:
                on_bytes(before + done, total)

        if not uploader.has(blob):
            uploader.put(blob, on_done)
            sent += blob.size
        before += blob.size
        on_done(0, before)
    return sent


def _acknowledged(answer: requests.Response) -> int | None:
    """The next offset: `Range: 0-LAST` of a PATCH or of a session's status."""
    match = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
    return int(match[1]) + 1 if match and match[1] != "0" else None


def _with_digest(location: str, digest: str) -> str:
    parts = urlsplit(location)
    query = f"{parts.query}&digest={digest}" if parts.query else f"digest={digest}"
    return urlunsplit(parts._replace(query=query))
