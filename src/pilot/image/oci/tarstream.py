"""Reads a tar stream strictly, in bounded memory: v7, ustar, GNU and PAX as Go's and GNU's writers make them.

    block = header ─┬─ x, L, K: what the next header has no room for      ─► remembered
                    ├─ g: of the whole archive; ignored, as by Go's users
                    └─ an entry ─► Entry, then its data by `data()`, padded to 512

Why not `tarfile`: it takes a damaged header in the middle for the end of the archive, reads headers of any length into
memory, and looks through them in quadratic time (CVE-2024-6232). A layer that two readers read in two ways is a hole.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ... import errors

BLOCK = 512
CHUNK = 1 << 18
_LONGEST_EXTENSION = 1 << 20
_MOST_SEGMENTS = 1 << 20
_LARGEST = 2**63 - 1
_IDS = 2**32 - 1

Segment = tuple[int, int]


class Readable(Protocol):
    """At most `size` bytes; none at the end alone."""

    def read(self, size: int, /) -> bytes: ...


class Kind(enum.Enum):
    """What an entry makes."""

    FILE = "file"
    LINK = "hard link"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "FIFO"


_KINDS = {
    b"\0": Kind.FILE, b"0": Kind.FILE, b"7": Kind.FILE, b"S": Kind.FILE, b"1": Kind.LINK, b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER, b"4": Kind.BLOCK, b"5": Kind.DIRECTORY, b"6": Kind.FIFO,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One name with what belongs to it. `size` is the file's; `segments` are where it has data, the rest is a hole."""

    kind: Kind
    name: bytes
    target: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    device: tuple[int, int] = (0, 0)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()


class Reader:
    """The entries of one stream, one after the other; SpecError for what is no tar.

    `skip`: passes so many bytes of data that nobody reads, where the source is a file.
    """

    def __init__(self, source: Readable, skip: Callable[[int], None] | None = None) -> None:
        self._source = source
        self._skip = skip or self._read_away
        self._left = 0  # of the present entry's data
        self._padding = 0
        self._segments: tuple[Segment, ...] = ()

    def next(self) -> Entry | None:
        """The next entry, whatever of the last one's data was not read being skipped; None at the end."""
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        extension = _Extension()
        while (block := self._header()) is not None:
            kind = block[156:157]
            if kind in b"xgLK" and kind != b"":
                extension.take(kind, self._payload(_number(block[124:136], "size")))
            else:
                return self._entry(block, extension)
        if extension.used:
            raise _bad("it ends between an extended header and what it belongs to")
        return None

    def data(self) -> Iterator[tuple[int, bytes]]:
        """Of the present file: where, and what."""
        for start, size in self._segments:
            done = 0
            while done < size:
                part = self._some(min(CHUNK, size - done))
                self._left -= len(part)
                yield start + done, part
                done += len(part)

    def _entry(self, block: bytes, extension: _Extension) -> Entry:
        kind = _kind(block)
        size = extension.number("size", _number(block[124:136], "size")) if kind is Kind.FILE else 0
        if not 0 <= size <= _LARGEST:
            raise _bad(f"a size of {size}")
        self._left, self._padding = size, -size % BLOCK
        real, self._segments = self._layout(block, extension, size)
        uid = extension.number("uid", _number(block[108:116], "uid"))
        gid = extension.number("gid", _number(block[116:124], "gid"))
        if not (0 <= uid <= _IDS and 0 <= gid <= _IDS):
            raise _bad(f"owners {uid}:{gid}")
        name = extension.name or _name(block)
        return Entry(
            kind=Kind.DIRECTORY if kind is Kind.FILE and name.endswith(b"/") else kind,
            name=name,
            target=extension.target or _text(block[157:257]),
            mode=_number(block[100:108], "mode") & 0o7777,
            uid=uid,
            gid=gid,
            mtime_ns=extension.mtime_ns(_number(block[136:148], "mtime")),
            size=real,
            device=(_number(block[329:337], "major"), _number(block[337:345], "minor")),
            xattrs=extension.xattrs(),
            segments=self._segments,
        )

    # Sparse files: three ways of PAX, and GNU's old one.

    def _layout(self, block: bytes, extension: _Extension, size: int) -> tuple[int, tuple[Segment, ...]]:
        """The file's real size, and where its data goes."""
        if block[156:157] == b"S":
            real, segments = _number(block[483:495], "real size"), self._old_map(block)
        elif extension.sparse_1_0:
            real, segments = extension.real_size, self._map_in_data()
        elif extension.sparse_0:
            real, segments = extension.real_size, extension.sparse_map()
        else:
            return size, ((0, size),) if size else ()
        return real, _checked(segments, real, self._left)

    def _old_map(self, block: bytes) -> list[Segment]:
        segments = _pairs(block[386:482])
        more = block[482]
        while more:
            block = self._exactly(BLOCK)
            segments += _pairs(block[:504])
            more = block[504]
            _few_enough(len(segments))
        return segments

    def _map_in_data(self) -> list[Segment]:
        """Lines of decimals at the beginning of the data, padded to a block."""
        lines = self._lines()
        count = _decimal(next(lines))
        _few_enough(count)
        numbers = [_decimal(next(lines)) for _ in range(2 * count)]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while True:
            if self._left < BLOCK or len(rest) > BLOCK:
                raise _bad("a sparse map that does not end")
            *lines, rest = (rest + self._exactly(BLOCK)).split(b"\n")
            self._left -= BLOCK
            yield from lines

    # Blocks.

    def _header(self) -> bytes | None:
        block = self._block_or_end()
        if block is None:
            return None
        if not any(block):
            # Two blocks of zeros are the end; a writer that died after one is forgiven.
            second = self._block_or_end()
            if second is not None and any(second):
                raise _bad("something follows its end")
            return None
        _check_sum(block)
        return block

    def _block_or_end(self) -> bytes | None:
        first = self._source.read(BLOCK)
        return first + self._exactly(BLOCK - len(first)) if first else None

    def _payload(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_EXTENSION:
            raise _bad(f"an extended header of {size} bytes")
        return self._exactly(size + -size % BLOCK)[:size]

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        part = self._source.read(size)
        if not part:
            raise _bad("it is cut off")
        return part

    def _read_away(self, size: int) -> None:
        while size:
            size -= len(self._some(min(size, CHUNK)))


class _Extension:
    """What the headers before an entry say about it."""

    def __init__(self) -> None:
        self.used = False
        self._gnu: dict[bytes, bytes] = {}
        self._pax: dict[bytes, bytes] = {}
        self._pairs: list[tuple[bytes, bytes]] = []

    def take(self, kind: bytes, payload: bytes) -> None:
        """One of `x`, `L`, `K`; `g` speaks of the whole archive and is let go."""
        if kind == b"g":
            return
        self.used = True
        if kind == b"x":
            self._pairs = list(_records(payload))
            self._pax = dict(self._pairs)
        else:
            self._gnu[kind] = _text(payload)

    @property
    def name(self) -> bytes:
        """Its name, where the header has no room."""
        own = self._pax.get(b"GNU.sparse.name") or self._pax.get(b"path", b"")
        return self._one(own, self._gnu.get(b"L", b""))

    @property
    def target(self) -> bytes:
        """What a link leads to, where the header has no room."""
        return self._one(self._pax.get(b"linkpath", b""), self._gnu.get(b"K", b""))

    def _one(self, pax: bytes, gnu: bytes) -> bytes:
        if pax and gnu and pax != gnu:
            raise _bad("two long names for one entry")
        if b"\0" in pax:
            raise _bad("a NUL in a name")
        return pax or gnu

    def number(self, key: str, otherwise: int) -> int:
        """A decimal of the extension, or what the header has."""
        value = self._pax.get(key.encode())
        return _decimal(value) if value else otherwise

    def mtime_ns(self, header_s: int) -> int:
        """The time of the last change, in nanoseconds: any that a `timespec` has (ext4 has times until 2446, so 64 bits
        of nanoseconds, which end in 2262, are too few). The kernel brings one into its filesystem's range."""
        value = self._pax.get(b"mtime")
        nanoseconds = _time_ns(value) if value else header_s * 10**9
        if not -(2**63) <= nanoseconds // 10**9 < 2**63:
            raise _bad("a time out of range")
        return nanoseconds

    def xattrs(self) -> dict[bytes, bytes]:
        """Extended attributes, as star and GNU tar keep them."""
        prefix = b"SCHILY.xattr."
        return {key[len(prefix) :]: value for key, value in self._pax.items() if key.startswith(prefix)}

    @property
    def sparse_1_0(self) -> bool:
        """Whether the data begins with the map."""
        return (self._pax.get(b"GNU.sparse.major"), self._pax.get(b"GNU.sparse.minor")) == (b"1", b"0")

    @property
    def sparse_0(self) -> bool:
        """Whether the map is among the records."""
        return b"GNU.sparse.map" in self._pax or b"GNU.sparse.numblocks" in self._pax

    @property
    def real_size(self) -> int:
        """A sparse file's."""
        return _decimal(self._pax.get(b"GNU.sparse.realsize") or self._pax.get(b"GNU.sparse.size") or b"-")

    def sparse_map(self) -> list[Segment]:
        """Of formats 0.0 (a record for each number) and 0.1 (one record)."""
        listed = self._pax.get(b"GNU.sparse.map")
        if listed is not None:
            numbers = [_decimal(text) for text in listed.split(b",")] if listed else []
        else:
            wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
            numbers = [_decimal(value) for key, value in self._pairs if key in wanted]
        if len(numbers) % 2:
            raise _bad("half a segment of a sparse file")
        return list(zip(numbers[::2], numbers[1::2], strict=True))


def _records(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`LENGTH KEY=VALUE\\n`, the length counting all of it."""
    at = 0
    while at < len(payload):
        space = payload.find(b" ", at, at + 20)
        if space < 0:
            raise _bad("a damaged extended header")
        length = _decimal(payload[at:space])
        record = payload[space + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if at + length > len(payload) or not (equals and key) or record[-1:] != b"\n":
            raise _bad("a damaged extended header")
        yield key, value
        at += length


def _kind(block: bytes) -> Kind:
    kind = _KINDS.get(block[156:157])
    if kind is None:
        raise _bad(f"an entry of type {block[156:157]!r}")
    return kind


def _name(block: bytes) -> bytes:
    """With the prefix of ustar, which GNU's header uses for something else."""
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    name = _text(block[:100])
    return prefix + b"/" + name if prefix else name


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


_OCTAL = re.compile(rb"[0-7]*")
_DECIMAL = re.compile(rb"[0-9]{1,20}")
_TIME = re.compile(rb"(-?)([0-9]{1,12})(?:\.([0-9]*))?")


def _number(raw: bytes, what: str) -> int:
    """Octal digits, or with the first bit set base 256 in two's complement (GNU)."""
    if raw[0] & 0x80:
        bits = 8 * len(raw) - 1
        value = int.from_bytes(raw, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    text = raw.strip(b" \0").partition(b"\0")[0].strip(b" ")
    if not _OCTAL.fullmatch(text):
        raise _bad(f"a {what} that is no number")
    return int(text, 8) if text else 0


def _decimal(text: bytes) -> int:
    if not _DECIMAL.fullmatch(text):
        raise _bad("a number that is none")
    return int(text)


def _time_ns(text: bytes) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise _bad("a time that is none")
    fraction = int((match[3] or b"")[:9].ljust(9, b"0"))
    return (int(match[2]) * 10**9 + fraction) * (-1 if match[1] else 1)


def _pairs(raw: bytes) -> list[Segment]:
    """Of an old sparse header: 12 octal digits each, up to the first that is empty."""
    found = []
    for at in range(0, len(raw), 24):
        if not any(raw[at : at + 24]):
            break
        found.append((_number(raw[at : at + 12], "offset"), _number(raw[at + 12 : at + 24], "length")))
    return found


def _checked(segments: list[Segment], real: int, data: int) -> tuple[Segment, ...]:
    """In order, within the file, and as much as there is data."""
    _few_enough(len(segments))
    at = total = 0
    for offset, size in segments:
        if offset < at or size < 0 or offset + size > real:
            raise _bad("segments of a sparse file that do not fit it")
        at, total = offset + size, total + size
    if total != data or not 0 <= real <= _LARGEST:
        raise _bad("a sparse file with more or less data than segments")
    return tuple(segment for segment in segments if segment[1])


def _few_enough(count: int) -> None:
    if count > _MOST_SEGMENTS:
        raise _bad("a sparse file in too many segments")


def _check_sum(block: bytes) -> None:
    """Of all bytes, its own field as spaces; old writers took them for signed."""
    wanted = _number(block[148:156], "checksum")
    counted = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(counted)
    if wanted not in (unsigned, unsigned - 256 * sum(byte > 127 for byte in counted)):
        raise _bad("a header with a wrong checksum")


def _bad(problem: str) -> errors.SpecError:
    return errors.SpecError("tar", problem)
