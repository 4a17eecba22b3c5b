"""A web server in the test's Internet with what clients of package registries and code hosts ask for."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import json
import pathlib
import socket
import subprocess
import tarfile
import threading
import zipfile
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


def write_python(directory: pathlib.Path) -> None:
    """`simple/`, an index (PEP 503) with one wheel, hello-sprite, which brings a program of that name; and `pip.whl`,
    which is pip itself (Python runs it as it is), as Debian's python3-venv has it."""
    name, version = "hello_sprite", "1.0"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main():\n    print('installed')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hello-sprite\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\nhello-sprite = {name}:main\n",
    }
    index = directory / "simple" / "hello-sprite"
    index.mkdir(parents=True)
    wheel = index / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD")))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (index / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel.name}#sha256={digest}">{wheel.name}</a>\n')
    (pip,) = pathlib.Path("/usr/share/python-wheels").glob("pip-*.whl")
    (directory / "pip.whl").symlink_to(pip)


def write_node(directory: pathlib.Path, url: str) -> None:
    """`npm/`, a registry with one package, hello-sprite, which brings a program of that name. `url` is the site's."""
    manifest = {"name": "hello-sprite", "version": "1.0.0", "bin": {"hello-sprite": "main.js"}}
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        _add(archive, "package/package.json", json.dumps(manifest))
        _add(archive, "package/main.js", "#!/usr/bin/env node\nconsole.log('installed')\n")
    registry = directory / "npm"
    (registry / "packed").mkdir(parents=True)
    (registry / "packed" / "hello-sprite-1.0.0.tgz").write_bytes(packed.getvalue())
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    dist = {"tarball": f"{url}/npm/packed/hello-sprite-1.0.0.tgz", "integrity": integrity}
    document = {
        "name": "hello-sprite",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": manifest | {"dist": dist}},
    }
    (registry / "hello-sprite").write_text(json.dumps(document))


def _add(archive: tarfile.TarFile, path: str, text: str) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(text), 0o755
    archive.addfile(member, io.BytesIO(text.encode()))
