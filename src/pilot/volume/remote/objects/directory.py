"""An object store in a directory of this host (or one that several hosts mount): the embedded default.

    <directory>/<key>             an object
    <directory>/.lock             flock: held by create, swap and delete
    <directory>/.new/<random>     an object that is being written

Written to `.new`, synced, then linked or renamed to its name, and the directory synced: whole, or not there. A swap
compares under the lock; the version is the content's hash, so nothing beside the object has to be kept. The lock is the
filesystem's: for hosts that share the directory that must be one with locks that reach across hosts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator

from .... import errors
from ....kernel import files
from .store import Entry, Object

_LEFT_S = 24 * 3600.0


class DirectoryStore:
    """A `store.Store`; makes its directory."""

    def __init__(self, path: str) -> None:
        self.url = "file://" + path
        self._path = path
        self._new = os.path.join(path, ".new")
        with _sorted_errors("open store", path):
            os.makedirs(self._new, mode=0o700, exist_ok=True)
            self._clear_away()

    def get(self, key: str) -> Object:
        with _sorted_errors("get", key), open(self._at(key), "rb") as file:
            data = file.read()
        return Object(data, _version(data))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with _sorted_errors("get", key), open(self._at(key), "rb") as file:
            return os.pread(file.fileno(), length, start)

    def get_start(self, key: str, length: int) -> tuple[bytes, int]:
        with _sorted_errors("get", key), open(self._at(key), "rb") as file:
            return os.pread(file.fileno(), length, 0), os.fstat(file.fileno()).st_size

    def put(self, key: str, data: bytes) -> None:
        with _sorted_errors("put", key), self._written(key, data) as temporary:
            os.rename(temporary, self._at(key))

    def create(self, key: str, data: bytes) -> str:
        with _sorted_errors("create", key), self._written(key, data) as temporary:
            os.link(temporary, self._at(key))
            os.unlink(temporary)
        return _version(data)

    def swap(self, key: str, data: bytes, version: str) -> str:
        with _sorted_errors("swap", key), self._locked():
            if self.get(key).version != version:
                raise errors.Conflict(f"swap {key}: it has changed")
            self.put(key, data)
        return _version(data)

    def list(self, prefix: str) -> Iterator[Entry]:
        for directory, names, found in os.walk(self._at(prefix)):
            names.sort()
            for name in sorted(found):
                path = os.path.join(directory, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue  # deleted since the directory was read
                yield Entry(os.path.relpath(path, self._path), status.st_size, status.st_mtime)

    def delete(self, key: str) -> None:
        with _sorted_errors("delete", key), self._locked(), contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(key))
            files.sync_directory(os.path.dirname(self._at(key)))

    def _clear_away(self) -> None:
        """What writers that were killed have left; a write takes minutes at most."""
        for entry in os.scandir(self._new):
            with contextlib.suppress(FileNotFoundError):  # another one clears away too
                if entry.stat().st_mtime < time.time() - _LEFT_S:
                    os.unlink(entry.path)

    def _at(self, key: str) -> str:
        if any(part in ("", ".", "..") or part.startswith(".") for part in key.rstrip("/").split("/")):
            raise errors.PilotError(f"object {key!r}: not a key")
        return os.path.join(self._path, key)

    @contextlib.contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[str]:
        """A synced file with the data, to be moved to the key's place."""
        temporary = os.path.join(self._new, secrets.token_hex(8))
        place = os.path.dirname(self._at(key))
        os.makedirs(place, mode=0o700, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        files.sync_directory(place)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(os.path.join(self._path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _version(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@contextlib.contextmanager
def _sorted_errors(verb: str, key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFound(f"{verb} {key}: not found") from error
    except FileExistsError as error:
        raise errors.Conflict(f"{verb} {key}: exists already") from error
    except PermissionError as error:
        raise errors.HostError(f"{verb} {key}: {error.strerror}") from error
    except OSError as error:
        raise errors.PeerError(f"{verb} {key}: {error.strerror}") from error
