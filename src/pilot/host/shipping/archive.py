"""An image as the tar of an OCI layout (`oci-archive`), made as it is read; its documents are made here.

oci-layout   index.json   blobs/sha256/<config> <manifest> <base> <layer>

Layers are not compressed: what copies an image to a registry (`skopeo copy`) compresses it on its way. The same layers
and settings make the same bytes, so the same digest.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO

import msgspec

from ...image.oci import digest as digests
from ...image.oci import documents
from ...image.oci.digest import Digest
from ...image.oci.documents import Execution, Platform

JSON = dict[str, object]

PIECE_BYTES = 1 << 20
_NAME = "org.opencontainers.image.ref.name"
_BLOCK = 512


class Layer(msgspec.Struct, frozen=True):
    """A tar, as it is. `file` is read from its beginning; `made_by`: what the image's history says."""

    file: IO[bytes]
    digest: Digest
    size: int
    made_by: str


class Image(msgspec.Struct, frozen=True):
    """`created`: RFC 3339; `name`: by which the layout's index calls it."""

    name: str
    created: str
    platform: Platform
    layers: tuple[Layer, ...]
    config: Execution


def layer(file: IO[bytes], made_by: str, digest: Digest | None = None) -> Layer:
    """Without `digest` it is found by reading all of it."""
    return Layer(file, digest or digest_of(file), os.fstat(file.fileno()).st_size, made_by)


def digest_of(file: IO[bytes]) -> Digest:
    """Of all that is in it."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(PIECE_BYTES):
        digest.update(piece)
    return Digest(f"sha256:{digest.hexdigest()}")


class Archive:
    """`size` and `digest` (the manifest's) are known before it is read, once."""

    def __init__(self, image: Image) -> None:
        config, manifest, index = _documents(image)
        self.digest = digests.of(manifest)
        self._members: Sequence[tuple[str, bytes | Layer]] = (
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", index),
            (_path(digests.of(config)), config),
            (_path(self.digest), manifest),
            *((_path(each.digest), each) for each in image.layers),
        )
        self.size = sum(_BLOCK + _padded(_size(content)) for _, content in self._members) + 2 * _BLOCK

    def pieces(self) -> Iterator[bytes]:
        for name, content in self._members:
            header = tarfile.TarInfo(name)
            header.size, header.mode = _size(content), 0o644
            yield header.tobuf(tarfile.GNU_FORMAT)
            yield from (content,) if isinstance(content, bytes) else _read(content.file)
            yield b"\0" * (_padded(header.size) - header.size)
        yield b"\0" * (2 * _BLOCK)

    def close(self) -> None:
        for _, content in self._members:
            if isinstance(content, Layer):
                content.file.close()


def _documents(image: Image) -> tuple[bytes, bytes, bytes]:
    """Config, manifest and index."""
    config = _encoded(
        {
            "created": image.created,
            "architecture": image.platform.architecture,
            "os": image.platform.os,
            "config": {name: value for name, value in msgspec.to_builtins(image.config).items() if value is not None},
            "rootfs": {"type": "layers", "diff_ids": [each.digest for each in image.layers]},
            "history": [{"created": image.created, "created_by": each.made_by} for each in image.layers],
        }
    )
    manifest = _encoded(
        {
            "schemaVersion": 2,
            "mediaType": documents.OCI_MANIFEST,
            "config": _descriptor(documents.OCI_CONFIG, digests.of(config), len(config)),
            "layers": [_descriptor(documents.OCI_LAYER, each.digest, each.size) for each in image.layers],
        }
    )
    entry = _descriptor(documents.OCI_MANIFEST, digests.of(manifest), len(manifest))
    platform = {"architecture": image.platform.architecture, "os": image.platform.os}
    entry |= {"annotations": {_NAME: image.name}, "platform": platform}
    return config, manifest, _encoded({"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": [entry]})


def _descriptor(media_type: str, digest: Digest, size: int) -> JSON:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _encoded(document: JSON) -> bytes:
    return msgspec.json.encode(document)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _size(content: bytes | Layer) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _read(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece
