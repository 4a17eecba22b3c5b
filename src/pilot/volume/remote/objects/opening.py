"""URL → object store.

`open_store` takes file:///directory (`directory`: on this host, synced), and what obstore knows: s3://bucket/prefix,
gs://, az://, with credentials, endpoint and options from the environment.
"""

from __future__ import annotations

import urllib.parse

from .... import errors
from .store import Store


def preload(url: str) -> None:
    """Import what the store at a URL needs, so that processes that are forked from here have it."""
    if urllib.parse.urlsplit(url).scheme != "file":
        from . import cloud  # noqa: F401


def open_store(url: str) -> Store:
    """The store at a URL; PilotError when it is none. Imports what it needs only now."""
    parsed = urllib.parse.urlsplit(url)
    if parsed.scheme == "file" and parsed.path.startswith("/") and not parsed.netloc:
        from . import directory  # each worker pays for its own store only

        return directory.DirectoryStore(urllib.parse.unquote(parsed.path))
    if parsed.scheme and parsed.netloc:
        from . import cloud  # 16 MB

        return cloud.CloudStore(url)
    raise errors.PilotError(f"object store {url!r}: not a URL of one", hint="file:///directory or s3://bucket/prefix")
