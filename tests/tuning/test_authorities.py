"""A pod trusts the usual authorities and those of in-house servers, together."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
from rig import certs, tiny
from rig.webserver import Reply, running_webserver

from tuning.authorities import trusting
from tuning.dataset.fetch import fetch
from tuning.failure import Failure, Kind
from tuning.push import options
from tuning.run import Run


def run_with(tmp_path: Path, ca: Path | None) -> Run:
    run = tiny.make_run(tmp_path / "work", tmp_path / "model")
    places = run.places.model_copy(update={"registry_ca": str(ca) if ca else None})
    return run.model_copy(update={"places": places})


def test_a_link_and_the_registry_trust_the_authority_that_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = certs.authority(tmp_path / "ca")
    environment: dict[str, str] = {}
    run = trusting(run_with(tmp_path, ca.file), environment)
    monkeypatch.setenv("SSL_CERT_FILE", environment["SSL_CERT_FILE"])
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with running_webserver(certs.server(ca, tmp_path)) as web:
        web.put("/x.jsonl", Reply(body=b"{}\n"))
        fetch(web.url("/x.jsonl"), tmp_path / "x.jsonl", allow_hosts=("127.0.0.1",))
    assert options(run).ca_file == Path(environment["SSL_CERT_FILE"])


def test_the_usual_authorities_stay(tmp_path: Path) -> None:
    ca = certs.authority(tmp_path / "ca")
    environment: dict[str, str] = {}
    trusting(run_with(tmp_path, ca.file), environment)
    both = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    usual = ssl.create_default_context(cafile=certifi.where())
    assert both.cert_store_stats()["x509"] == usual.cert_store_stats()["x509"] + 1


@pytest.mark.parametrize("ca", [None, Path("/nowhere/ca.crt")])
def test_none_adds_nothing(tmp_path: Path, ca: Path | None) -> None:
    environment: dict[str, str] = {}
    assert trusting(run_with(tmp_path, ca), environment).places.registry_ca is None
    assert environment == {}


def test_a_file_without_a_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"\xff not a certificate")
    with pytest.raises(Failure) as told:
        trusting(run_with(tmp_path, tmp_path / "ca.crt"), {})
    assert told.value.kind is Kind.BAD_CONFIG and "no PEM certificate" in told.value.sentence
