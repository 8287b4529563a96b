"""Adapter images ⇄ a registry: push, pull, inspect, resolve.

The last word of a run (`push`), and the first of serving. A subclass of oras' Registry: session,
URL helpers and tag listing are oras', every request goes through our transport (docs/images.md says
why). Removed is only what is named by its digest: oras' delete_tag deletes a manifest under all its
tags.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oras.provider
import requests
from oras.container import Container

from tuning.failure import Failure, Kind
from tuning.images import manifest as manifests
from tuning.images import provenance, refusal, unpack
from tuning.images.authorization import DELETE, PULL, PUSH
from tuning.images.connection import Options
from tuning.images.credentials import Credentials
from tuning.images.download import BlobStream
from tuning.images.manifest import ACCEPT, Manifest
from tuning.images.oci import MANIFEST_TYPE, Image
from tuning.images.transport import Transport
from tuning.images.upload import OnBytes, expect, upload_all
from tuning.reference import Reference
from tuning.retry import Transient, patiently

_TAG_REFUSED = frozenset({400, 403, 405, 409, 412})
"""What registries answer for a tag that must not move (ECR, Docker Hub, ACR, Harbor …)."""
_WRONG_BYTES_S = 10
"""A blob that was stored wrong stays wrong: not much patience for that."""
_REPOSITORY = re.compile(r"https?://([^/]+)/v2/(.+?)/(?:blobs|manifests|tags)/")


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where an image is now. `reference` names it for ever: repository@digest."""

    reference: Reference
    digest: str
    size_bytes: int
    uploaded_bytes: int
    already_there: bool
    """The tag had this digest before: nothing was sent."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """An image without its layers."""

    reference: Reference
    manifest: Manifest
    labels: Mapping[str, str]

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def provenance(self) -> provenance.Provenance:
        """From the annotations; from the labels where a tool dropped those."""
        return provenance.read({**self.labels, **self.manifest.annotations})


class Registry(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    """Any registry; one object may be used for several, each gets only its own login."""

    def __init__(
        self, credentials: Credentials | None = None, options: Options | None = None
    ) -> None:
        super().__init__()
        options = options or Options()
        self.transport = Transport(self.session, credentials or Credentials(), options)
        deadline_s = min(_WRONG_BYTES_S, options.patience.deadline_s)
        self._wrong_bytes = dataclasses.replace(options.patience, deadline_s=deadline_s)

    def push(
        self,
        image: Image,
        reference: Reference,
        overwrite: bool = True,
        on_bytes: OnBytes | None = None,
    ) -> Pushed:
        """Blobs, then the manifest by digest, then the tag, then proof. Raises Failure.

        Safe to repeat: what is there is not sent again. Without `overwrite` a tag that has another
        digest is left alone.
        """
        if reference.digest not in (None, image.digest):
            what = f"the image has the digest {image.digest}, not that of {reference}"
            raise Failure(Kind.BAD_CONFIG, f"{what}; push to a tag")
        found = self.find(reference)
        done = Pushed(reference.at(image.digest), image.digest, image.size_bytes, 0, True)
        if found == image.digest:
            return done
        if found is not None and not overwrite:
            raise tag_taken(reference, found)
        uploaded = upload_all(self.transport, reference, image.blobs, on_bytes)
        self._put_manifest(image, reference, image.digest)
        if reference.tag:
            self._put_tag(image, reference)
        return Pushed(done.reference, image.digest, image.size_bytes, uploaded, False)

    def pull(
        self,
        reference: Reference,
        target_dir: Path,
        wanted: unpack.Wanted = unpack.ADAPTER,
        on_bytes: OnBytes | None = None,
    ) -> Manifest:
        """Write the wanted files under /data of the image to `target_dir`, all or none.

        Every byte is checked against its digest while it is unpacked. Raises Failure, also when
        `target_dir` holds anything already.
        """
        unpack.check_target(target_dir)

        def attempt() -> Manifest:
            found = self.manifest(reference)
            stream = BlobStream(self.transport, reference, found, on_bytes)
            unpack.unpack_image(found, stream.blocks, target_dir, wanted)
            return found

        return patiently(attempt, self._wrong_bytes)

    def inspect(self, reference: Reference) -> Inspection:
        """What an image says of itself; downloads a few kilobytes. Raises Failure."""

        def attempt() -> Inspection:
            found = self.manifest(reference)
            if found.config.size > manifests.MAX_CONFIG_BYTES:
                raise Failure(Kind.BAD_DATA, f"the config of {reference} is too large to be one")
            stream = BlobStream(self.transport, reference, found, None)
            config = b"".join(stream.blocks(found.config))
            return Inspection(reference.at(found.digest), found, manifests.labels(config))

        return patiently(attempt, self._wrong_bytes)

    def resolve(self, reference: Reference) -> str:
        """The digest that the reference has now. Raises Failure (BAD_CONFIG) if there is none."""
        found = self.find(reference)
        if found is None:
            raise Failure(Kind.BAD_CONFIG, f"there is no image {reference}; check name and tag")
        return found

    def find(self, reference: Reference) -> str | None:
        """`resolve`, but None for an image that is not there."""
        url = self.transport.url(reference, f"manifests/{reference.target}")
        answer = self.transport.ask(reference, PULL, "HEAD", url, {"Accept": ACCEPT})
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise self._no_pull(answer, reference)
        digest = answer.headers.get("Docker-Content-Digest", "")
        return digest or self._fetch(reference)[1]

    def manifest(self, reference: Reference) -> Manifest:
        """The image's manifest, checked; of an index, the image for linux/amd64 or the first."""
        for _ in range(3):
            content, digest = self._fetch(reference)
            found = manifests.parse(content, digest)
            if isinstance(found, Manifest):
                return found
            reference = reference.at(found.digest)
        raise Failure(Kind.BAD_DATA, f"{reference} is an index of indexes; name an image")

    def remove(self, reference: Reference) -> bool:
        """Remove the image of this digest, under all its tags; False where that is refused.

        Raises Failure (UNAVAILABLE, or NO_ACCESS from a token service).
        """
        url = self.transport.url(reference, f"manifests/{reference.digest}")
        answer = self.transport.ask(reference, DELETE, "DELETE", url)
        return answer.status_code in (200, 202, 404)

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,  # oras' name
        stream: bool = False,
    ) -> requests.Response:
        """The one door of oras' own methods (get_tags …) to the network."""
        match = _REPOSITORY.match(url)
        if match is None:
            raise Failure(Kind.BAD_CONFIG, "this is not the address of a repository")
        reference = Reference(match[1], match[2], "latest")
        own = self.transport.url(reference, url[match.end(2) + 1 :])
        actions = PULL if method in ("GET", "HEAD") else PUSH
        body = data if json is None else _bytes(json)
        return self.transport.ask(reference, actions, method, own, headers, body, stream)

    def tags(self, reference: Reference) -> list[str]:
        """All tags of the repository."""
        found = self.get_tags(Container(f"{reference.host}/{reference.repository}"))
        return [str(tag) for tag in found]

    def _put_manifest(self, image: Image, reference: Reference, target: str) -> None:
        answer = self._send_manifest(image, reference, target)
        expect(answer, self.transport, reference, 201, "the manifest")

    def _put_tag(self, image: Image, reference: Reference) -> None:
        """Move the tag; a tag that may not move is fine if it has our digest already."""
        answer = self._send_manifest(image, reference, str(reference.tag))
        tagged = Reference(reference.registry, reference.repository, reference.tag)
        found = self.find(tagged) if answer.status_code in (201, *_TAG_REFUSED) else None
        if found == image.digest:
            return
        if answer.status_code in _TAG_REFUSED and found is not None:
            raise tag_fixed(tagged, found, refusal.said(answer), image.digest)
        expect(answer, self.transport, reference, 201, f"the tag {reference.tag}")
        what = f"{tagged} was moved by somebody else while it was pushed"
        raise Failure(Kind.UNAVAILABLE, f"{what}; the adapter is {reference.at(image.digest)}")

    def _send_manifest(self, image: Image, reference: Reference, target: str) -> requests.Response:
        url = self.transport.url(reference, f"manifests/{target}")
        headers = {"Content-Type": MANIFEST_TYPE}

        def attempt() -> requests.Response:
            answer = self.transport.ask(reference, PUSH, "PUT", url, headers, image.manifest)
            if refusal.doubts_manifest(answer):
                raise refusal.transient(answer, reference.registry)
            return answer

        return patiently(attempt, self._wrong_bytes)

    def _fetch(self, reference: Reference) -> tuple[bytes, str]:
        """Manifest bytes and their digest, which is the one that was promised."""

        def attempt() -> tuple[bytes, str]:
            url = self.transport.url(reference, f"manifests/{reference.target}")
            headers = {"Accept": ACCEPT}
            answer = self.transport.send(reference, PULL, "GET", url, headers, stream=True)
            with answer:
                if answer.status_code != 200:
                    raise self._no_pull(answer, reference)
                content = _small_body(answer, reference)
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            promised = reference.digest or answer.headers.get("Docker-Content-Digest") or digest
            if digest != promised:
                raise Transient(f"{reference.registry} sent another manifest than {promised}")
            return content, digest

        return patiently(attempt, self.transport.options.patience)

    def _no_pull(self, answer: requests.Response, reference: Reference) -> Failure:
        if answer.status_code in (401, 403):
            return self.transport.refused(answer, reference, PULL)
        if answer.status_code == 404:
            return refusal.not_found(answer, reference, pushing=False)
        return refusal.unexpected(answer, reference, "the manifest")


def tag_taken(reference: Reference, found: str) -> Failure:
    """A tag that exists with another digest, and may not be overwritten."""
    what = f"{reference} exists already with another content ({found})"
    return Failure(Kind.BAD_CONFIG, f"{what}; choose another tag, or allow overwriting")


def tag_fixed(reference: Reference, found: str, said: str, digest: str) -> Failure:
    """A tag that the registry does not let move."""
    what = f"the registry does not move {reference}, which is {found} ({said})"
    where = f"the adapter is there as {reference.name}@{digest}"
    return Failure(Kind.BAD_CONFIG, f"{what}; {where}, choose another tag for it")


def _small_body(answer: requests.Response, reference: Reference) -> bytes:
    content = b""
    try:
        for block in answer.iter_content(256 * 1024):
            content += block
            if len(content) > manifests.MAX_MANIFEST_BYTES:
                raise Failure(Kind.BAD_DATA, f"the manifest of {reference} is larger than 4 MiB")
    except requests.RequestException as error:
        raise refusal.broken(error, reference.registry) from error
    return content


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
