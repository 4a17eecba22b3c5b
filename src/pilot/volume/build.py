"""Which build a process is of: a checksum of the code of volumes, to tell one of another build, and replace it.

Asked for at the start of a process that forks others: they are of the build that they were forked from, whatever lies
where it was installed by then.
"""

from __future__ import annotations

import functools
import os
import zlib


@functools.cache
def identity() -> str:
    """Of the files below this directory, by name and content."""
    top = os.path.dirname(__file__)
    digest = size = 0
    for directory, folders, names in os.walk(top):
        folders[:] = sorted(folder for folder in folders if folder != "__pycache__")
        for name in sorted(name for name in names if name.endswith((".py", ".so"))):
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                content = file.read()
            # Not hashlib: each worker would have OpenSSL. It tells builds from each other, not from forgeries.
            digest = zlib.crc32(content, zlib.crc32(os.path.relpath(path, top).encode(), digest))
            size += len(content)
    return f"{digest:08x}-{size:x}"
