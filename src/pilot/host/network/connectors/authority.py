"""A sprite's own authority: what its programs believe of its connectors' names, and of nothing else.

Its key is made once, and sealed. Its certificate is made anew when the names change: it is constrained to them (RFC
5280 4.2.1.10), so whoever had the key could speak for these hosts, and what is below them, to this sprite alone.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .... import errors
from ....kernel import files
from ...fly.vault import Vault

AUTHORITY_DAYS = 3650
LEAF_DAYS = 30
_VAULT = "connectors"
_HOUR = datetime.timedelta(hours=1)  # clocks of machines that have slept are behind
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Authority(msgspec.Struct, frozen=True):
    """`certificate`: PEM, for whoever is to believe it. `sealed`: its key."""

    certificate: str
    sealed: str


def make(vault: Vault, machine: str, names: Sequence[str], before: Authority | None = None) -> Authority:
    """For these names; with the key of the one `before`, if there was one."""
    key = ec.generate_private_key(ec.SECP256R1()) if before is None else _opened(vault, machine, before)
    sealed = vault.seal(_VAULT, machine, _private(key).decode()) if before is None else before.sealed
    return Authority(_authority(key, machine, names).public_bytes(serialization.Encoding.PEM).decode(), sealed)


def names_of(authority: Authority) -> frozenset[str]:
    """What it can speak for."""
    certificate = x509.load_pem_x509_certificate(authority.certificate.encode())
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    return frozenset(each.value for each in constraints.permitted_subtrees or () if isinstance(each, x509.DNSName))


class Signer:
    """An authority that was opened. `HostError` when it was sealed with another key."""

    def __init__(self, vault: Vault, machine: str, authority: Authority) -> None:
        self._key = _opened(vault, machine, authority)
        self._certificate = x509.load_pem_x509_certificate(authority.certificate.encode())

    def context(self, host: str) -> ssl.SSLContext:
        """What a server is that is `host` for this sprite; for `LEAF_DAYS`."""
        key = ec.generate_private_key(ec.SECP256R1())
        pair = self._leaf(key, host).public_bytes(serialization.Encoding.PEM) + _private(key)
        context = bare_context()
        with files.in_memory("certificate", pair) as path:
            context.load_cert_chain(path)  # ssl reads files only
        return context

    def _leaf(self, key: ec.EllipticCurvePrivateKey, host: str) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        builder = _builder(subject, self._certificate.subject, key.public_key(), LEAF_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def bare_context() -> ssl.SSLContext:
    """A server's, without a certificate: HTTP/1.1 is all that is spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _authority(key: ec.EllipticCurvePrivateKey, machine: str, names: Sequence[str]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pilot connectors {machine[:40]}")])
    usage = {name: name in ("key_cert_sign", "crl_sign") for name in _USAGES}
    builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    constraints = x509.NameConstraints([x509.DNSName(each) for each in names], None)
    builder = builder.add_extension(constraints, critical=True)
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(now - _HOUR).not_valid_after(now + datetime.timedelta(days=days))


def _opened(vault: Vault, machine: str, authority: Authority) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(vault.opened(_VAULT, machine, authority.sealed).encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise errors.HostError(f"open the authority of machine {machine}: its key is of another kind")
    return key


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
