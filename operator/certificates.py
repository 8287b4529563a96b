"""The webhook's own certificates, and the list of those that the API server is to trust.

No Secret is read or written: each replica makes a key that never leaves its memory, and signs its
certificate with it. There is no authority: the certificate itself stands in the `caBundle` of the
ValidatingWebhookConfiguration, beside those of the other replicas (ca_bundle.py puts it there).
Pure but for the randomness of keys.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANIZATION = "tunery.sh"
_LONGEST_NAME = 64
_SKEW = datetime.timedelta(minutes=5)
"""How far clocks of the cluster may differ."""
MOST_OTHERS = 8
"""Replicas that may be trusted beside this one; who is gone stays until its certificate ends."""
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----\n?")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and its certificate, PEM."""

    pem: bytes
    key: bytes
    begins: datetime.datetime
    ends: datetime.datetime

    def renew_at(self) -> datetime.datetime:
        """With a third of its life left."""
        return self.begins + (self.ends - self.begins) * 2 / 3


def make(
    names: Sequence[str], holder: str, life: datetime.timedelta, now: datetime.datetime
) -> Certificate:
    """A new key and a certificate for these host names or addresses, in the name of `holder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(holder)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Certificates know no fractions of a second.
    begins, ends = now.replace(microsecond=0), (now + life).replace(microsecond=0)
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    extended = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - _SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(extended, critical=False)
        # So that nobody takes the certificate before or after this one for its issuer.
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier.digest, None, None), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, form, plain),
        begins,
        ends,
    )


def trusted(
    present: bytes, own: Iterable[Certificate], holder: str, now: datetime.datetime
) -> bytes:
    """The bundle with our own certificates, and with those of others that still hold.

    What is not of a replica's making, has ended, or is older than the newest eight is left out; and
    so is whatever this holder had made before it was started anew.
    """
    others = [(c, pem) for c, pem in _read(present) if _is_anothers(c, holder, now)]
    newest = sorted(others, key=lambda pair: pair[0].not_valid_before_utc)[-MOST_OTHERS:]
    return b"".join(sorted({*(pem for _, pem in newest), *(c.pem for c in own)}))


def use(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Serve with it from the next connection on. The key touches no disk."""
    with open(os.memfd_create("tunery-webhook"), "wb", buffering=0) as memory:
        memory.write(certificate.key + certificate.pem)
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")


def _read(bundle: bytes) -> Iterable[tuple[x509.Certificate, bytes]]:
    for pem in _PEM.findall(bundle):
        try:
            yield x509.load_pem_x509_certificate(pem), pem
        except ValueError:
            continue  # somebody put something else there; the API server would refuse all of it


def _is_anothers(certificate: x509.Certificate, holder: str, now: datetime.datetime) -> bool:
    of = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    ours = certificate.subject == _subject(holder)
    return (
        not ours
        and any(name.value == ORGANIZATION for name in of)
        and certificate.not_valid_after_utc > now
    )


def _subject(holder: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, holder[-_LONGEST_NAME:]),
        ]
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
