"""The certificate authorities of a pod: the usual ones and those of in-house servers, together.

Called by `python -m tuning` before anything connects. One file for everybody (registry, data links,
hub): OpenSSL, httpx and requests all look at SSL_CERT_FILE or take its value from us.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

import certifi

from tuning.failure import Failure, Kind
from tuning.run import Run

SETTING = "SSL_CERT_FILE"


def trusting(run: Run, environment: MutableMapping[str, str]) -> Run:
    """The run with `registry_ca` added to what this process trusts.

    A file that is not there adds nothing: a namespace that uses no in-house server needs none.
    Raises Failure (BAD_CONFIG) for one that holds no certificate.
    """
    named = run.places.registry_ca
    places = run.places.model_copy(update={"registry_ca": None})
    if named is not None and Path(named).is_file():
        environment[SETTING] = str(_bundle(Path(named), environment.get(SETTING)))
    return run.model_copy(update={"places": places})


def _bundle(added: Path, usual: str | None) -> Path:
    certificates = added.read_text(errors="replace")
    if "BEGIN CERTIFICATE" not in certificates:
        sentence = f"{added} holds no PEM certificate; see the ConfigMap that it comes from"
        raise Failure(Kind.BAD_CONFIG, sentence)
    known = Path(usual or certifi.where()).read_text()
    handle, name = tempfile.mkstemp(prefix="tunery-authorities-", suffix=".pem")
    with os.fdopen(handle, "w") as file:
        file.write(f"{known.rstrip()}\n{certificates.strip()}\n")
    return Path(name)
