"""A web server in the test's Internet with what clients of package registries and code hosts ask for."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import pathlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from .internet import Internet

_CONTROL = (
    "Package: hello-sprite\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@web.test>\nDescription: x\n"
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass  # a test says what it misses


@contextlib.contextmanager
def served(internet: Internet, address: str, directory: pathlib.Path) -> Iterator[None]:
    """`directory` on port 80 of `address`, for as long as the block."""
    listener = internet.bound(socket.SOCK_STREAM, address, 80)
    listener.listen(64)
    server = http.server.ThreadingHTTPServer(
        (address, 80), functools.partial(_Quiet, directory=str(directory)), bind_and_activate=False
    )
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def write_repository(directory: pathlib.Path) -> None:
    """`code.git` with one commit, for the protocol that needs no program on the server."""
    work = directory / "work"
    git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@web.test", "-C", str(work)]
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    (work / "README").write_text("cloned\n")
    subprocess.run([*git, "add", "README"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    bare = directory / "code.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)


def write_debian(directory: pathlib.Path) -> None:
    """`debian/` with one package, hello-sprite, which brings /usr/bin/hello-sprite; a flat archive, not signed."""
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(_CONTROL)
    program = tree / "usr/bin/hello-sprite"
    program.write_text("#!/bin/sh\necho installed\n")
    program.chmod(0o755)
    archive = directory / "debian"
    archive.mkdir()
    package = archive / "hello-sprite.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(package)], check=True, capture_output=True)
    content = package.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    rest = f"Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n"
    (archive / "Packages").write_text(f"{_CONTROL}{rest}\n")
