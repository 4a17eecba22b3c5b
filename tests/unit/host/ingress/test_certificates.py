"""TLS as clients see it: our own authority, given certificates that change, names, and what TLS has no half of."""

from __future__ import annotations

import os
import pathlib
import socket
import ssl
import threading
from collections.abc import Iterator

import httpx
import pytest
from cryptography import x509

from pilot import errors
from pilot.host.ingress import certificates
from pilot.host.ingress.certificates import Authority, Given
from pilot.host.relay import server
from pilot.host.relay.edge import Exchange
from pilot.host.services.addresses import Domain
from tests.support import wire


async def _tell(exchange: Exchange) -> None:
    body = b""
    exchange.go_on()
    while (piece := await exchange.body.piece()) is not None:
        body += piece
    exchange.answer.whole(200, [], f"{exchange.scheme} {exchange.head.host} {len(body)}".encode())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(str(tmp_path_factory.mktemp("ca")), Domain("localhost"))


@pytest.fixture(scope="module")
def port(authority: Authority) -> Iterator[int]:
    listener = server.listen("127.0.0.1", 0)
    serving = server.Server(lambda _host, _path: _tell)
    door = server.Door(listener, certificates.server_context(authority))
    thread = threading.Thread(target=serving.serve_on, args=(door,), name="tls-under-test")
    thread.start()
    yield int(listener.getsockname()[1])
    serving.stop()
    thread.join(wire.WAIT_S)
    assert not thread.is_alive()
    listener.close()


def connected(port: int, name: str, authority: Authority) -> ssl.SSLSocket:
    """A client that believes our authority alone."""
    context = ssl.create_default_context(cafile=authority.path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(("127.0.0.1", port), wire.WAIT_S)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


@pytest.mark.parametrize("name", ["web-1a2b.localhost", "8080-web-1a2b.localhost", "localhost", "127.0.0.1"])
def test_every_name_of_the_domain_has_its_certificate(port: int, authority: Authority, name: str) -> None:
    with connected(port, name, authority) as stream:
        assert stream.selected_alpn_protocol() == "http/1.1"
        stream.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        assert wire.read_all(stream).endswith(f"https {name} 0".encode())


def test_requests_of_a_connection_and_large_bodies(port: int, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.path)
    with httpx.Client(verify=context) as client:
        for size in (0, 1, 5_000_000):
            answer = client.post(f"https://127.0.0.1:{port}/", content=bytes(size))
            assert answer.text == f"https 127.0.0.1 {size}"


@pytest.mark.parametrize("name", ["example.com", "localhost.example.com", "xlocalhost"])
def test_no_other_name_is_signed_for(port: int, authority: Authority, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        connected(port, name, authority)


def test_the_authority_is_not_believed_about_other_names(authority: Authority, tmp_path: pathlib.Path) -> None:
    """Whoever has its key cannot speak for anybody else: its own constraints forbid it."""
    stolen = Authority(os.path.dirname(authority.path), Domain("localhost"))
    context = stolen._make("example.com")
    client = ssl.create_default_context(cafile=authority.path)
    ours, theirs = socket.socketpair()
    problems: list[Exception] = []

    def serve() -> None:
        try:
            context.wrap_socket(theirs, server_side=True).close()
        except (ssl.SSLError, OSError) as error:
            problems.append(error)

    thread = threading.Thread(target=serve, name="tls-impostor")
    thread.start()
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree"):
        client.wrap_socket(ours, server_hostname="example.com")
    ours.close()
    thread.join(wire.WAIT_S)
    theirs.close()
    assert problems


def test_the_authority_stays_and_its_key_is_its_owner_s(tmp_path: pathlib.Path) -> None:
    first = Authority(str(tmp_path / "ca"), Domain("localhost"))
    before = pathlib.Path(first.path).read_bytes()
    assert pathlib.Path(Authority(str(tmp_path / "ca"), Domain("localhost")).path).read_bytes() == before
    assert (tmp_path / "ca/ca.key").stat().st_mode & 0o777 == 0o600
    Authority(str(tmp_path / "ca"), Domain("sprites.example"))
    assert pathlib.Path(first.path).read_bytes() != before


def _write(directory: pathlib.Path, authority: Authority, name: str) -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificates._sign(authority._key, authority._certificate, key, name)
    (directory / "cert.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(certificates._private(key))
    return str(directory / "cert.pem"), str(directory / "key.pem")


def _shown(context: ssl.SSLContext) -> str:
    """The name in the certificate that a context shows."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass  # the other side's turn
    found = x509.load_der_x509_certificate(ours.getpeercert(True) or b"")
    return found.subject.rfc4514_string()


def test_given_certificates_are_read_again_when_they_change(authority: Authority, tmp_path: pathlib.Path) -> None:
    now = [0.0]
    given = Given(*_write(tmp_path, authority, "one.localhost"), lambda: now[0])
    assert _shown(given.context(None)) == "CN=one.localhost"
    _write(tmp_path, authority, "two.localhost")
    assert _shown(given.context("x")) == "CN=one.localhost"  # not yet looked at
    now[0] += certificates.LOOK_S
    assert _shown(given.context("x")) == "CN=two.localhost"
    (tmp_path / "key.pem").write_text("half of i")
    now[0] += certificates.LOOK_S
    assert _shown(given.context("x")) == "CN=two.localhost"
    _write(tmp_path, authority, "three.localhost")
    now[0] += certificates.LOOK_S
    assert _shown(given.context("x")) == "CN=three.localhost"


def test_given_certificates_that_cannot_be_used_are_told_at_the_start(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.HostError, match="read certificate"):
        Given(str(tmp_path / "none.pem"), str(tmp_path / "none.key"))


def test_a_client_that_does_not_speak_tls_ends_alone(port: int, authority: Authority) -> None:
    with socket.create_connection(("127.0.0.1", port), wire.WAIT_S) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wire.read_all(stream)
    with connected(port, "localhost", authority) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"https localhost" in wire.read_all(stream)
