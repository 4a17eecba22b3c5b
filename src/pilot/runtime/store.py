"""What is remembered of each container, below the runtime's root (`--root`, default /run/pilot, on a tmpfs).

    <root>/<id>/config.json   the Spec it was created from, 0600
    <root>/<id>/state.json    Record: replaced by temp + rename
    <root>/<id>/exec.fifo     the start barrier: there until `start` has let the process go
    <root>/<id>/lock          flock: held for the whole of every operation that changes the container; readers need none
    <root>/~new-<random>/     a directory on its way: complete and locked before it is renamed to its id

No id has a `~`, and nothing else is kept in there: whoever lists the root sees containers. Compiled seccomp filters,
which all roots share, are in /run/pilot.cache (of an ordinary user: $XDG_RUNTIME_DIR/pilot.cache, or nowhere).

A creator that dies leaves either `~new-…`, which the next create removes, or a directory whose Record names the cgroup
and, if there was one, the process: `delete --force` removes all of it. Status is never stored.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

import msgspec

from .. import errors
from ..ids import ContainerId
from ..kernel import files

FORMAT = 1
_LOCK_DEADLINE_S = 60.0
_STAGED = "~new-"
_CACHE = "pilot.cache"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """state.json. `pid` is 0 until there is a process; `start_time` in clock ticks since boot."""

    id: str
    bundle: str
    created: str
    owner: str
    cgroup: dict[str, str]  # directory per controller, as `kernel.cgroups` has them
    unit: str = ""  # the systemd unit that holds the cgroup
    creator: str = ""  # what its creator gave to know it by
    config: str = ""  # name in the bundle of what `exec` reads again; none where the Spec was given
    root_mount: int = 0  # of a container without a mount namespace: the mount on its rootfs (`shared_root`)
    pid: int = 0
    start_time: int = 0
    format: int = 1  # of a record that says nothing


# Made here, where one thread alone can be: see spec/parse.py.
parse_record = msgspec.json.Decoder(Record).decode


class Store:
    """The directory of all containers. Every method is safe against other processes doing the same."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def directory(self, id: ContainerId) -> str:
        return os.path.join(self.root, id)

    def fifo(self, id: ContainerId) -> str:
        return os.path.join(self.root, id, "exec.fifo")

    def ids(self) -> list[ContainerId]:
        """All containers, sorted."""
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        return sorted(ContainerId(name) for name in names if not name.startswith(_STAGED) and self._is_container(name))

    def read(self, id: ContainerId) -> Record:
        """The Record of `id`; `NotFound`."""
        try:
            with open(os.path.join(self.directory(id), "state.json"), "rb") as file:
                record = parse_record(file.read())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise errors.NotFound("container does not exist") from error
        except errors.UNREADABLE as error:
            raise errors.StateError(f"state.json of {id} is damaged: {error}") from error
        if record.format > FORMAT:
            raise errors.StateError(f"state.json of {id} is of format {record.format}, this program knows {FORMAT}")
        return record

    def read_config(self, id: ContainerId) -> bytes:
        """Text of the Spec it was created from; `NotFound`."""
        try:
            with open(os.path.join(self.directory(id), "config.json"), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise errors.NotFound("container does not exist") from error

    def write(self, record: Record) -> None:
        """Replace state.json; the caller holds the lock."""
        files.replace(os.path.join(self.root, record.id, "state.json"), msgspec.json.encode(record))

    @contextlib.contextmanager
    def added(self, record: Record, config: bytes) -> Iterator[None]:
        """Add a container and hold its lock; `Conflict` when the id is taken. The caller removes it on failure."""
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        self._remove_abandoned()
        staged = os.path.join(self.root, _STAGED + os.urandom(8).hex())
        os.mkdir(staged, 0o711)
        lock_fd = -1
        try:
            lock_fd = _make_lock(staged)
            files.replace(os.path.join(staged, "config.json"), config)
            files.replace(os.path.join(staged, "state.json"), msgspec.json.encode(record))
            os.mkfifo(os.path.join(staged, "exec.fifo"), 0o622)
            os.chmod(os.path.join(staged, "exec.fifo"), 0o622)
            self._publish(staged, record.id)
            yield
        finally:
            _remove(staged)  # nothing when it was published
            if lock_fd >= 0:
                os.close(lock_fd)

    @contextlib.contextmanager
    def locked(self, id: ContainerId) -> Iterator[None]:
        """Hold the container's lock; `NotFound`, or `Conflict` when another operation holds it for a minute."""
        directory = self.directory(id)
        deadline = time.monotonic() + _LOCK_DEADLINE_S
        while True:
            lock_fd = _open_lock(directory)
            try:
                _flock(lock_fd, deadline, id)
                if _is_same(lock_fd, os.path.join(directory, "lock")):
                    yield
                    return
            finally:
                os.close(lock_fd)

    def is_busy(self, id: ContainerId) -> bool:
        """Whether somebody holds the lock now."""
        return _is_held(self.directory(id))

    def remove(self, id: ContainerId) -> None:
        """Forget the container; the caller holds the lock."""
        gone = os.path.join(self.root, _STAGED + os.urandom(8).hex())
        try:
            os.rename(self.directory(id), gone)
        except FileNotFoundError:
            return  # somebody else was as far as this
        _remove(gone)

    def remove_remains(self, id: ContainerId) -> None:
        """Remove what somebody left where a container of that id would be: a directory without a state.json."""
        if self._is_container(id):
            return
        import shutil  # few need it

        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(self.directory(id))

    @property
    def seccomp_cache(self) -> str | None:
        """Where compiled filters are kept; None where there is no place for them."""
        base = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
        return os.path.join(base, _CACHE, "seccomp") if base else None

    def _is_container(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.root, name, "state.json"))

    def _publish(self, staged: str, id: str) -> None:
        try:
            os.rename(staged, os.path.join(self.root, id))
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            raise errors.Conflict("container with given ID already exists") from error

    def _remove_abandoned(self) -> None:
        for name in os.listdir(self.root):
            staged = os.path.join(self.root, name)
            if name.startswith(_STAGED) and not _is_held(staged):
                _remove(staged)


def _make_lock(directory: str) -> int:
    """A lock that is held from the moment it has its name: one that nobody holds means an abandoned directory."""
    path = os.path.join(directory, "lock")
    lock_fd = os.open(f"{path}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX)
    os.rename(f"{path}.new", path)
    return lock_fd


def _open_lock(directory: str) -> int:
    try:
        return os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.NotFound("container does not exist") from error


def _flock(lock_fd: int, deadline: float, id: str) -> None:
    """flock(2) has no time limit of its own, so it is tried, with pauses that grow to 50 ms."""
    pause = 0.001
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise errors.Conflict(f"another operation on {id} is in progress") from error
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def _is_same(fd: int, path: str) -> bool:
    """False when the container was deleted, and perhaps made anew, while we waited for its lock."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(os.fstat(fd), found)


def _is_held(directory: str) -> bool:
    """Whether somebody is at work there. A directory without a lock file is so young that it must be left alone."""
    try:
        lock_fd = _open_lock(directory)
    except errors.NotFound:
        return True
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock_fd)
    return False


def _remove(directory: str) -> None:
    """Remove a flat directory; what is gone already, perhaps because another process is at the same, is gone."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
