"""Images from strangers: references, documents, what registries answer, layers; and config.json."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tempfile
from collections.abc import Callable

import msgspec

from pilot import errors
from pilot.image.oci import challenge, docker_save, documents, filesets, inflate, layout, limits, reference, tarstream
from pilot.image.oci.source import Source
from pilot.spec import parse
from tests.fuzz.target import Form, Target
from tests.support import full_config, layers
from tests.support.layers import Item

_SEEN_BYTES = 1 << 20


def _reference(data: bytes) -> None:
    found = reference.parse(data.decode("utf-8", "surrogateescape"))
    assert reference.parse(str(found)) == found


def _document(data: bytes) -> None:
    """To one reader it is an index or a manifest, never both."""
    kinds = [kind for kind in (documents.OCI_INDEX, documents.OCI_MANIFEST) if _is_document(data, kind)]
    assert len(kinds) < 2
    if kinds:
        assert documents.detect_media_type(data, "d") in documents.INDEXES | documents.MANIFESTS


def _is_document(data: bytes, media_type: str) -> bool:
    try:
        found = documents.parse_document(data, media_type, "d")
    except errors.SpecError:
        return False
    again = documents.parse_document(msgspec.json.encode(found), media_type, "d")
    assert again == found
    return True


def _config(data: bytes) -> None:
    found = documents.parse_config(data, "c")
    assert documents.parse_config(msgspec.json.encode(found), "c") == found


def _tar(data: bytes) -> None:
    """Blocks whose checksums are made to fit where they say so (`+` before a block)."""
    stream = b""
    while data:
        fits, block, data = data[:1] == b"+", data[1:513].ljust(512, b"\0"), data[513:]
        stream += _with_checksum(block) if fits else block
    reader = tarstream.Reader(io.BytesIO(stream))
    while (entry := reader.next()) is not None:
        assert 0 <= entry.mode <= 0o7777
        read = 0
        for offset, part in reader.data():
            assert 0 <= offset <= offset + len(part) <= entry.size
            read += len(part)
        assert read == sum(size for _, size in entry.segments)


def _with_checksum(block: bytes) -> bytes:
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def _marked(tar: bytes) -> bytes:
    return b"".join(b"+" + tar[at : at + 512] for at in range(0, len(tar), 512) if any(tar[at : at + 512]))


def _inflate(data: bytes) -> None:
    stream, seen = inflate.tar_of(io.BytesIO(data)), 0
    while seen < _SEEN_BYTES and (part := stream.read(65536)):
        assert len(part) <= 65536
        seen += len(part)


def _challenge(data: bytes) -> None:
    challenge.parse(data.decode("latin-1"))


def _files(make: Callable[[filesets.Files], Source]) -> Callable[[bytes], None]:
    """A tar of files (name, NUL, content, separated by `\\n--\\n`), read as an image."""

    def run(data: bytes) -> None:
        items = []
        for part in data.split(b"\n--\n"):
            name, _, content = part.partition(b"\0")
            items.append(Item(name.decode("latin-1") or "x", data=content))
        with tempfile.NamedTemporaryFile() as file:
            file.write(layers.tar(*items))
            file.flush()
            with filesets.Archive(file.name) as archive:
                _look(make(archive))

    return run


def _look(source: Source) -> None:
    media_type, data = source.root()
    found = documents.parse_document(data, media_type, source.name)
    named = found.entries if isinstance(found, documents.Index) else (found.config, *(found.layers or ()))
    for descriptor in named:
        with contextlib.suppress(errors.PilotError):
            size = sum(map(len, source.blob(descriptor)))
            assert size <= limits.MANIFEST_BYTES


_HEX = "0" * 64
_DESCRIPTOR = {"mediaType": documents.OCI_CONFIG, "digest": f"sha256:{_HEX}", "size": 2}
_LAYER = {"mediaType": documents.OCI_LAYER, "digest": f"sha256:{_HEX}", "size": 2, "annotations": {"a": "b"}}
_MANIFEST = json.dumps({"schemaVersion": 2, "config": _DESCRIPTOR, "layers": [_LAYER]}).encode()
_INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": documents.OCI_INDEX,
        "manifests": [
            {
                **_DESCRIPTOR,
                "mediaType": documents.OCI_MANIFEST,
                "platform": {"os": "linux", "architecture": "amd64"},
                "annotations": {"org.opencontainers.image.ref.name": "t"},
            }
        ],
    }
).encode()
_CONFIG = json.dumps(
    {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Env": ["A=b"], "User": "1:2", "ExposedPorts": {"80/tcp": {}}},
    }
).encode()
_TARS = tuple(
    _marked(layers.tar(Item("a/" + "n" * length, data=b"abc", mtime=1.5), layers.symlink("s", "t"), format=style))
    for style in (0, 1, 2) for length in (3, 90)
)  # fmt: skip
_SPARSE = _marked(layers.tar(Item("s", data=b"x" * 512, pax={"GNU.sparse.map": "0,512", "GNU.sparse.size": "4096"})))
_LAYOUT = (
    b'oci-layout\0{"imageLayoutVersion": "1.0.0"}\n--\nindex.json\0'
    + _INDEX
    + (f"\n--\nblobs/sha256/{_HEX}\0".encode() + _MANIFEST)
)
_SAVED = b'manifest.json\0[{"Config": "c", "RepoTags": ["a:b"], "Layers": ["l"]}]\n--\nc\0{}\n--\nl\0abc'

TARGETS = {
    "oci-reference": Target(
        _reference, (errors.SpecError,), (b"debian", b"localhost:5000/a/b_c:t@sha256:" + _HEX.encode(), b"[::1]:1/a"),
    ),
    "oci-document": Target(_document, (errors.SpecError,), (_MANIFEST, _INDEX), form=Form.JSON),
    "oci-config": Target(_config, (errors.SpecError,), (_CONFIG,), form=Form.JSON),
    "oci-tar": Target(_tar, (errors.SpecError,), (*_TARS, _SPARSE), 16384),
    "oci-inflate": Target(
        _inflate, (errors.SpecError,), (gzip.compress(b"a" * 99, mtime=0) * 2, layers.zstd(b"a" * 99), b"plain"),
    ),
    "oci-challenge": Target(_challenge, (), (b'Bearer realm="https://a/b",service=c,scope="x\\"y"', b"Basic realm=a")),
    "oci-layout": Target(_files(layout.Layout), (errors.PilotError,), (_LAYOUT,)),
    "docker-save": Target(_files(docker_save.DockerSave), (errors.PilotError,), (_SAVED,)),
    "runtime-config": Target(
        parse.parse_spec, (errors.SpecError,), (json.dumps(full_config.full_config()).encode(),), 32768, Form.JSON,
    ),
}  # fmt: skip
