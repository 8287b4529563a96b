"""The webhook's certificates, without a cluster: made, trusted, served, left out when they end."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import certs

import certificates
from certificates import MOST_OTHERS, Certificate, make, trusted, use
from webhook import _from

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
NAMES = ("localhost", "127.0.0.1")


def of(holder: str, now: datetime.datetime = NOW, life: datetime.timedelta = DAY) -> Certificate:
    return make(NAMES, holder, life, now)


def test_it_is_renewed_with_a_third_of_its_life_left() -> None:
    certificate = of("a")
    assert certificate.ends == NOW + DAY
    assert certificate.renew_at() == NOW + datetime.timedelta(hours=16)


def test_each_replica_keeps_the_others_and_its_own() -> None:
    first, second = of("a"), of("b")
    bundle = trusted(b"", [first], "a", NOW)
    assert bundle == first.pem
    both = trusted(bundle, [second], "b", NOW)
    assert set(certificates._PEM.findall(both)) == {first.pem, second.pem}
    # whoever comes next changes nothing, in whatever order they stood
    assert trusted(second.pem + first.pem, [first], "a", NOW) == both


def test_the_old_one_is_trusted_until_the_new_one_is_served() -> None:
    old, new = of("a"), of("a", NOW + DAY / 2)
    assert set(certificates._PEM.findall(trusted(old.pem, [old, new], "a", NOW))) == {
        old.pem,
        new.pem,
    }
    assert trusted(old.pem + new.pem, [new], "a", NOW) == new.pem


def test_what_has_ended_is_left_out() -> None:
    gone, own = of("gone", NOW - 2 * DAY), of("a")
    assert trusted(gone.pem, [own], "a", NOW) == own.pem


def test_a_replica_that_starts_again_and_again_leaves_nothing_behind() -> None:
    bundle = b""
    for _ in range(5):
        bundle = trusted(bundle, [of("a")], "a", NOW)
    assert len(certificates._PEM.findall(bundle)) == 1


def test_replicas_that_came_and_went_do_not_pile_up() -> None:
    bundle = b""
    for number in range(20):
        hour = datetime.timedelta(minutes=number)
        bundle = trusted(bundle, [of(f"pod-{number}", NOW + hour)], f"pod-{number}", NOW)
    assert len(certificates._PEM.findall(bundle)) == MOST_OTHERS + 1


def test_what_others_put_there_is_not_trusted(tmp_path: Path) -> None:
    own, stranger = of("a"), certs.authority(tmp_path / "ca").file.read_bytes()
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert trusted(b"\x00garbage" + broken + stranger, [own], "a", NOW) == own.pem


def test_a_long_pod_name_fits() -> None:
    assert trusted(b"", [of("x" * 200 + "-1")], "x" * 200 + "-1", NOW).startswith(b"-----BEGIN")


def server_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


async def serial(port: int, bundle: bytes) -> int | None:
    """Which certificate a server shows to a client that trusts a bundle."""
    context = ssl.create_default_context(cadata=bundle.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Go asks for less than newer Pythons
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    await writer.wait_closed()
    return int(shown["serialNumber"], 16)


async def serving(context: ssl.SSLContext) -> asyncio.Server:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


def test_a_new_certificate_is_served_from_the_next_connection_on() -> None:
    async def scenario() -> None:
        now = datetime.datetime.now(datetime.UTC)
        old, new = of("a", now), of("a", now)
        context = server_context()
        use(context, old)
        async with await serving(context) as server:
            first = await serial(port_of(server), old.pem)
            use(context, new)
            assert await serial(port_of(server), new.pem) != first
            with pytest.raises(ssl.SSLCertVerificationError):
                await serial(port_of(server), old.pem)

    asyncio.run(scenario())


def test_it_is_for_the_names_that_the_api_server_calls() -> None:
    async def scenario() -> None:
        now = datetime.datetime.now(datetime.UTC)
        elsewhere = make(("tunery.tunery-system.svc",), "a", DAY, now)
        context = server_context()
        use(context, elsewhere)
        async with await serving(context) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
                await serial(port_of(server), elsewhere.pem)

    asyncio.run(scenario())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write(tmp_path, of("one", datetime.datetime.now(datetime.UTC)))
    yield tmp_path


def write(folder: Path, certificate: Certificate) -> None:
    (folder / "tls.crt").write_bytes(certificate.pem)
    (folder / "tls.key").write_bytes(certificate.key)


def test_a_folder_of_cert_manager_is_read_again_when_it_changes(folder: Path) -> None:
    async def scenario() -> None:
        first = (folder / "tls.crt").read_bytes()
        second = of("two", datetime.datetime.now(datetime.UTC))
        async with await serving(_from(folder)) as server:
            shown = await serial(port_of(server), first)
            (folder / "tls.key").write_bytes(second.key)  # half of a change
            assert await serial(port_of(server), first) == shown
            write(folder, second)
            assert await serial(port_of(server), second.pem) != shown

    asyncio.run(scenario())


def test_a_folder_without_a_certificate_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _from(tmp_path)
