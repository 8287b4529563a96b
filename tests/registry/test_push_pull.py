"""Every mode of a real registry: there and back."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.adapters import PROVENANCE, adapter_image
from rig.registry import RunningRegistry

from tuning.failure import Failure, Kind
from tuning.images import oci
from tuning.images.oci import Image
from tuning.images.registry import Registry
from tuning.reference import Reference, parse

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]


def skopeo(registry: RunningRegistry, *arguments: str) -> str:
    command = ["skopeo", "--insecure-policy", *arguments]
    command += [f"--tls-verify={str(registry.mode == 'tls').lower()}"]
    command += [f"--cert-dir={registry.ca.parent}"] if registry.ca else []
    command += [f"--authfile={registry.credentials}"] if registry.credentials else []
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_adapter_goes_there_and_comes_back(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    reference = fresh(any_registry.host)
    registry = client(any_registry)
    pushed = registry.push(image, reference)
    assert pushed.digest == image.digest
    assert pushed.uploaded_bytes == image.size_bytes - len(image.manifest)
    assert not pushed.already_there
    assert registry.resolve(reference) == image.digest
    other = client(any_registry)
    for number, name in enumerate((reference, pushed.reference)):
        out = tmp_path / str(number)
        assert other.pull(name, out).digest == image.digest
        weights = (out / oci.WEIGHTS_FILE).read_bytes()
        assert weights == (tmp_path / "adapter" / oci.WEIGHTS_FILE).read_bytes()


def test_an_inspection_tells_the_provenance(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(any_registry.host)
    client(any_registry).push(image, reference)
    found = client(any_registry).inspect(reference)
    assert found.provenance == PROVENANCE
    assert found.labels == PROVENANCE.annotations()
    assert str(found.reference) == f"{reference.name}@{image.digest}"


def test_skopeo_sees_the_same_image(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(any_registry.host)
    client(any_registry).push(image, reference)
    seen = json.loads(skopeo(any_registry, "inspect", f"docker://{reference}"))
    assert seen["Digest"] == image.digest
    assert seen["Labels"]["sh.tunery.base-model"] == "acme/base"


def test_pushing_again_sends_nothing(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(any_registry.host)
    client(any_registry).push(image, reference)
    again = client(any_registry).push(image, reference)
    assert again.already_there
    assert again.uploaded_bytes == 0


def test_a_new_tag_sends_only_manifests(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(any_registry.host)
    registry = client(any_registry)
    registry.push(image, reference)
    second = parse(f"{reference.name}:v2")
    assert registry.push(image, second).uploaded_bytes == 0
    assert registry.resolve(second) == image.digest
    assert registry.tags(reference) == ["v1", "v2"]


def test_chunks_make_the_same_image(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    reference = fresh(any_registry.host)
    chunked = client(any_registry, monolithic_max_bytes=10_000, chunk_bytes=30_000)
    assert chunked.push(image, reference).digest == image.digest
    client(any_registry).pull(reference, tmp_path / "out")


def test_progress_ends_with_all_bytes(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    reference = fresh(plain_registry.host)
    up: list[tuple[int, int]] = []
    down: list[tuple[int, int]] = []
    client(plain_registry).push(image, reference, on_bytes=lambda *now: up.append(now))
    client(plain_registry).pull(reference, tmp_path / "o", on_bytes=lambda *now: down.append(now))
    for seen in (up, down):
        done = [now for now, _ in seen]
        assert done == sorted(done)
        assert seen[-1][0] == seen[-1][1] > 100_000


def test_a_taken_tag_is_moved_only_if_allowed(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    reference = fresh(plain_registry.host)
    registry = client(plain_registry)
    registry.push(image, reference)
    other = adapter_image(tmp_path / "other", seed=2)
    with pytest.raises(Failure, match="exists already with another content") as failed:
        registry.push(other, reference, overwrite=False)
    assert failed.value.kind is Kind.BAD_CONFIG
    assert registry.resolve(reference) == image.digest
    assert registry.push(image, reference, overwrite=False).already_there
    assert registry.push(other, reference).digest == other.digest
    assert registry.resolve(reference) == other.digest


def test_what_is_not_there_is_said_so(
    any_registry: RunningRegistry, fresh: Fresh, client: Client, tmp_path: Path
) -> None:
    reference = fresh(any_registry.host)
    registry = client(any_registry)
    assert registry.find(reference) is None
    for word in (
        registry.resolve,
        registry.inspect,
        lambda name: registry.pull(name, tmp_path / "out"),
    ):
        with pytest.raises(Failure, match="there is no image") as failed:
            word(reference)
        assert failed.value.kind is Kind.BAD_CONFIG
        assert str(reference) in failed.value.sentence
    assert not (tmp_path / "out").exists()


def test_a_push_by_digest_must_name_the_images_own(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(plain_registry.host)
    assert client().push(image, reference.at(image.digest)).digest == image.digest
    with pytest.raises(Failure, match="push to a tag"):
        client().push(image, reference.at("sha256:" + "0" * 64))


def test_images_of_skopeo_are_unpacked(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    """skopeo recompresses to gzip, writes Docker's schema, or zstd: all are adapters."""
    reference = fresh(plain_registry.host)
    client().push(image, reference)
    weights = (tmp_path / "adapter" / oci.WEIGHTS_FILE).read_bytes()
    for kind in ("v2s2", "oci"):
        copy = parse(f"{reference.name}:{kind}")
        folder = tmp_path / f"dir-{kind}"
        skopeo_tls = ["--src-tls-verify=false", f"--format={kind}"]
        source = f"docker://{reference}"
        run = ["skopeo", "--insecure-policy", "copy", *skopeo_tls, "--dest-compress"]
        subprocess.run([*run, source, f"dir:{folder}"], check=True, capture_output=True)
        back = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false"]
        subprocess.run(
            [*back, f"dir:{folder}", f"docker://{copy}"], check=True, capture_output=True
        )
        client().pull(copy, tmp_path / kind)
        assert (tmp_path / kind / oci.WEIGHTS_FILE).read_bytes() == weights


@pytest.mark.parametrize("platforms", [["amd64"], ["arm64"], ["arm64", "amd64"]])
def test_an_index_is_resolved_to_an_image(
    plain_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
    platforms: list[str],
) -> None:
    reference = fresh(plain_registry.host)
    registry = client()
    registry.push(image, reference)
    entry = {"mediaType": oci.MANIFEST_TYPE, "digest": image.digest, "size": len(image.manifest)}
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            entry | {"platform": {"os": "linux", "architecture": name}} for name in platforms
        ],
    }
    url = registry.transport.url(reference, "manifests/index")
    headers = {"Content-Type": str(index["mediaType"])}
    registry.do_request(url, "PUT", headers=headers, json=index)
    tagged = parse(f"{reference.name}:index")
    assert registry.pull(tagged, tmp_path / "out").digest == image.digest
    assert registry.inspect(tagged).digest == image.digest
