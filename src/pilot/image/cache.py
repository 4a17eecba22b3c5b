"""The image cache: a directory of finished artefacts, each named by the digest of what it was made from.

    <cache>/guest-<digest>/     finished: complete, and never changed again
    <cache>/.new-<name>         being built; only the holder of the lock touches it
    <cache>/.lock-<kind>        flock; one builder of a kind at a time, the others wait and then find it finished

An artefact appears by rename, so what has the right name is complete. A crash leaves `.new-*`, which the next builder
of that name removes. Nothing here knows what an artefact is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..kernel import files

DEFAULT = "/var/cache/pilot"

Builder = Callable[[str], object]


def say(text: str) -> None:
    """Tell whoever waits what is being done; standard error, since output may be data."""
    print(f"image: {text}", file=sys.stderr, flush=True)


def ensure(cache: str, kind: str, digest: str, build: Builder, *, suffix: str = "") -> str:
    """The path of artefact `<kind>-<digest><suffix>`; when it is missing, `build` makes it at the path it is given.

    `build` gets a path that does not exist, in the same directory, and leaves a file or a directory there. What it
    leaves when it fails is removed.
    """
    name = f"{kind}-{digest}{suffix}"
    path = os.path.join(cache, name)
    if os.path.lexists(path):
        return path
    with _locked(cache, kind):
        if not os.path.lexists(path):
            _build(os.path.join(cache, f".new-{name}"), path, build)
    return path


def finished(cache: str, kind: str) -> list[str]:
    """The finished artefacts of a kind, the most recently built first."""
    names = [name for name in os.listdir(cache) if name.startswith(f"{kind}-")] if os.path.isdir(cache) else []
    paths = [os.path.join(cache, name) for name in names]
    return sorted(paths, key=lambda path: os.lstat(path).st_mtime, reverse=True)


def remove(path: str) -> None:
    """Remove a file or a tree, but never what is mounted below it."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", path], check=True)


@contextmanager
def _locked(cache: str, kind: str) -> Iterator[None]:
    os.makedirs(cache, exist_ok=True)
    with files.held(os.path.join(cache, f".lock-{kind}")):
        yield


def _build(temporary: str, path: str, build: Builder) -> None:
    remove(temporary)
    say(f"building {path}")
    started = time.monotonic()
    try:
        build(temporary)
        # Builders keep the times of what they copy; the age of an artefact is when it was finished.
        os.utime(temporary)
        os.rename(temporary, path)
    finally:
        remove(temporary)
    say(f"built {path} in {time.monotonic() - started:.1f} s")
