import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.failure import Failure, Kind
from tuning.images.manifest import Descriptor, Manifest, labels, parse, verified
from tuning.images.oci import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE

SHA = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def described(media_type: str, digest: str = SHA, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": 3, **more}


def image(**more: object) -> dict[str, Any]:
    return {"config": described(CONFIG_TYPE), "layers": [described(LAYER_TYPE)], **more}


def of(value: object) -> Manifest | Descriptor:
    return parse(json.dumps(value).encode(), SHA)


DOCKER = "application/vnd.docker."


@pytest.mark.parametrize(
    "layer",
    [LAYER_TYPE, f"{LAYER_TYPE}+gzip", f"{LAYER_TYPE}+zstd", f"{DOCKER}image.rootfs.diff.tar.gzip"],
)
def test_images_of_all_tools_are_images(layer: str) -> None:
    for config in (CONFIG_TYPE, f"{DOCKER}container.image.v1+json"):
        found = of({"config": described(config), "layers": [described(layer)]})
        assert isinstance(found, Manifest)
        assert found.size_bytes == 3


NOT_IMAGES = {
    "an artifact": image(config=described("application/vnd.oci.empty.v1+json")),
    "a ModelPack": image(config=described("application/vnd.cncf.model.config.v1+json")),
    "a foreign layer": image(layers=[described(f"{DOCKER}image.rootfs.foreign.diff.tar.gzip")]),
    "no layers": {"config": described(CONFIG_TYPE)},
    "no config": {"layers": []},
    "a list": [],
    "a number": 7,
    "an empty index": {"manifests": []},
    "an index of nothing": {"manifests": [7, {"mediaType": "x"}]},
    "sha512": image(layers=[described(LAYER_TYPE, "sha512:" + "a" * 128)]),
    "path as digest": image(layers=[described(LAYER_TYPE, "sha256:../../etc/passwd")]),
    "negative size": image(layers=[described(LAYER_TYPE) | {"size": -1}]),
    "size as text": image(layers=[described(LAYER_TYPE) | {"size": "3"}]),
    "true as size": image(layers=[described(LAYER_TYPE) | {"size": True}]),
    "many layers": image(layers=[described(LAYER_TYPE)] * 200),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_what_is_no_image_is_a_sentence(name: str) -> None:
    with pytest.raises(Failure) as failed:
        of(NOT_IMAGES[name])
    assert failed.value.kind is Kind.BAD_DATA


def platform(os: str, architecture: str) -> dict[str, Any]:
    return {"platform": {"os": os, "architecture": architecture}}


INDEXES: dict[str, list[Any]] = {
    "amd64 first": [described(MANIFEST_TYPE, OTHER, **platform("linux", "amd64"))],
    "amd64 last": [
        described(MANIFEST_TYPE, **platform("linux", "arm64")),
        described(MANIFEST_TYPE, OTHER, **platform("linux", "amd64")),
    ],
    "only arm64": [described(MANIFEST_TYPE, OTHER, **platform("linux", "arm64"))],
    "no platform": [described(MANIFEST_TYPE, OTHER)],
    "an attestation first": [
        described(
            MANIFEST_TYPE,
            **platform("unknown", "unknown"),
            annotations={"vnd.docker.reference.type": "attestation-manifest"},
        ),
        described(MANIFEST_TYPE, OTHER, **platform("linux", "arm64")),
    ],
    "something else first": [described("application/x"), described(MANIFEST_TYPE, OTHER)],
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_leads_to_the_usable_image(name: str) -> None:
    assert of({"manifests": INDEXES[name]}) == Descriptor(MANIFEST_TYPE, OTHER, 3)


def test_labels_are_strings_or_not_there() -> None:
    assert labels(b'{"config": {"Labels": {"a": "1", "b": 2}}}') == {"a": "1"}
    for config in (b"{}", b'{"config": null}', b'{"config": {"Labels": null}}'):
        assert labels(config) == {}


@given(st.lists(st.binary(max_size=5), max_size=5), st.integers(0, 30))
def test_only_the_promised_bytes_pass(blocks: list[bytes], size: int) -> None:
    import hashlib

    content = b"".join(blocks)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    good = verified(iter(blocks), Descriptor("", digest, len(content)), ValueError)
    assert b"".join(good) == content
    for wrong in (Descriptor("", SHA, len(content)), Descriptor("", digest, len(content) + 1)):
        with pytest.raises(ValueError):
            list(verified(iter(blocks), wrong, ValueError))
    if size < len(content):
        with pytest.raises(ValueError):
            list(verified(iter(blocks), Descriptor("", digest, size), ValueError))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_sentence(content: bytes) -> None:
    try:
        parse(content, SHA)
    except Failure as failure:
        assert failure.kind is Kind.BAD_DATA
