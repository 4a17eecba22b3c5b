"""TLS of pilotd's listener: which certificate a client is shown, by the name that it asks for (SNI).

    given       --certificate and --key: one certificate for all names, read again when the files change
    our own     <state-dir>/ca/{ca.pem,ca.key}: an authority for the domain and loopback alone, which signs a
                certificate for each name as it is asked for; `pilotd ca` says how to have it believed

Certificates of our own are made per name: browsers believe no `*.localhost`.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ... import errors
from ...kernel import files
from ..services.addresses import Domain

log = logging.getLogger(__name__)

AUTHORITY_DAYS = 3650
LEAF_DAYS = 30
MAX_KNOWN = 1024
# Files are looked at again after so long.
LOOK_S = 1.0
_HOUR = datetime.timedelta(hours=1)
_LOOPBACKS = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Certificates(Protocol):
    """Where contexts come from."""

    def context(self, name: str | None) -> ssl.SSLContext:
        """For a client that asks for that name, or for none."""
        ...


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """What the listener is given: each handshake is continued with the context for its name."""
    context = _bare_context()

    def choose(handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        try:
            handshake.context = certificates.context(name)
        except (errors.PilotError, OSError) as error:
            log.warning("no certificate", extra={"name": name, "error": str(error)})
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None

    context.sni_callback = choose  # called without a name, too (Python's ssl: server_name None)
    return context


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Given:
    """The operator's certificate and key. `HostError` when they cannot be used at the start; later they are kept."""

    def __init__(self, certificate: str, key: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = (certificate, key)
        self._clock = clock
        self._seen = self._stamp()
        self._context = self._load()
        self._looked_s = clock()

    def context(self, name: str | None) -> ssl.SSLContext:
        if self._clock() - self._looked_s >= LOOK_S:
            self._looked_s = self._clock()
            self._look()
        return self._context

    def _look(self) -> None:
        try:
            seen = self._stamp()
            if seen == self._seen:
                return
            self._context = self._load()
        except errors.HostError as error:
            log.warning("certificate not read again", extra={"error": str(error)})  # half written, perhaps: the old one
        else:
            self._seen = seen
            log.info("certificate read again", extra={"path": self._paths[0]})

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [os.stat(path) for path in self._paths]
        except OSError as error:
            raise errors.HostError(f"read certificate {error.filename}: {(error.strerror or '').lower()}") from error
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def _load(self) -> ssl.SSLContext:
        context = _bare_context()
        try:
            context.load_cert_chain(*self._paths)
        except (OSError, ssl.SSLError) as error:
            why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            raise errors.HostError(f"read certificate {' and '.join(self._paths)}: {why or 'none in PEM'}") from error
        return context


class Authority:
    """Our own. `directory` is made when it is not there; the key never leaves it."""

    def __init__(self, directory: str, domain: Domain) -> None:
        self._domain = domain
        self.path = os.path.join(directory, "ca.pem")
        self._key, self._certificate = _ensure_authority(directory, self.path, domain)
        self._known: dict[str, tuple[ssl.SSLContext, float]] = {}

    def pair(self, name: str) -> bytes:
        """A certificate for that name, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _sign(self._key, self._certificate, key, name)
        return leaf.public_bytes(serialization.Encoding.PEM) + _private(key)

    def context(self, name: str | None) -> ssl.SSLContext:
        """Only names of the domain are signed for; who asks for another, or for none, is shown the domain's own."""
        wanted = self._named(name)
        context, until_s = self._known.get(wanted, (None, 0.0))
        if context is None or time.monotonic() > until_s:
            self._known.pop(wanted, None)
            while len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            context = self._make(wanted)
            self._known[wanted] = context, time.monotonic() + LEAF_DAYS * 86400 / 2
        return context

    def _named(self, name: str | None) -> str:
        asked = (name or "").lower().removesuffix(".")
        return asked if self._domain.label(asked) is not None and len(asked) < 250 else self._domain.name

    def _make(self, name: str) -> ssl.SSLContext:
        context = _bare_context()
        with files.in_memory("certificate", self.pair(name)) as path:
            context.load_cert_chain(path)  # ssl reads files only
        return context


def _ensure_authority(directory: str, path: str, domain: Domain) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The one that there is, if it is for that domain; a crash in between leaves a key that nothing is signed with."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    key_path = os.path.join(directory, "ca.key")
    try:
        with open(path, "rb") as file, open(key_path, "rb") as key_file:
            certificate = x509.load_pem_x509_certificate(file.read())
            key = serialization.load_pem_private_key(key_file.read(), None)
    except FileNotFoundError:
        pass
    else:
        if isinstance(key, ec.EllipticCurvePrivateKey) and _is_for(certificate, domain):
            return key, certificate
    made = ec.generate_private_key(ec.SECP256R1())
    signed = _authority(made, domain)
    files.replace(key_path, _private(made), durable=True)
    files.replace(path, signed.public_bytes(serialization.Encoding.PEM), mode=0o644, durable=True)
    return made, signed


def _is_for(certificate: x509.Certificate, domain: Domain) -> bool:
    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    now = datetime.datetime.now(datetime.UTC)
    return x509.DNSName(domain.name) in (constraints.permitted_subtrees or ()) and now < certificate.not_valid_after_utc


def _authority(key: ec.EllipticCurvePrivateKey, domain: Domain) -> x509.Certificate:
    """It can speak for the domain and loopback, and for nothing else that a browser would believe it about."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pilotd {domain.name} {os.urandom(3).hex()}")])
    permitted = [x509.DNSName(domain.name), *(x509.IPAddress(network) for network in _LOOPBACKS)]
    usage = {name: name in ("key_cert_sign", "crl_sign") for name in _USAGES}
    builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256())


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _sign(
    signer: ec.EllipticCurvePrivateKey, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, name: str
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    names = [x509.DNSName(name), *(x509.IPAddress(network.network_address + step) for network, step in _OWN)]
    builder = _builder(subject, authority.subject, key.public_key(), LEAF_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return builder.sign(signer, hashes.SHA256())


# 127.0.0.1 and ::1: who reaches the API by address.
_OWN = ((_LOOPBACKS[0], 1), (_LOOPBACKS[1], 0))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - _HOUR)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
