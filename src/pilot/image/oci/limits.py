"""How much of a stranger's image is taken before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

MANIFEST_BYTES = 4 << 20
CONFIG_BYTES = 8 << 20
INDEX_DEPTH = 4
INDEX_ENTRIES = 4096
LAYERS = 512
# How many entries an archive may have that holds a whole image (oci-archive, docker save).
ARCHIVE_FILES = 16384


@dataclass(frozen=True)
class Unpacking:
    """Of one whole image: all its layers count together."""

    stream_bytes: int = 64 << 30  # what the layers are, uncompressed
    file_bytes: int = 1 << 40  # the apparent size of one file: holes cost nothing, until somebody copies it
    entries: int = 2_000_000
    removals: int = 16_000_000  # entries looked at because of whiteouts and replacements
    memory_bytes: int = 2 << 30  # address space of the child
