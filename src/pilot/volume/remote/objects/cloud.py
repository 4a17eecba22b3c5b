"""Object stores that obstore speaks to: S3 and its likes, Google, Azure. Credentials and endpoint by environment.

Conditional writes are the store's own (If-None-Match, If-Match). A store that ignores them cannot fence anybody.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import Any

import obstore
from obstore import exceptions
from obstore import store as stores

from .... import errors
from .store import Entry, Object

# Our own retries decide (`store.retry`): a request fails soon and says so.
_RETRY: Any = {"max_retries": 1, "retry_timeout": datetime.timedelta(seconds=10)}
_CLIENT: Any = {"timeout": "20s", "connect_timeout": "5s"}


class CloudStore:
    """A `store.Store`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with _sorted_errors("open store", url):
            # Options given here keep obstore from looking at this variable itself.
            options: Any = {**_CLIENT, "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true"}
            self._store: Any = stores.from_url(self.url, client_options=options, retry_config=_RETRY)

    def get(self, key: str) -> Object:
        with _sorted_errors("get", key):
            found = obstore.get(self._store, key)
            return Object(bytes(found.bytes()), found.meta["e_tag"] or "")

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _sorted_errors("get", key):
            return bytes(obstore.get_range(self._store, key, start=start, length=length))

    def get_start(self, key: str, length: int) -> tuple[bytes, int]:
        with _sorted_errors("get", key):
            found = obstore.get(self._store, key, options={"range": (0, length)})
            return bytes(found.bytes()), found.meta["size"]

    def put(self, key: str, data: bytes) -> None:
        with _sorted_errors("put", key):
            obstore.put(self._store, key, data, use_multipart=False)

    def create(self, key: str, data: bytes) -> str:
        with _sorted_errors("create", key):
            return obstore.put(self._store, key, data, mode="create", use_multipart=False)["e_tag"] or ""

    def swap(self, key: str, data: bytes, version: str) -> str:
        with _sorted_errors("swap", key):
            mode: Any = {"e_tag": version}
            return obstore.put(self._store, key, data, mode=mode, use_multipart=False)["e_tag"] or ""

    def list(self, prefix: str) -> Iterator[Entry]:
        with _sorted_errors("list", prefix):
            for batch in obstore.list(self._store, prefix):
                for meta in batch:
                    yield Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def delete(self, key: str) -> None:
        with _sorted_errors("delete", key), contextlib.suppress(errors.NotFound, FileNotFoundError):
            obstore.delete(self._store, key)


@contextlib.contextmanager
def _sorted_errors(verb: str, key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:  # what obstore raises for a missing object
        raise errors.NotFound(f"{verb} {key}: not found") from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise errors.Conflict(f"{verb} {key}: exists already, or has changed") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, exceptions.NotSupportedError,
            exceptions.UnknownConfigurationKeyError, exceptions.InvalidPathError) as error:  # fmt: skip
        raise errors.HostError(f"{verb} {key}: {_first_line(error)}") from error
    except (exceptions.BaseError, OSError) as error:
        raise errors.PeerError(f"{verb} {key}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
