"""Debian's docker-registry on loopback, and a token server for it: what our client is compared with is not ours."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

_START_S = 60


@dataclass(frozen=True)
class Running:
    """A registry at `domain`, keeping its files below `directory`."""

    domain: str
    directory: Path


@contextlib.contextmanager
def registry(directory: Path, auth: dict[str, object] | None = None) -> Iterator[Running]:
    """One that runs while the `with` does."""
    port = free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": os.fspath(directory / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        **({"auth": auth} if auth else {}),
    }
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "registry.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    with open(directory / "registry.log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", file], stdout=log, stderr=log)
    try:
        _wait(process, port, directory)
        yield Running(f"127.0.0.1:{port}", directory)
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, directory: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
            return
        assert process.poll() is None, (directory / "registry.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Tokens:
    """A token server: what it was asked, and what it gives to whom."""

    realm: str
    asked: list[dict[str, list[str]]]
    credentials: list[str | None]


@contextlib.contextmanager
def token_server(token: str, user: str, password: str) -> Iterator[Tokens]:
    """Gives `token` to that user alone."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    tokens = Tokens("", [], [])

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.asked.append(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))
            tokens.credentials.append(self.headers.get("Authorization"))
            known = self.headers.get("Authorization") == wanted
            body = json.dumps({"access_token": token, "expires_in": 300} if known else {}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    tokens.realm = f"http://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, name="token server")
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
