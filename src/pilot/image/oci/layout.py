"""An OCI layout (image-layout.md), as a directory or as the tar of one (`oci-archive`).

oci-layout      {"imageLayoutVersion": "1.0.0"}
index.json      an index; a name is an annotation of its entries
blobs/ALGORITHM/HEX
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ... import errors
from . import documents, filesets, limits
from .documents import Descriptor, Index
from .filesets import Files

_NAME = "org.opencontainers.image.ref.name"
_VERSION = "1.0.0"
_VERSION_BYTES = 4096


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    image_layout_version: str


class Layout:
    """A `source.Source`; the files are the caller's to close."""

    def __init__(self, files: Files, tag: str | None = None) -> None:
        self._files = files
        self._tag = tag
        self.name = f"{files.name}:{tag}" if tag else files.name

    def root(self) -> tuple[str, bytes]:
        """The entry of that name, or the only one; the index itself when there are several."""
        self._check_version()
        data = filesets.read(self._files, "index.json", limits.MANIFEST_BYTES)
        index = documents.parse_document(data, documents.OCI_INDEX, f"{self.name}: index.json")
        assert isinstance(index, Index)
        chosen = self._chosen(index.entries)
        return (documents.OCI_INDEX, data) if chosen is None else (chosen.media_type, self.document(chosen))

    def _chosen(self, entries: tuple[Descriptor, ...]) -> Descriptor | None:
        named = [e for e in entries if self._tag in (None, (e.annotations or {}).get(_NAME))]
        if not named:
            raise errors.NotFound(f"find {self.name}: no image of that name")
        return named[0] if len(named) == 1 else None if self._tag is None else named[-1]

    def document(self, descriptor: Descriptor) -> bytes:
        """One that an index names."""
        return filesets.read(self._files, _path(descriptor), min(descriptor.size, limits.MANIFEST_BYTES))

    def blob(self, descriptor: Descriptor, start: int = 0) -> Iterator[bytes]:
        """A config or layer."""
        return filesets.after(self._files.pieces(_path(descriptor)), start)

    def _check_version(self) -> None:
        data = filesets.read(self._files, "oci-layout", _VERSION_BYTES)
        try:
            found = msgspec.json.decode(data, type=_Version).image_layout_version
        except errors.UNREADABLE as error:
            raise errors.SpecError("$", f"no version: {error}", file=f"{self.name}: oci-layout") from error
        if found != _VERSION:
            raise errors.SpecError("$.imageLayoutVersion", f"{found[:50]!r}", file=f"{self.name}: oci-layout")


def _path(descriptor: Descriptor) -> str:
    algorithm, _, hexadecimal = descriptor.digest.partition(":")
    return f"blobs/{algorithm}/{hexadecimal}"
