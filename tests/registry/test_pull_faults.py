"""Pulls through a proxy that misbehaves: what survives, and what is never unpacked."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.adapters import adapter_image
from rig.fault_proxy import (
    Action,
    Corrupt,
    CutResponse,
    FaultProxy,
    Replace,
    Rule,
    Silence,
    Status,
)

from tuning.failure import Failure, Kind
from tuning.images import oci
from tuning.images.oci import Image
from tuning.images.registry import Registry
from tuning.reference import Reference

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]

PULLS: dict[str, list[Rule]] = {
    "503 to a blob": [Rule("GET", "/blobs/", Status(503))],
    "503 to the manifest": [Rule("GET", "/manifests/", Status(503))],
    "blob cut": [Rule("GET", "/blobs/", CutResponse(700))],
    "weights cut": [Rule("GET", "/blobs/", CutResponse(60_000), after=1)],
    "weights cut often": [Rule("GET", "/blobs/", CutResponse(9_000), after=1, times=7)],
    "blob corrupt": [Rule("GET", "/blobs/", Corrupt(10))],
    "weights corrupt": [Rule("GET", "/blobs/", Corrupt(70_000), after=1)],
    "manifest corrupt": [Rule("GET", "/manifests/", Corrupt(10))],
    "manifest of something else": [Rule("GET", "/manifests/", Replace(body=b"{}"))],
    "manifest cut": [Rule("GET", "/manifests/", CutResponse(10))],
    "another blob": [Rule("GET", "/blobs/", Replace(body=b"x" * 4000))],
    "a longer blob": [Rule("GET", "/blobs/", Replace(body=b"x" * 10**6))],
    "a login page": [Rule("GET", "/blobs/", Replace(body=b"<html>please log in</html>"))],
    "silence": [Rule("GET", "/blobs/", Silence())],
}


@pytest.mark.parametrize("name", PULLS)
def test_a_pull_survives(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, tmp_path: Path, name: str
) -> None:
    reference = fresh(proxy.host)
    client().push(image, reference)
    proxy.rules += [dataclasses.replace(rule) for rule in PULLS[name]]
    client(read_s=1).pull(reference, tmp_path / "out" / "adapter")
    weights = (tmp_path / "out" / "adapter" / oci.WEIGHTS_FILE).read_bytes()
    assert weights == (tmp_path / "adapter" / oci.WEIGHTS_FILE).read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["adapter"]


def test_a_pull_goes_on_where_it_broke_off(
    proxy: FaultProxy, fresh: Fresh, client: Client, tmp_path: Path
) -> None:
    """By whole blocks: what urllib3 had of an unfinished one is lost."""
    reference = fresh(proxy.host)
    client().push(adapter_image(tmp_path / "a", weights_bytes=1_000_000), reference)
    proxy.rules.append(Rule("GET", "/blobs/", CutResponse(600_000), after=1))
    client().pull(reference, tmp_path / "out")
    ranges = [seen.headers.get("Range") for seen in proxy.log_of("GET", "/blobs/")]
    assert ranges == [None, None, "bytes=524288-"]


def test_a_server_that_ignores_ranges_is_understood(
    proxy: FaultProxy, fresh: Fresh, client: Client, tmp_path: Path
) -> None:
    reference = fresh(proxy.host)
    image = adapter_image(tmp_path / "a", weights_bytes=1_000_000)
    client().push(image, reference)
    whole = b"".join(bytes(block) for block in image.layers[1].blob.blocks())
    proxy.rules.append(Rule("GET", "/blobs/", CutResponse(600_000), after=1))
    proxy.rules.append(Rule("GET", "/blobs/", Status(200, body=whole), after=1))
    client().pull(reference, tmp_path / "out")
    assert len(proxy.log_of("GET", "/blobs/")) == 3


@pytest.mark.parametrize("action", [Corrupt(10), Corrupt(600), Replace(body=b"x" * 4000)])
def test_bytes_that_are_never_right_are_never_unpacked(
    proxy: FaultProxy,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
    action: Action,
) -> None:
    reference = fresh(proxy.host)
    client().push(image, reference)
    proxy.rules.append(Rule("GET", "/blobs/", action, times=10**6))
    patience = dataclasses.replace(client().transport.options.patience, deadline_s=1)
    with pytest.raises(Failure, match="other bytes") as failed:
        client(patience=patience).pull(reference, tmp_path / "out" / "adapter")
    assert failed.value.kind is Kind.UNAVAILABLE
    assert len(proxy.log_of("GET", "/blobs/")) >= 2
    assert list((tmp_path / "out").iterdir()) == []


def test_an_endless_manifest_is_cut_short(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    reference = fresh(proxy.host)
    client().push(image, reference)
    proxy.rules.append(Rule("GET", "/manifests/", Replace(body=b" " * 5_000_000)))
    with pytest.raises(Failure, match="larger than 4 MiB"):
        client().inspect(reference)
