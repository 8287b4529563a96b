"""Credentials reach their registry and nothing else: no host, argv, environment or log."""

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.fault_proxy import FaultProxy, Hold, Replace, Rule, Status, running_proxy
from rig.registry import PASSWORD, USER, RunningRegistry, write_docker_config
from rig.token_issuer import REFRESH_TOKEN

from tuning.failure import Failure, Kind
from tuning.images.credentials import Credentials
from tuning.images.oci import Image
from tuning.images.preflight import check_push
from tuning.images.registry import Registry
from tuning.reference import Reference

Fresh = Callable[[str], Reference]
Client = Callable[..., Registry]


def shown(proxy: FaultProxy) -> list[str | None]:
    return [seen.headers.get("Authorization") for seen in proxy.log]


@contextmanager
def guarded(registry: RunningRegistry) -> Iterator[tuple[FaultProxy, Credentials]]:
    """A proxy before a registry, and the login for it."""
    with running_proxy(registry.host) as proxy:
        yield proxy, Credentials.load([registry.login(USER, PASSWORD, host=proxy.host)])


def test_a_basic_login_is_shown_without_being_asked_twice(
    htpasswd_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    with guarded(htpasswd_registry) as (proxy, login):
        Registry(login, client().transport.options).push(image, fresh(proxy.host))
        assert [seen.status for seen in proxy.log].count(401) == 1
        bodies = [seen.body_bytes for seen in proxy.log_of("PUT", "/blobs/")]
    assert sorted(bodies) == sorted(blob.size for blob in image.blobs)


def test_a_token_is_fetched_for_what_is_done(
    token_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    assert token_registry.issuer is not None
    asked = token_registry.issuer.requests
    asked.clear()
    with guarded(token_registry) as (proxy, login):
        reference = fresh(proxy.host)
        Registry(login, client().transport.options).push(image, reference)
        bodies = [seen.body_bytes for seen in proxy.log_of("PUT", "/blobs/")]
        assert not any("Basic" in (header or "") for header in shown(proxy))
    scopes = [request["scope"] for request in asked]
    name = f"repository:{reference.repository}"
    assert scopes == [f"{name}:pull", f"{name}:pull,push"]
    assert sorted(bodies) == sorted(blob.size for blob in image.blobs)


def test_an_expired_token_is_renewed(
    token_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    assert token_registry.issuer is not None
    reference = fresh(token_registry.host)
    registry = client(token_registry)
    try:
        token_registry.issuer.lifetime_s = -120  # the registry allows a minute
        with pytest.raises(Failure, match="may not pull"):
            registry.find(reference)
    finally:
        token_registry.issuer.lifetime_s = 300
    assert registry.push(image, reference).digest == image.digest


def test_a_token_that_expires_under_a_push_is_renewed(
    token_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    assert token_registry.issuer is not None
    options = client(monolithic_max_bytes=10_000, chunk_bytes=30_000).transport.options
    realm = f'Bearer realm="{token_registry.issuer.realm}",service="test-registry"'
    expired = Status(401, {"WWW-Authenticate": realm})
    with guarded(token_registry) as (proxy, login):
        proxy.rules.append(Rule("PATCH", "", expired, after=2))
        proxy.rules.append(Rule("PUT", "/manifests/", expired))
        assert Registry(login, options).push(image, fresh(proxy.host)).digest == image.digest
        assert [seen.status for seen in proxy.log].count(401) == 3
        tokens = {header for header in shown(proxy) if header}
    assert len(tokens) >= 4


def test_an_identity_token_is_exchanged(
    token_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    entry = {
        "auth": base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode(),
        "identitytoken": REFRESH_TOKEN,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {token_registry.host: entry}}))
    registry = Registry(Credentials.load([file]), client().transport.options)
    assert registry.push(image, fresh(token_registry.host)).digest == image.digest
    entry["identitytoken"] = "wrong"
    file.write_text(json.dumps({"auths": {token_registry.host: entry}}))
    with pytest.raises(Failure, match="refused") as failed:
        check_push(fresh(token_registry.host), Credentials.load([file]))
    assert failed.value.kind is Kind.NO_ACCESS


def test_each_registry_sees_only_its_own_login(
    htpasswd_registry: RunningRegistry,
    plain_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
) -> None:
    with guarded(htpasswd_registry) as (mine, login), running_proxy(plain_registry.host) as other:
        registry = Registry(login, client().transport.options)
        for host in (mine.host, other.host, mine.host):
            registry.push(image, fresh(host))
        assert any(shown(mine))
        assert shown(other) == [None] * len(other.log)


def test_a_login_stays_home_when_another_host_asks_for_it(
    htpasswd_registry: RunningRegistry,
    plain_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
) -> None:
    """A blob redirected elsewhere, and an upload sent elsewhere: neither takes the login along."""
    with guarded(htpasswd_registry) as (mine, login), running_proxy(plain_registry.host) as other:
        registry = Registry(login, client().transport.options)
        reference = fresh(mine.host)
        registry.push(image, reference)
        ask = Status(401, {"WWW-Authenticate": 'Basic realm="give"'})
        there = f"http://{other.host}/v2/x/blobs/{image.layers[0].blob.digest}"
        mine.rules.append(Rule("GET", "/blobs/", Status(307, {"Location": there}), times=9))
        other.rules.append(Rule("GET", "", ask, times=99))
        with pytest.raises(Failure):
            registry.pull(reference, tmp_path / "out")
        upload = Replace({"Location": f"http://{other.host}/v2/x/blobs/uploads/1?a=b"})
        mine.rules.append(Rule("POST", "", upload, times=9))
        other.rules.append(Rule("PUT", "", ask, times=99))
        with pytest.raises(Failure):
            registry.push(image, fresh(mine.host))
        assert other.log_of("PUT")
        assert other.log_of("GET")
        assert shown(other) == [None] * len(other.log)


def test_a_redirected_blob_is_pulled(
    htpasswd_registry: RunningRegistry,
    plain_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
) -> None:
    """As registries on object storage do it: a signed address on another host."""
    with guarded(htpasswd_registry) as (mine, login), running_proxy(plain_registry.host) as store:
        registry = Registry(login, client().transport.options)
        reference = fresh(mine.host)
        registry.push(image, reference)
        client().push(image, fresh(store.host))
        kept = next(path for path in (s.path for s in store.log_of("PUT", "/manifests/")))
        base = f"http://{store.host}{kept.partition('/manifests/')[0]}/blobs/"
        for layer in image.layers:
            location = {"Location": base + layer.blob.digest}
            mine.rules.append(Rule("GET", f"/blobs/{layer.blob.digest}", Status(307, location)))
        store.log.clear()
        registry.pull(reference, tmp_path / "out")
        assert len(store.log_of("GET")) == 2
        assert shown(store) == [None, None]


@pytest.mark.parametrize(
    "realm", ["http://auth.acme.example/token", "auth.acme.example", "ftp://x/", "file:///etc"]
)
def test_a_login_is_not_sent_to_a_realm_in_clear(
    htpasswd_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image, realm: str
) -> None:
    header = {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}
    with guarded(htpasswd_registry) as (proxy, login):
        proxy.rules.append(Rule(".*", "", Status(401, header), times=99))
        with pytest.raises(Failure, match="not https") as failed:
            Registry(login, client().transport.options).push(image, fresh(proxy.host))
        assert shown(proxy) == [None]
    assert failed.value.kind is Kind.NO_ACCESS


@pytest.mark.parametrize("location", ["http://store.acme.example/x", "ftp://x/y", "file:///etc"])
def test_a_redirect_to_plain_http_is_not_followed(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, location: str, tmp_path: Path
) -> None:
    reference = fresh(proxy.host)
    client().push(image, reference)
    proxy.rules.append(Rule("GET", "/blobs/", Status(307, {"Location": location}), times=9))
    with pytest.raises(Failure, match="not https"):
        client().pull(reference, tmp_path / "out")


def test_redirects_in_a_circle_end(
    proxy: FaultProxy, fresh: Fresh, client: Client, image: Image, tmp_path: Path
) -> None:
    reference = fresh(proxy.host)
    client().push(image, reference)
    proxy.rules.append(Rule("GET", "/blobs/", Status(302, {"Location": "/v2/x/blobs/y"}), 99))
    with pytest.raises(Failure, match="in a circle"):
        client().pull(reference, tmp_path / "out")


def test_netrc_and_proxies_of_the_environment_are_not_used(
    htpasswd_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    with guarded(htpasswd_registry) as (proxy, login):
        registry = Registry(login, client().transport.options)
        registry.push(image, fresh(proxy.host))
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        assert set(shown(proxy)) == {None, f"Basic {wanted}"}


def test_a_named_proxy_is_used(
    plain_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    with running_proxy(plain_registry.host) as proxy:
        registry = client(
            proxies={"http": f"http://{proxy.host}"},
            insecure_hosts=frozenset({"registry.acme.example"}),
        )
        reference = fresh("registry.acme.example")
        assert registry.find(reference) is None
        assert proxy.log[0].path.startswith("http://registry.acme.example/v2/")
        direct = client(proxies={"http": "http://127.0.0.1:1"}, no_proxy="127.0.0.1")
        assert direct.find(fresh(plain_registry.host)) is None


def test_a_rotated_password_is_used_at_once(
    htpasswd_registry: RunningRegistry, fresh: Fresh, client: Client, image: Image
) -> None:
    file = htpasswd_registry.login(USER, "yesterday")
    registry = Registry(Credentials.load([file]), client().transport.options)
    with pytest.raises(Failure, match="refused user"):
        registry.push(image, fresh(htpasswd_registry.host))
    write_docker_config(file, {htpasswd_registry.host: (USER, PASSWORD)})
    assert registry.push(image, fresh(htpasswd_registry.host)).digest == image.digest


def test_no_log_line_has_a_secret(
    htpasswd_registry: RunningRegistry,
    token_registry: RunningRegistry,
    fresh: Fresh,
    client: Client,
    image: Image,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for server in (htpasswd_registry, token_registry):
        client(server).push(image, fresh(server.host))
        with pytest.raises(Failure) as failed:
            wrong = server.login(USER, "wrong-" + PASSWORD)
            check_push(fresh(server.host), Credentials.load([wrong]))
        caplog.handler.acquire()
        caplog.handler.release()
        assert PASSWORD not in str(failed.value)
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert "/v2/" in caplog.text
    for secret in (PASSWORD, encoded, "Bearer ey", "eyJ"):
        assert secret not in caplog.text


PUSH = """
import sys
from pathlib import Path
from tuning.images import oci
from tuning.images.credentials import Credentials
from tuning.images.provenance import Provenance
from tuning.reference import parse
from tuning.images.registry import Registry
image = oci.build(Path(sys.argv[1]), Provenance())
Registry(Credentials.load([sys.argv[3]])).push(image, parse(sys.argv[2]))
"""


def test_a_running_push_shows_no_secret_to_other_processes(
    htpasswd_registry: RunningRegistry, fresh: Fresh, image: Image, tmp_path: Path
) -> None:
    with running_proxy(htpasswd_registry.host) as proxy:
        hold = Hold(10)
        proxy.rules.append(Rule("PUT", "/blobs/", hold))
        file = htpasswd_registry.login(USER, PASSWORD, host=proxy.host)
        folder, name = str(tmp_path / "adapter"), str(fresh(proxy.host))
        pusher = subprocess.Popen(
            [sys.executable, "-c", PUSH, folder, name, str(file)],
            cwd=Path(__file__).parents[2],
            env={"PATH": os.environ["PATH"]},
        )
        try:
            assert hold.reached.wait(60)
            process = Path("/proc") / str(pusher.pid)
            seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        finally:
            hold.release.set()
        assert pusher.wait(60) == 0
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    assert PASSWORD.encode() not in seen
    assert encoded not in seen
