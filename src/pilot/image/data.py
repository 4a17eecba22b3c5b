"""Where the inputs of the images are: the repository's `guest/` (`inputs` of an installed package), data only.

guest/release                  the Debian release, one word
guest/base/packages            the machine's root: packages, one per line, # comments
guest/world/<variant>.packages the user's Debian; `standard` contains `minimal`
guest/world/{node,python.lock} what `standard` has from npm and PyPI, pinned by `make lock`
guest/world/overlay/           files laid over the user's Debian as they are; standard-overlay/: over `standard` alone
guest/kernel/{packages,modules}  kernel packages in order of preference; modules the machine needs, by name
"""

from __future__ import annotations

import os

from .. import errors

_HERE = os.path.dirname(os.path.abspath(__file__))
_INSTALLED = os.path.join(_HERE, "inputs")
_ROOT = _INSTALLED if os.path.isdir(_INSTALLED) else os.path.normpath(os.path.join(_HERE, "../../../guest"))


def path(*names: str) -> str:
    """The path of an input; `HostError` when the package was installed without them."""
    found = os.path.join(_ROOT, *names)
    if not os.path.exists(found):
        raise errors.HostError(
            f"read {found}: the inputs of the images are not installed", hint="run pilot image from a checkout"
        )
    return found


def words(*names: str) -> tuple[str, ...]:
    """The entries of a list: one per line, without comments and blank lines, in order."""
    with open(path(*names), encoding="utf-8") as file:
        lines = (line.partition("#")[0].strip() for line in file)
        return tuple(line for line in lines if line)


def release() -> str:
    """The Debian release all images are built from."""
    return words("release")[0]


def tree(root: str) -> list[tuple[str, str]]:
    """Every file below `root` as (path relative to it, path), sorted."""
    found = [os.path.join(directory, name) for directory, _, names in os.walk(root) for name in names]
    return sorted((os.path.relpath(file, root), file) for file in found)
