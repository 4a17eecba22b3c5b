"""What `docker save` writes (and skopeo and podman as `docker-archive`).

    manifest.json   [{"Config": FILE, "RepoTags": [NAME:TAG, ...], "Layers": [FILE, ...]}, ...]

It names files, not digests: a manifest is made for it, of what the files are. What a layer must be, uncompressed, is
in the config, and is checked as it is for any other image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from ... import errors
from . import digest as digests
from . import documents, filesets, limits, reference
from .digest import Digest
from .documents import Descriptor
from .filesets import Files


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: tuple[str, ...] | None = None
    repo_tags: tuple[str, ...] | None = None


class DockerSave:
    """A `source.Source`; the files are the caller's to close."""

    def __init__(self, files: Files, name: str | None = None) -> None:
        self._files = files
        self._wanted = name
        self._paths: dict[Digest, str] = {}
        self.name = f"{files.name}:{name}" if name else files.name

    def root(self) -> tuple[str, bytes]:
        """A manifest of the image of that name, or of the only one. Reads each layer once, for its digest."""
        entry = self._chosen(self._entries())
        if len(entry.layers or ()) > limits.LAYERS:
            raise errors.SpecError("$.Layers", f"more than {limits.LAYERS}", file=self.name)
        config = self._describe(entry.config, documents.DOCKER_CONFIG)
        layers = tuple(self._describe(path, documents.DOCKER_LAYER) for path in entry.layers or ())
        manifest = documents.Manifest(2, config, layers, documents.DOCKER_MANIFEST)
        return documents.DOCKER_MANIFEST, msgspec.json.encode(manifest)

    def document(self, descriptor: Descriptor) -> bytes:
        """There is one image, and no index."""
        raise errors.NotFound(f"find {descriptor.digest} of {self.name}: it has no such document")

    def blob(self, descriptor: Descriptor, start: int = 0) -> Iterator[bytes]:
        """A config or layer, by the digest that was found for it."""
        return filesets.after(self._files.pieces(self._paths[descriptor.digest]), start)

    def _entries(self) -> tuple[_Entry, ...]:
        data = filesets.read(self._files, "manifest.json", limits.MANIFEST_BYTES)
        try:
            return msgspec.json.decode(data, type=tuple[_Entry, ...])
        except errors.UNREADABLE as error:
            raise errors.SpecError("$", str(error), file=f"{self.name}: manifest.json") from error

    def _chosen(self, entries: tuple[_Entry, ...]) -> _Entry:
        if self._wanted is None and len(entries) == 1:
            return entries[0]
        if self._wanted is None:
            raise errors.NotFound(f"find an image in {self.name}: it has {len(entries)}, and none was named")
        wanted = str(reference.parse(self._wanted))
        for entry in entries:
            if wanted in (str(reference.parse(tag)) for tag in entry.repo_tags or ()):
                return entry
        raise errors.NotFound(f"find {self.name}: no image of that name")

    def _describe(self, path: str, media_type: str) -> Descriptor:
        hashed, size = hashlib.sha256(), 0
        for piece in self._files.pieces(path):
            hashed.update(piece)
            size += len(piece)
        digest = digests.parse(f"sha256:{hashed.hexdigest()}")
        self._paths[digest] = path
        return Descriptor(media_type, digest, size)
