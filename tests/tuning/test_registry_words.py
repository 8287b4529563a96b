"""The pure parts of talking to a registry: challenges, waits, hosts, settings."""

import time
from email.utils import formatdate
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tuning.failure import Failure, Kind
from tuning.images import refusal
from tuning.images.authorization import Challenge, parse_challenge
from tuning.images.connection import from_environment, is_loopback
from tuning.retry import Patience, Transient, patiently

REALM = "https://auth.acme.io/token"

CHALLENGES = {
    f'Bearer realm="{REALM}",service="acme"': Challenge("bearer", REALM, "acme"),
    f'bearer realm="{REALM}", service="acme", error="insufficient_scope"': Challenge(
        "bearer", REALM, "acme", "insufficient_scope"
    ),
    f'Bearer realm="{REALM}",service="acme",scope="repository:a/b:pull,push"': Challenge(
        "bearer", REALM, "acme"
    ),
    'Basic realm="x"': Challenge("basic", "x"),
    "Basic realm=x": Challenge("basic", "x"),
    f'Basic realm="x", Bearer realm="{REALM}",service="acme"': Challenge("bearer", REALM, "acme"),
    f'Negotiate, Bearer realm="{REALM}"': Challenge("bearer", REALM),
    "Negotiate": None,
    "": None,
}


@pytest.mark.parametrize("header", CHALLENGES)
def test_a_challenge_is_understood(header: str) -> None:
    assert parse_challenge(header) == CHALLENGES[header]


@given(st.text())
def test_any_header_is_a_challenge_or_none(header: str) -> None:
    parse_challenge(header)
    parse_challenge(f"Bearer {header}")


LOOPBACK = {
    "localhost": True,
    "localhost:5000": True,
    "127.0.0.1:5000": True,
    "127.8.9.1": True,
    "[::1]:5000": True,
    "a.localhost:1": True,
    "localhost.acme.io": False,
    "127.0.0.1.acme.io:80": False,
    "ghcr.io": False,
    "10.0.0.1:5000": False,
}


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_is_told_by_its_spelling(host: str) -> None:
    assert is_loopback(host) is LOOPBACK[host]


def test_waits_grow_and_are_jittered() -> None:
    patience = Patience(first_wait_s=1, longest_wait_s=8)
    waits = [patience.wait_s(n, None) for n in range(1000)]
    assert 0.5 <= waits[0] <= 1
    assert 1 <= waits[1] <= 2
    assert all(4 <= wait <= 8 for wait in waits[3:])
    assert len(set(waits)) > 900
    assert patience.wait_s(5, 0.25) == 0.25
    assert patience.wait_s(5, -3) == 0


def test_what_passes_is_tried_until_it_works() -> None:
    tries = iter([Transient("no"), Transient("no"), None])

    def attempt() -> str:
        if error := next(tries):
            raise error
        return "yes"

    assert patiently(attempt, Patience(first_wait_s=0.001)) == "yes"


def test_the_deadline_holds_and_says_why() -> None:
    count = 0

    def attempt() -> None:
        nonlocal count
        count += 1
        raise Transient("acme.io is down")

    start = time.monotonic()
    with pytest.raises(Failure, match="is down; tried") as failed:
        patiently(attempt, Patience(deadline_s=0.3, first_wait_s=0.01, longest_wait_s=0.05))
    assert time.monotonic() - start < 2
    assert failed.value.kind is Kind.UNAVAILABLE
    assert count > 3


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    def attempt() -> None:
        raise Transient("busy", retry_after_s=3600)

    start = time.monotonic()
    with pytest.raises(Failure):
        patiently(attempt, Patience(deadline_s=5))
    assert time.monotonic() - start < 1


def answer(status: int, body: bytes = b"", **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = body
    made.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
    return made


SAID = {
    b'{"errors":[{"code":"DENIED","message":"no\\nway"}]}': "403 DENIED: no way",
    b'{"errors":[{"message":"only this"}]}': "403 only this",
    b'{"errors":[]}': "403",
    b'{"errors":{}}': "403",
    b"[]": "403",
    b"<html>": "403",
    b"[" * 60_000: "403",
}


@pytest.mark.parametrize("body", SAID, ids=range(len(SAID)))
def test_what_a_registry_says_is_one_printable_line(body: bytes) -> None:
    assert refusal.said(answer(403, body)) == SAID[body]


def test_plain_text_is_quoted_shortly() -> None:
    text = refusal.said(answer(400, b"bad\x1b[31m " + b"x" * 999, Content_Type="text/plain"))
    assert text.startswith("400 bad\\x1b[31m x")
    assert len(text) < 250


def test_retry_after_is_seconds_or_a_date() -> None:
    assert refusal.transient(answer(429, Retry_After="7"), "h").retry_after_s == 7
    date = formatdate(time.time() + 60, usegmt=True)
    wait_s = refusal.transient(answer(429, Retry_After=date), "h").retry_after_s
    assert wait_s is not None
    assert 55 < wait_s < 65
    assert refusal.transient(answer(429, Retry_After="soon"), "h").retry_after_s is None
    assert refusal.transient(answer(429), "h").retry_after_s is None


def test_a_shell_names_proxies_and_a_ca() -> None:
    options = from_environment(
        {"https_proxy": "http://p:1", "NO_PROXY": "acme.io", "SSL_CERT_FILE": "/ca.pem"}
    )
    assert options.proxies == {"https": "http://p:1"}
    assert options.no_proxy == "acme.io"
    assert options.ca_file == Path("/ca.pem")
    assert from_environment({}).ca_file is None
