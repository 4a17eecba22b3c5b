"""The child's part in fs/watch: inotify watches are set, and what is there already is found.

The descriptor is made here, so it counts against the world's user namespace (user.max_inotify_instances), and is read
by the agent. A watch is set *before* its directory is looked through: what is made in between is then in both, and
the agent tells it once; what is in neither cannot be.
"""

from __future__ import annotations

import errno
import os
import stat

from ...kernel import inotify
from ...kernel.inotify import Mask
from ..rootfs import Root
from . import messages, text
from .rows import Rows
from .tree import Moment, Visit, Walk

MASK = (
    Mask.CLOSE_WRITE | Mask.MODIFY | Mask.ATTRIB | Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
    | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.EXCL_UNLINK
)  # fmt: skip


def size(root: Root, path: str) -> int:
    """Of what is there now; 0 when nothing is."""
    try:
        with root.opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
            return os.fstat(fd).st_size
    except OSError:
        return 0


def watch(root: Root, request: messages.Watch, paths: list[str], given: list[int]) -> list[int]:
    """Descriptors for the answer: the rows (`messages.Watched`), and the inotify descriptor when none was given."""
    made = [] if given else [inotify.create()]
    try:
        with Rows("watched") as rows:
            setting = _Setting((given or made)[0], rows, request)
            for path in paths:
                setting.add(root, path)
            return [rows.finish(), *made]
    except BaseException:
        for fd in made:
            os.close(fd)
        raise


class _Setting:
    def __init__(self, inotify_fd: int, rows: Rows, request: messages.Watch) -> None:
        self._inotify_fd = inotify_fd
        self._rows = rows
        self._request = request
        self._set = 0

    def add(self, root: Root, path: str) -> None:
        """The path, and the directories below it; `OSError` for the path, ENOSPC when no more watches may be set."""
        with root.opened(path, os.O_PATH) as fd:
            is_dir = stat.S_ISDIR(os.fstat(fd).st_mode)
            self._watch(fd, path, is_dir)
        if not (is_dir and self._request.recursive):
            return
        with root.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            walk = Walk(fd, path, recursive=True, on_error=_not_there)
            for visit in walk:
                if visit.moment is Moment.SEEN:
                    self._seen(visit)

    def _seen(self, visit: Visit) -> None:
        is_dir = stat.S_ISDIR(visit.status.st_mode)
        if self._request.tell_found:
            found = messages.Watched(0, text.tell(visit.path), is_dir, visit.status.st_size)
            self._rows.add(found)
        if not is_dir:
            return
        try:
            fd = os.open(visit.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=visit.dir_fd)
        except OSError:
            return  # it has gone again: the directory that it was in tells that
        try:
            # Before the walk enters it.
            self._watch(fd, visit.path, True)
        finally:
            os.close(fd)

    def _watch(self, fd: int, path: str, is_dir: bool) -> None:
        if self._set >= self._request.room:
            raise OSError(errno.ENOSPC, "as many watches as there may be are set", path)
        number = inotify.add_watch_at(self._inotify_fd, str(fd), MASK)
        self._set += 1
        self._rows.add(messages.Watched(number, text.tell(path), is_dir, 0))


def _not_there(_path: str, _error: OSError) -> None:
    """A directory below that cannot be read has no events for us either; its own are told by the one above."""
