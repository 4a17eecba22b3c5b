"""Where a planner listens, and what forbids one.

/run/pilot-planner/            of root alone; of others, and in user namespaces, $XDG_RUNTIME_DIR/pilot-planner/
    socket    the planner listens here
    lock      held by it as long as it lives, and before that by whoever starts it
/etc/pilot/no-planner          where this is, none is started and none answers
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping

from .. import errors

_DIRECTORY = "pilot-planner"
FORBIDDING = "/etc/pilot/no-planner"


def default_socket(environment: Mapping[str, str]) -> str:
    """As native/front finds it."""
    own = environment.get("XDG_RUNTIME_DIR", "")
    base = own if own and (os.geteuid() != 0 or not os.access("/run", os.W_OK)) else "/run"
    return os.path.join(base, _DIRECTORY, "socket")


def is_forbidden() -> bool:
    return os.path.exists(FORBIDDING)


def make_directory(path: str) -> None:
    """A directory of ours that nobody else may enter; HostError when what is there is another's."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise errors.HostError(f"make {path}: {(error.strerror or '').lower()}") from error
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise errors.HostError(f"{path} is not a directory that we alone may write to")


@contextlib.contextmanager
def locked(socket: str, opener: Callable[[str, int, int], int] = os.open) -> Iterator[int]:
    """Hold the lock of a planner at `socket`; Conflict when another has it. A child that inherits it holds it too."""
    path = os.path.join(os.path.dirname(socket), "lock")
    try:
        lock_fd = opener(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise errors.HostError(f"open {path}: {(error.strerror or '').lower()}") from error
    try:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.Conflict(f"another planner listens on {socket}, or is about to") from error
        yield lock_fd
    finally:
        os.close(lock_fd)
