"""What goes wrong between us and a real registry, and what becomes of it."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.adapters import adapter_image
from rig.fault_proxy import (
    Action,
    CutRequest,
    CutResponse,
    FaultProxy,
    Hold,
    Replace,
    Rule,
    Silence,
    Status,
    running_proxy,
)
from rig.registry import RunningRegistry, running_registry

from tuning.failure import Failure, Kind
from tuning.images.oci import Image
from tuning.images.registry import Registry
from tuning.reference import Reference, parse

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]

UPLOAD = r"/blobs/uploads/"
CHUNKS = {"monolithic_max_bytes": 10_000, "chunk_bytes": 40_000}


def _doubt(status: int, code: str) -> Status:
    return Status(status, {}, json.dumps({"errors": [{"code": code}]}).encode())


SURVIVED: dict[str, list[Rule]] = {
    "503 to HEAD": [Rule("HEAD", "", Status(503))],
    "503 to POST": [Rule("POST", UPLOAD, Status(503))],
    "502, 504, 408, 425 to POST": [
        Rule("POST", UPLOAD, Status(code)) for code in (502, 504, 408, 425)
    ],
    "500 to PUT": [Rule("PUT", UPLOAD, Status(500))],
    "500 to the manifest": [Rule("PUT", "/manifests/", Status(500))],
    "429 to the manifest": [Rule("PUT", "/manifests/", Status(429, {"Retry-After": "0"}))],
    "500 to the tag": [Rule("PUT", "/manifests/v1", Status(500))],
    "a manifest held for broken": [Rule("PUT", "/manifests/", _doubt(400, "DIGEST_INVALID"))],
    "a tag held for broken": [Rule("PUT", "/manifests/v1", _doubt(400, "DIGEST_INVALID"))],
    "a blob not seen yet": [Rule("PUT", "/manifests/", _doubt(404, "MANIFEST_BLOB_UNKNOWN"))],
    "PUT cut at once": [Rule("PUT", UPLOAD, CutRequest(0))],
    "PUT cut in the middle": [Rule("PUT", UPLOAD, CutRequest(50_000))],
    "PUT cut thrice": [Rule("PUT", UPLOAD, CutRequest(50_000), times=3)],
    "answer to PUT lost": [Rule("PUT", UPLOAD, CutResponse(0))],
    "silence for a PUT": [Rule("PUT", UPLOAD, Silence())],
    "silence for a HEAD": [Rule("HEAD", "", Silence())],
}


@pytest.mark.parametrize("name", SURVIVED)
def test_a_push_survives(
    proxy: FaultProxy,
    plain_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
    name: str,
) -> None:
    reference = fresh(proxy.host)
    proxy.rules += [dataclasses.replace(rule) for rule in SURVIVED[name]]
    assert client(commit_s=1, read_s=1).push(image, reference).digest == image.digest
    assert all(rule.times == 0 for rule in proxy.rules)
    there = parse(str(reference).replace(proxy.host, plain_registry.host))
    client().pull(there, tmp_path / "out")


SURVIVED_IN_CHUNKS: dict[str, list[Rule]] = {
    "503 between chunks": [Rule("PATCH", "", Status(503), after=1)],
    "500 to the first chunk": [Rule("PATCH", "", Status(500))],
    "chunk cut in the middle": [Rule("PATCH", "", CutRequest(20_000), after=1)],
    "answer to a chunk lost": [Rule("PATCH", "", CutResponse(0), after=1)],
    "the session is gone": [Rule("PATCH", "", Status(404), after=1)],
    "the range is wrong": [Rule("PATCH", "", Status(416), after=1)],
    "the last PUT fails": [Rule("PUT", UPLOAD, Status(503))],
    "the last PUT finds other bytes": [Rule("PUT", UPLOAD, Status(400))],
}


@pytest.mark.parametrize("name", SURVIVED_IN_CHUNKS)
def test_a_push_in_chunks_survives(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, tmp_path: Path, name: str
) -> None:
    reference = fresh(proxy.host)
    proxy.rules += [dataclasses.replace(rule) for rule in SURVIVED_IN_CHUNKS[name]]
    assert client(**CHUNKS).push(image, reference).digest == image.digest
    client().pull(reference, tmp_path / "out")


def test_chunks_go_on_where_the_registry_says(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    proxy.rules.append(Rule("PATCH", "", Status(503), after=1))
    client(**CHUNKS).push(image, fresh(proxy.host))
    ranges = [seen.headers["Content-Range"] for seen in proxy.log_of("PATCH")]
    assert [int(r.partition("-")[0]) for r in ranges] == [0, 40_000, 40_000, 80_000]


def test_a_chunk_is_as_large_as_the_registry_demands(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    demand = Replace({"OCI-Chunk-Min-Length": "60000"})
    proxy.rules.append(Rule("POST", UPLOAD, demand, times=9))
    client(**CHUNKS).push(image, fresh(proxy.host))
    assert next(seen.body_bytes for seen in proxy.log_of("PATCH")) == 60_000


def test_a_proxys_limit_on_bodies_is_got_round(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    reference = fresh(proxy.host)
    proxy.rules.append(Rule("PUT", UPLOAD, Status(413)))
    client(chunk_bytes=40_000).push(image, reference)
    client().pull(reference, tmp_path / "out")


def test_a_registry_that_is_restarted_gets_the_image(
    fresh: Fresh, client: Client, tmp_path: Path
) -> None:
    image = adapter_image(tmp_path / "adapter", weights_bytes=3_000_000)
    with running_registry() as registry, running_proxy(registry.host) as proxy:
        hold = Hold(1_000_000)
        proxy.rules.append(Rule("PUT", UPLOAD, hold, after=1))
        restart = threading.Thread(target=_restart, args=(registry, hold))
        restart.start()
        pushed = client().push(image, fresh(proxy.host))
        restart.join()
        assert client().resolve(pushed.reference) == image.digest


def _restart(registry: RunningRegistry, hold: Hold) -> None:
    hold.reached.wait(20)
    registry.stop()
    hold.release.set()
    time.sleep(0.3)
    registry.start()


def test_retry_after_is_heeded(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    proxy.rules.append(Rule("PUT", "/manifests/v1", Status(429, {"Retry-After": "1"})))
    start = time.monotonic()
    client().push(image, fresh(proxy.host))
    assert time.monotonic() - start >= 1


FINAL: dict[str, tuple[list[Rule], str, Kind]] = {
    "403 to POST": ([Rule("POST", UPLOAD, Status(403), 99)], "needs a login", Kind.NO_ACCESS),
    "404 to POST": (
        [Rule("POST", UPLOAD, Status(404), 99)],
        "create the repository first",
        Kind.BAD_CONFIG,
    ),
    "405 to POST": ([Rule("POST", UPLOAD, Status(405), 99)], "refused", Kind.BAD_CONFIG),
    "413 everywhere": (
        [Rule("PUT|PATCH", UPLOAD, Status(413), 99)],
        "bodies this large",
        Kind.BAD_CONFIG,
    ),
    "400 to the manifest": ([Rule("PUT", "/manifests/", Status(400), 99)], "400", Kind.BAD_CONFIG),
    "a wrong digest twice": ([Rule("PUT", UPLOAD, Status(400), 99)], "400", Kind.BAD_CONFIG),
}


@pytest.mark.parametrize("name", FINAL)
def test_what_cannot_pass_is_not_repeated(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, name: str
) -> None:
    rules, sentence, kind = FINAL[name]
    proxy.rules += [dataclasses.replace(rule) for rule in rules]
    start = time.monotonic()
    with pytest.raises(Failure) as failed:
        client().push(image, fresh(proxy.host))
    assert sentence in failed.value.sentence
    assert failed.value.kind is kind
    assert time.monotonic() - start < 2


ENDLESS: dict[str, Action] = {
    "503": Status(503),
    "429 for an hour": Status(429, {"Retry-After": "3600"}),
    "cut": CutRequest(10),
    "silence": Silence(),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_works_ends_as_unavailable(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, name: str
) -> None:
    proxy.rules.append(Rule("PUT", UPLOAD, ENDLESS[name], times=10**6))
    patience = dataclasses.replace(client().transport.options.patience, deadline_s=1)
    start = time.monotonic()
    with pytest.raises(Failure, match="run it again later") as failed:
        client(patience=patience, commit_s=0.5, connect_s=0.5).push(image, fresh(proxy.host))
    assert failed.value.kind is Kind.UNAVAILABLE
    assert proxy.host in failed.value.sentence
    assert time.monotonic() - start < 6


def test_a_manifest_that_is_never_believed_is_told_with_the_registrys_words(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    proxy.rules.append(Rule("PUT", "/manifests/", _doubt(400, "DIGEST_INVALID"), times=10**6))
    patience = dataclasses.replace(client().transport.options.patience, deadline_s=0.5)
    with pytest.raises(Failure, match=r"400 DIGEST_INVALID; tried .* run it again later"):
        client(patience=patience).push(image, fresh(proxy.host))


def test_nobody_there_is_told_when_the_deadline_is_over(client: Client, image: Image) -> None:
    patience = dataclasses.replace(client().transport.options.patience, deadline_s=0.5)
    registry = client(patience=patience)
    with running_registry() as gone:
        host = gone.host
    start = time.monotonic()
    with pytest.raises(Failure, match="connection refused") as failed:
        registry.push(image, parse(f"{host}/x:v1"))
    assert failed.value.kind is Kind.UNAVAILABLE
    assert time.monotonic() - start < 3


def test_a_name_that_dns_does_not_know_is_told(client: Client, image: Image) -> None:
    patience = dataclasses.replace(client().transport.options.patience, deadline_s=0.1)
    with pytest.raises(Failure, match=r"no-such-host\.invalid cannot be reached") as failed:
        client(patience=patience).push(image, parse("no-such-host.invalid/x:v1"))
    assert failed.value.kind is Kind.UNAVAILABLE


def test_one_body_upload_per_blob(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image
) -> None:
    client().push(image, fresh(proxy.host))
    assert sorted(seen.body_bytes for seen in proxy.log_of("PUT", UPLOAD)) == sorted(
        blob.size for blob in image.blobs
    )
    order = [(seen.method, seen.path.partition("?")[0]) for seen in proxy.log]
    puts = [path for method, path in order if method == "PUT"]
    assert puts[-2].endswith(image.digest)
    assert puts[-1].endswith("/manifests/v1")
    assert order[-1] == ("HEAD", puts[-1])
