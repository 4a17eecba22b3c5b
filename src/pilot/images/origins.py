"""Where images come from: a reference leads to a registry, a path to files.

DIRECTORY         an OCI layout
FILE              a tar of one (`oci-archive`), or what `docker save` writes: what it is, is seen in it
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NewType

import httpx

from .. import errors
from ..image.oci import credentials, filesets, registry
from ..image.oci.docker_save import DockerSave
from ..image.oci.filesets import Files
from ..image.oci.layout import Layout
from ..image.oci.reference import Reference
from ..image.oci.source import Source

# Where pulled images are: below the cache of what is built, beside it.
STORE = "images"
Insecure = NewType("Insecure", frozenset[str])
NO_INSECURE = Insecure(frozenset())


def store_directory(cache: str) -> str:
    """The directory of the store, of a cache directory."""
    return os.path.join(cache, STORE)


@contextlib.contextmanager
def of_registry(
    wanted: Reference, insecure: Insecure = NO_INSECURE, way: Callable[[], httpx.BaseTransport] | None = None
) -> Iterator[Source]:
    """With whatever docker's config.json knows of that registry; `way`: how it is reached, if not any way there is."""
    # A proxy is for what is not this machine.
    with httpx.Client(trust_env=not registry.is_loopback(wanted.domain), transport=way() if way else None) as client:
        options = registry.Options(credentials.find(wanted.domain), frozenset(insecure))
        yield registry.Registry(wanted, client, options)


@contextlib.contextmanager
def of_files(path: str, name: str | None) -> Iterator[Source]:
    """`name`: which image of those in it. `NotFound`, `SpecError`."""
    if os.path.isdir(path):
        with filesets.Directory(path) as directory:
            yield Layout(directory, name)
        return
    with filesets.Archive(path) as archive:
        yield Layout(archive, name) if _has(archive, "oci-layout") else DockerSave(archive, name)


def _has(files: Files, path: str) -> bool:
    try:
        next(iter(files.pieces(path)), b"")
    except errors.NotFound:
        return False
    return True
