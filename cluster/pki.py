"""Keys and certificates of one cluster: its own CA, one for the registry, and what they sign."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.addresses import API_SERVICE_IP, DATA, DOMAIN, NODE, NODE_IP, REGISTRY

_LIFE = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Identity:
    """What a certificate says: who, in which groups (they become RBAC groups), for which names."""

    name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


_API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{DOMAIN}",
)
CLUSTER_IDENTITIES = {
    "apiserver": Identity(
        "kube-apiserver", hosts=(NODE_IP, API_SERVICE_IP, "127.0.0.1", "localhost", *_API_NAMES)
    ),
    "apiserver-kubelet-client": Identity("kube-apiserver-kubelet-client", ("system:masters",)),
    "admin": Identity("kubernetes-admin", ("system:masters",)),
    "kube-controller-manager": Identity("system:kube-controller-manager"),
    "kube-scheduler": Identity("system:kube-scheduler"),
    "kube-proxy": Identity("system:kube-proxy"),
    "coredns": Identity("system:coredns"),
    "karpenter": Identity("system:karpenter"),
    "kwok": Identity("system:kwok"),
    "kubelet": Identity(f"system:node:{NODE}", ("system:nodes",)),
    # The API server dials the node's address for logs and exec, so that must be in the names.
    "kubelet-server": Identity(f"system:node:{NODE}", hosts=(NODE, NODE_IP)),
}
REGISTRY_IDENTITIES = {"front": Identity(REGISTRY, hosts=(REGISTRY, DATA, NODE_IP))}


def write_all(folder: Path) -> None:
    """Write `NAME.crt`, `NAME.key` for every identity, the two CAs, and the token keys."""
    folder.mkdir(parents=True, mode=0o700)
    for ca_name, identities in (("ca", CLUSTER_IDENTITIES), ("registry-ca", REGISTRY_IDENTITIES)):
        ca = _authority(f"tunery-{ca_name}")
        _write(folder, ca_name, ca.certificate, ca.key)
        for name, identity in identities.items():
            key = ec.generate_private_key(ec.SECP256R1())
            _write(folder, name, _signed(ca, identity, key), key)
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "sa.key").write_bytes(_private_pem(key))
    (folder / "sa.key").chmod(0o600)
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, public)
    (folder / "sa.pub").write_bytes(pem)


def _authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(Identity(name))
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _signed(ca: Authority, identity: Identity, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    builder = _builder(_subject(identity), ca.certificate.subject, key)
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.hosts:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH]
        names = x509.SubjectAlternativeName(_general_names(identity.hosts))
        builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    builder = builder.add_extension(issuer_key, critical=False)
    return builder.sign(ca.key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(identity: Identity) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])


def _general_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _write(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(_private_pem(key))
    (folder / f"{name}.key").chmod(0o600)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # API server and controller manager read token keys in SEC 1 or PKCS 8 form; this is the former.
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)
