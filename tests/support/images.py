"""Images for tests: OCI layouts made with nothing of ours but names of media types, and a small registry that serves
one, as honestly as a test wants."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.layers import Item, directory, symlink, tar

_OCI = "application/vnd.oci.image"
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


@dataclass(frozen=True)
class Layout:
    """An OCI layout with one image."""

    path: Path
    digest: str
    layers: tuple[str, ...]

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        return self.path / "blobs" / "sha256" / digest.partition(":")[2]


def make_layout(path: Path, layers: Sequence[bytes], config: Mapping[str, object] | None = None) -> Layout:
    """One image of these layers (tars), gzipped; `config` is its `config` member."""

    def put(data: bytes, media_type: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        place = path / "blobs" / "sha256" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]
    document = {
        "os": "linux", "architecture": _MACHINE, "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }  # fmt: skip
    stored = [put(gzip.compress(data, 1, mtime=0), f"{_OCI}.layer.v1.tar+gzip") for data in layers]
    manifest = {
        "schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json", "layers": stored,
        "config": put(json.dumps(document).encode(), f"{_OCI}.config.v1+json"),
    }  # fmt: skip
    entry = put(json.dumps(manifest).encode(), f"{_OCI}.manifest.v1+json")
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return Layout(path, str(entry["digest"]), tuple(str(each["digest"]) for each in stored))


def busybox_layer() -> bytes:
    """A root with busybox, all its commands, and a user `app` (1000, also in group `more`)."""
    program = shutil.which("busybox")
    assert program is not None
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    names = ("bin", "dev", "proc", "sys", "tmp", "etc", "root", "run", "home/app")
    return tar(
        *(directory(name, 0o1777 if name == "tmp" else 0o755) for name in names),
        Item("bin/busybox", data=Path(program).read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in listed if name != "busybox"),
        Item("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
        Item("etc/group", data=b"root:x:0:\napp:x:1000:\nmore:x:50:app\n"),
    )


def busybox(path: Path, config: Mapping[str, object] | None = None) -> Layout:
    """An image to run."""
    return make_layout(path, [busybox_layer()], config)


@dataclass
class Served:
    """A registry at `domain`. `cut`: of a blob so many bytes come before the connection breaks, and no answer
    for the rest."""

    domain: str
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    cut: int | None = None


@contextlib.contextmanager
def serve(layout: Layout) -> Iterator[Served]:
    """The layout's image as every tag of every repository, while the `with` lasts."""
    served = Served("")

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            kind, name = self.path.split("/")[-2:]
            digest = name if name.startswith("sha256:") else layout.digest
            file = layout.blob(digest)
            if not file.is_file():
                self.send_error(404)
                return
            is_manifest = kind == "manifests"
            self._send(file.read_bytes(), f"{_OCI}.manifest.v1+json" if is_manifest else "application/octet-stream")

        def _send(self, data: bytes, media_type: str) -> None:
            asked = self.headers.get("Range")
            self.close_connection = True
            if asked and served.cut is not None:
                return
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                served.ranges.append(asked)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            is_cut = served.cut is not None and media_type == "application/octet-stream"
            self.wfile.write(data[: served.cut] if is_cut else data[start:])

        def log_message(self, *_: object) -> None:
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    served.domain = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="small registry")
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
