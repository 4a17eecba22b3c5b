"""Layers made by hand, with Python's own `tarfile`: an independent writer, which also writes what nobody should."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import zstandard

from pilot.image.oci import digest, unpack


@dataclass(frozen=True)
class Item:
    """One entry, with what a test wants to say about it."""

    name: str
    kind: bytes = tarfile.REGTYPE
    data: bytes = b""
    target: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime: float = 1_000_000_000
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)


def directory(name: str, mode: int = 0o755, **other: object) -> Item:
    """A directory."""
    return Item(name, tarfile.DIRTYPE, mode=mode, **other)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> Item:
    """A symbolic link."""
    return Item(name, tarfile.SYMTYPE, target=target, mode=0o777)


def link(name: str, target: str) -> Item:
    """A hard link."""
    return Item(name, tarfile.LNKTYPE, target=target)


def tar(*items: Item, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A layer, uncompressed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as archive:
        for item in items:
            archive.addfile(_info(item), io.BytesIO(item.data))
    return out.getvalue()


def _info(item: Item) -> tarfile.TarInfo:
    info = tarfile.TarInfo(item.name)
    info.type, info.size, info.linkname, info.mode = item.kind, len(item.data), item.target, item.mode
    info.uid, info.gid = item.owner
    info.mtime = item.mtime
    info.devmajor, info.devminor = item.device
    info.pax_headers = dict(item.pax)
    return info


def stored(layer: bytes, compressed: bytes | None = None, chunk: int = 1 << 16) -> unpack.Stored:
    """A layer for the unpacker."""
    return unpack.Stored("test", digest.of(layer), list(_chunks(layer if compressed is None else compressed, chunk)))


def zstd(data: bytes) -> bytes:
    """One frame of zstd."""
    return zstandard.ZstdCompressor().compress(data)


def _chunks(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
