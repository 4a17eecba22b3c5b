"""What an image is read from, whatever that is, and how one is found there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Protocol

from ... import errors
from . import digest as digests
from . import documents, limits, platform
from .digest import Digest
from .documents import Config, Descriptor, Image, Index, Manifest, Platform

Watch = Callable[[int], None]
# By the digest of what a name stands for, the image for one platform: it says the same for ever.
Known = MutableMapping[Digest, Image]


class Source(Protocol):
    """A registry's repository, or files. Nothing that it gives was checked."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def root(self) -> tuple[str, bytes]:
        """What the name stands for: media type and document."""
        ...

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest or index, at most as long as the descriptor says."""
        ...

    def blob(self, descriptor: Descriptor, start: int = 0) -> Iterator[bytes]:
        """A config or layer, in pieces, from its byte `start` on."""
        ...


def find(source: Source, wanted: Platform, named: Digest | None = None, known: Known | None = None) -> Image:
    """The image for a platform; `named` is the digest that the root must have. Of one that is `known` nothing but that
    is asked; one that is found is known from then on.

    NotFound when there is none, SpecError for documents that are refused, PeerError for what is not what it should be.
    """
    media_type, data = source.root()
    digest = named or digests.of(data)
    digests.verify(data, digest, f"{source.name}: what its name stands for")
    if known is not None and (had := known.get(digest)) is not None:
        return had
    found = _image(source, media_type, data, digest, wanted, 0)
    if found is None:
        raise errors.NotFound(f"find {source.name} for {platform.describe(wanted)}: it has none for this platform")
    if known is not None:
        known[digest] = found
    return found


def _image(source: Source, media_type: str, data: bytes, digest: Digest, wanted: Platform, depth: int) -> Image | None:
    what = f"{source.name}@{digest}"
    document = documents.parse_document(data, media_type, what)
    if isinstance(document, Manifest):
        return _of_manifest(source, document, digest, wanted, what)
    if depth >= limits.INDEX_DEPTH:
        raise errors.SpecError("$.manifests", f"indexes in indexes, more than {limits.INDEX_DEPTH} deep", file=what)
    return _of_index(source, document, wanted, depth)


def _of_index(source: Source, index: Index, wanted: Platform, depth: int) -> Image | None:
    for entry in platform.candidates(index.entries, wanted):
        if entry.media_type in documents.INDEXES | documents.MANIFESTS:
            data = _checked(source.document(entry), entry, f"{source.name}: a document")
            found = _image(source, entry.media_type, data, entry.digest, wanted, depth + 1)
            if found is not None:
                return found
    return None


def _of_manifest(source: Source, manifest: Manifest, digest: Digest, wanted: Platform, what: str) -> Image | None:
    documents.check_is_image(manifest, what)
    config = _config(source, manifest.config, what)
    if not platform.runs(config.platform, wanted):
        return None
    return documents.assemble(digest, manifest, config, what)


def _config(source: Source, descriptor: Descriptor, what: str) -> Config:
    if descriptor.size > limits.CONFIG_BYTES:
        raise errors.SpecError("$.config.size", f"more than {limits.CONFIG_BYTES} bytes", file=what)
    return documents.parse_config(b"".join(checked(source, descriptor)), f"{what}: config")


def _checked(data: bytes, descriptor: Descriptor, what: str) -> bytes:
    if len(data) != descriptor.size:
        raise errors.PeerError(f"{what}: {len(data)} bytes, it should be {descriptor.size}")
    return digests.verify(data, descriptor.digest, what)


def checked(
    source: Source, descriptor: Descriptor, watch: Watch = lambda _: None, had: Iterable[bytes] = ()
) -> Iterator[bytes]:
    """A blob in pieces, refused as soon as it is too long and at its end when it is another. PeerError.

    What was given before that is worth nothing. `watch` is told how much there is. `had`: its beginning, of an earlier
    attempt, which is checked with the rest and not given again.
    """
    what = f"{source.name}: blob {descriptor.digest}"
    check = digests.Check(descriptor.digest)
    count = 0
    for part in had:
        count += len(part)
        check.update(part)
    for part in source.blob(descriptor, count):
        count += len(part)
        if count > descriptor.size:
            raise errors.PeerError(f"{what}: more than the {descriptor.size} bytes that it should have")
        check.update(part)
        watch(count)
        yield part
    if count != descriptor.size:
        raise errors.PeerError(f"{what}: {count} bytes, it should be {descriptor.size}")
    check.finish(what)
