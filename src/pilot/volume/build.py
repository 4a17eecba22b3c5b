"""Which build a process is of: a digest of the code of volumes, so that one of another build can be told, and replaced.

Asked for at the start of a process that forks others: they are of the build that they were forked from, whatever lies
where it was installed by then.
"""

from __future__ import annotations

import functools
import hashlib
import os


@functools.cache
def identity() -> str:
    """Of the files below this directory, by name and content."""
    top = os.path.dirname(__file__)
    digest = hashlib.blake2b(digest_size=8)
    for directory, folders, names in os.walk(top):
        folders[:] = sorted(folder for folder in folders if folder != "__pycache__")
        for name in sorted(name for name in names if name.endswith((".py", ".so"))):
            path = os.path.join(directory, name)
            digest.update(os.path.relpath(path, top).encode() + b"\0")
            with open(path, "rb") as file:
                digest.update(hashlib.blake2b(file.read()).digest())
    return digest.hexdigest()
