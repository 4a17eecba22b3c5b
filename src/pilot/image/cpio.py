"""The kernel's initramfs format: a `newc` cpio archive, uncompressed.

entry = "070701" 13 × 8 hexadecimal digits (inode mode uid gid nlink mtime size dev rdev namesize check)
        name NUL, padded to 4 · content, padded to 4;   the last entry is named TRAILER!!!
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping

_ALIGN = 4


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Path → (permissions, content) as an archive owned by root; directories above the files are made."""
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in _directories(files)]
    entries += [(name, stat.S_IFREG | mode, content) for name, (mode, content) in sorted(files.items())]
    body = b"".join(_entry(inode, *entry) for inode, entry in enumerate(entries, start=1))
    return body + _entry(0, "TRAILER!!!", 0, b"")


def _directories(files: Iterable[str]) -> list[str]:
    found: set[str] = set()
    for name in files:
        parts = name.split("/")[:-1]
        found.update("/".join(parts[: count + 1]) for count in range(len(parts)))
    return sorted(found)


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    links = 2 if stat.S_ISDIR(mode) else 1
    numbers = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers)
    return _padded(header + name.encode() + b"\0") + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGN)
