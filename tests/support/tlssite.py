"""An HTTPS server for tests, believed by who has its authority: it keeps what it was asked, and says what it is to."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import http.server
import json
import pathlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs for any name. `path`: its certificate, for who is to believe it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = (
            _builder(self._name, self._name, self._key).add_extension(constraints, critical=True)
        ).sign(self._key, hashes.SHA256())
        self.path = directory / "authority.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *names: str) -> ssl.SSLContext:
        """What a server is that has those names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        leaf = _builder(subject, self._name, key).add_extension(alternatives, critical=False)
        path = self._directory / f"{names[0]}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = leaf.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        path.write_bytes(certificate + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request as it came. `headers`: names in lower case, of each the last."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Said:
    """An answer. `status` None: the connection is closed instead."""

    body: bytes = b""
    status: int | None = 200
    headers: Sequence[tuple[str, str]] = ()


Answer = Callable[[Asked], Said]


def told(asked: Asked) -> Said:
    """What was asked, but for values of headers that may be secret."""
    names = {"method": asked.method, "path": asked.path, "body": len(asked.body), "names": sorted(asked.headers)}
    return Said(json.dumps(names).encode())


def guarded(directory: pathlib.Path, secret: str) -> Answer:
    """Files of that directory, and lists of them, for who shows the secret: as a bearer, or as anybody's password."""

    def answer(asked: Asked) -> Said:
        shown = asked.headers.get("authorization", "")
        if shown.startswith("Basic "):
            shown = base64.b64decode(shown[6:]).decode().partition(":")[2]
        if shown.removeprefix("Bearer ") != secret:
            return Said(b"who are you?\n", 401, [("WWW-Authenticate", 'Basic realm="test"')])
        path = directory / asked.path.partition("?")[0].strip("/")
        if path.is_dir():
            links = "".join(f'<a href="{each.name}">{each.name}</a>\n' for each in path.iterdir())
            return Said(links.encode(), headers=[("Content-Type", "text/html")])
        return Said(path.read_bytes()) if path.is_file() else Said(status=404)

    return answer


class Site:
    """`asked`: everything, oldest first; `connections`: how many there were. `answer` may be replaced at any time."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.answer: Answer = told
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self) -> None:
                site.connections += 1
                super().setup()

            def handle_one_request(self) -> None:
                with contextlib.suppress(OSError):  # who asked has gone
                    super().handle_one_request()

            def answer_any(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self._body(headers))
                site.asked.append(asked)
                said = site.answer(asked)
                if said.status is None:
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in said.headers:
                    self.send_header(name, value)
                if "transfer-encoding" not in {name.lower() for name, _ in said.headers}:
                    self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = answer_any

            def _body(self, headers: dict[str, str]) -> bytes:
                if headers.get("transfer-encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return body
                return self.rfile.read(int(headers.get("content-length", 0)))

            def log_message(self, *_: object) -> None:
                """A test reads `asked`."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Handshakes that fail are what tests are about."""

        self._server = Server(("", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        listening.listen(64)
        self._server.socket = context.wrap_socket(listening.dup(), server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, name="https", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def serving(listening: socket.socket, context: ssl.SSLContext) -> Iterator[Site]:
    """Whoever connects there. The socket is the caller's."""
    made = Site(listening, context)
    try:
        yield made
    finally:
        made.close()
