"""Images that were pulled or imported: their documents and layers, and what they are unpacked to.

<directory>/
    names.json              {"docker.io/library/busybox:latest": "sha256:…", …}      written under names.lock
    blobs/sha256-HEX        a document or a layer as it is stored elsewhere: whole, checked, on the disk
    partial/sha256-HEX      the beginning of one, which the next pull checks again and goes on with; flock: who does
    roots/sha256-HEX/       by the manifest's digest: the image, unpacked as a whole; flock: shared by its users
    roots.lock              whoever makes or removes a root
    pulling.lock            shared by whoever brings an image; what is in no image is removed by who has it alone

What no name leads to is removed by `collect`. A kill at any line leaves blobs without a name, or a beginning that is
gone on with; a name leads to a whole image or is not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from ... import errors
from ...kernel import files
from . import digest as digests
from . import documents, source, unpack
from .digest import Digest, DigestField
from .documents import Descriptor, Image, Manifest, Platform
from .source import Source

# Told of a blob, and of how much of it there is.
Watch = Callable[[Descriptor, int], None]
_NAMES = "names.json"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Held:
    """An image that is here, under one of its names."""

    name: str
    image: Image

    @property
    def size_bytes(self) -> int:
        """What its layers are, as they are stored."""
        return sum(layer.blob.size for layer in self.image.layers)


class Store:
    """Of one directory, which is made when something is put there. Any number of processes may have it at once."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    # What is there

    def every(self) -> list[Held]:
        """By name."""
        return [Held(name, self._image(digest)) for name, digest in sorted(self._names().items())]

    def find(self, name: str) -> Held:
        """By a name, or by the digest of the manifest. `NotFound`."""
        for known, digest in sorted(self._names().items()):
            if name in (known, digest):
                return Held(known, self._image(digest))
        raise errors.NotFound(f"find image {name}: it is not here", hint="pilot image pull")

    def layers(self, image: Image) -> Iterator[unpack.Stored]:
        """What `unpack` takes: each layer from its file, checked once more."""
        for layer in image.layers:
            yield unpack.Stored(layer.blob.digest, layer.diff_id, source.checked(_Blobs(self), layer.blob))

    def pieces(self, digest: Digest) -> Iterator[bytes]:
        """A blob from its file. `NotFound`."""
        try:
            with open(self._blob(digest), "rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except FileNotFoundError as error:
            raise errors.NotFound(f"read blob {digest}: it is not here", hint="pull the image again") from error

    @contextlib.contextmanager
    def root(self, image: Image) -> Iterator[str]:
        """The image unpacked, which nobody removes or changes meanwhile: a directory to be read only."""
        path = self._path("roots", image.digest)
        while True:
            self._ensure_root(image, path)
            with _locked_directory(path, fcntl.LOCK_SH) as is_locked:
                if is_locked:  # else somebody has removed it meanwhile
                    yield path
                    return

    def _ensure_root(self, image: Image, path: str) -> None:
        if os.path.isdir(path):
            return
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with files.held(self._lock("roots")):
            if not os.path.isdir(path):
                unpack.unpack(self.layers(image), path)

    # What is brought

    def bring(
        self, origin: Source, name: str, wanted: Platform, named: Digest | None = None,
        watch: Watch = lambda *_: None,
    ) -> Held:  # fmt: skip
        """All of an image, which is called `name` from here on; what is here already is not fetched."""
        for part in ("blobs", "partial"):
            os.makedirs(os.path.join(self._directory, part), mode=0o700, exist_ok=True)
        with files.shared(self._lock("pulling")):
            kept = _Documents(origin)
            image = source.find(kept, wanted, named)
            self._keep(image.digest, kept.of(image.digest))
            for blob in (image.manifest.config, *(layer.blob for layer in image.layers)):
                self._fetch(origin, blob, watch)
            files.sync_directory(os.path.join(self._directory, "blobs"))
            self._rename({name: image.digest})
        return Held(name, image)

    def _keep(self, digest: Digest, data: bytes) -> None:
        with _telling(f"keep {digest}"):
            files.replace(self._blob(digest), data, durable=True)

    def _fetch(self, origin: Source, blob: Descriptor, watch: Watch) -> None:
        partial = self._path("partial", blob.digest)
        with files.held(partial):
            if os.path.exists(self._blob(blob.digest)):
                watch(blob, blob.size)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(partial)
                return
            try:
                self._append(origin, blob, partial, watch)
            except errors.PeerError:
                if os.path.getsize(partial) >= blob.size:
                    os.truncate(partial, 0)  # it has its length and is something else: there is nothing to go on from
                raise
            with _telling(f"keep {blob.digest}"):
                os.rename(partial, self._blob(blob.digest))

    def _append(self, origin: Source, blob: Descriptor, partial: str, watch: Watch) -> None:
        if os.path.getsize(partial) > blob.size:
            os.truncate(partial, 0)
        with _telling(f"keep {blob.digest}"), open(partial, "r+b") as file:
            had = iter(lambda: file.read(_PIECE), b"")
            for piece in source.checked(origin, blob, lambda count: watch(blob, count), had):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        watch(blob, blob.size)

    # What goes

    def remove(self, name: str) -> list[str]:
        """A name (or a digest: all its names), and what no other name leads to. The names that went; `NotFound`."""
        gone = [known for known, digest in self._names().items() if name in (known, digest)]
        if not gone:
            raise errors.NotFound(f"remove image {name}: it is not here")
        self._rename(dict.fromkeys(gone))
        self.collect()
        return sorted(gone)

    def collect(self) -> int | None:
        """Remove what no name leads to; how many files and directories. None while an image is being brought.

        What an unpacked image is being used for stays until it is not.
        """
        if not os.path.isdir(self._directory):
            return 0
        with files.alone(self._lock("pulling")) as is_ours:
            if not is_ours:
                return None
            return self._collect({_file_name(digest) for digest in self._wanted()})

    def _wanted(self) -> Iterator[Digest]:
        for digest in self._names().values():
            image = self._image(digest)
            yield digest
            yield image.manifest.config.digest
            yield from (layer.blob.digest for layer in image.layers)

    def _collect(self, wanted: set[str]) -> int:
        count = 0
        for part in ("blobs", "partial"):
            for entry in _listed(os.path.join(self._directory, part)):
                if entry not in wanted:
                    os.unlink(os.path.join(self._directory, part, entry))
                    count += 1
        with files.held(self._lock("roots")):
            return count + sum(map(self._forget_root, self._unwanted_roots(wanted)))

    def _unwanted_roots(self, wanted: set[str]) -> set[str]:
        """Roots, whole or not, by name; of one that is being made `roots.lock` is not ours."""
        entries = _listed(os.path.join(self._directory, "roots"))
        return {entry.removeprefix(".").partition(".")[0] for entry in entries} - wanted

    def _forget_root(self, name: str) -> int:
        roots = os.path.join(self._directory, "roots")
        path = os.path.join(roots, name)
        if os.path.isdir(path):
            with _locked_directory(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_locked:
                if not is_locked:
                    return 0
                unpack.forget(path)
        unpack.forget(os.path.join(roots, f".{name}.unpacking"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.lock")
        return 1

    # Names and places

    def _names(self) -> dict[str, Digest]:
        path = os.path.join(self._directory, _NAMES)
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(), type=dict[str, DigestField])
        except FileNotFoundError:
            return {}
        except errors.UNREADABLE as error:
            hint = "remove it: images are pulled again, nothing else is lost"
            raise errors.HostError(f"read {path}: {error}", hint=hint) from error

    def _rename(self, changes: dict[str, Digest] | dict[str, None]) -> None:
        with files.held(self._lock("names")), _telling("write the names of images"):
            names = {**self._names(), **changes}
            data = msgspec.json.encode({name: digest for name, digest in names.items() if digest is not None})
            files.replace(os.path.join(self._directory, _NAMES), data, durable=True)

    def _image(self, digest: Digest) -> Image:
        what = f"image {digest}"
        data = b"".join(self.pieces(digest))
        manifest = documents.parse_document(data, documents.detect_media_type(data, what), what)
        if not isinstance(manifest, Manifest):
            raise errors.HostError(f"read {what}: it is an index, which no name leads to")
        config = documents.parse_config(b"".join(self.pieces(manifest.config.digest)), what)
        return documents.assemble(digest, manifest, config, what)

    def _blob(self, digest: Digest) -> str:
        return self._path("blobs", digest)

    def _path(self, part: str, digest: Digest) -> str:
        return os.path.join(self._directory, part, _file_name(digests.parse(digest)))

    def _lock(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.lock")


class _Documents:
    """A source whose documents are kept, as the bytes that their digests are of."""

    def __init__(self, origin: Source) -> None:
        self._origin = origin
        self._seen: list[bytes] = []
        self.name = origin.name

    def root(self) -> tuple[str, bytes]:
        media_type, data = self._origin.root()
        self._seen.append(data)
        return media_type, data

    def document(self, descriptor: Descriptor) -> bytes:
        data = self._origin.document(descriptor)
        self._seen.append(data)
        return data

    def blob(self, descriptor: Descriptor, start: int = 0) -> Iterator[bytes]:
        return self._origin.blob(descriptor, start)

    def of(self, digest: Digest) -> bytes:
        """The one that has this digest."""
        return next(data for data in self._seen if digests.fits(data, digest))


class _Blobs:
    """The store as a source of blobs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = "store"

    def root(self) -> tuple[str, bytes]:
        raise errors.NotFound("a store has no image without a name")

    def document(self, descriptor: Descriptor) -> bytes:
        return b"".join(self._store.pieces(descriptor.digest))

    def blob(self, descriptor: Descriptor, start: int = 0) -> Iterator[bytes]:
        assert not start
        return self._store.pieces(descriptor.digest)


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """What the disk refuses is this machine's to mend."""
    try:
        yield
    except OSError as error:
        raise errors.HostError(f"{what}: {(error.strerror or str(error)).lower()}") from error


@contextlib.contextmanager
def _locked_directory(path: str, how: int) -> Iterator[bool]:
    """Whether the directory at `path` is locked, for the block; not when it has gone, or is somebody else's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock(fd, how) and _is_at(fd, path)
    finally:
        os.close(fd)


def _lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _file_name(digest: Digest) -> str:
    return digest.replace(":", "-")


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
