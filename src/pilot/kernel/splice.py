"""Output of a process → a memfd, without ever being in our memory: `kill -9` of the recorder loses and doubles no byte.

    pipe ──splice──► memfd            the write end is the process's
    pty master ──splice──► pipe ──splice──► memfd

splice(2) writes into the memfd and takes the bytes off the pipe within one system call, at the offset that is the
file's size: the size is the commit point, and nothing else needs to be remembered. A read and then a write would lose
what it had read when it is killed in between. Old bytes are punched out; offsets never change: the size only grows.

How to record, and survive (`initlink`):

    read_fd, write_fd = os.pipe()
    memfd = os.memfd_create("session-7-stdout")
    link.put("session/7/stdout", memfd); link.put("session/7/stdout/pipe", read_fd)    # before the process starts
    recorder = Recorder(read_fd, memfd)

and, when `recorder.fileno()` is readable, `recorder.pump()`; serve clients from the memfd (`os.pread`, `os.sendfile`)
up to `recorder.size`. The next agent takes the descriptors from its link, makes the same Recorder, and pumps. For a pty
put the master and *both* ends of a pipe into the store; `TerminalRecorder(master, pipe_read, pipe_write, memfd)`.

Nothing else may read the source, and two recorders must not pump one source at once: each would write at the size that
it saw. Nothing here closes a descriptor: all belong to the caller. A pipe ends only when each copy of its write end is
closed, the creator's too.
"""

from __future__ import annotations

import errno
import os

from . import directio

PIECE_BYTES = 1 << 20  # of one splice; a pipe holds 64 KiB unless it was enlarged
PUMP_BYTES = 4 << 20  # of one `pump`, so that an endless writer leaves the caller time for others
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


def _splice(source: int, target: int, count: int, offset: int | None = None) -> int | None:
    """Bytes moved, 0 at the end of the source, None when there is nothing to move now (or, for a pipe as the target, no
    room)."""
    try:
        return os.splice(source, target, count, offset_dst=offset, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
    except BlockingIOError:
        return None


class Recorder:
    """Records a pipe into a memfd."""

    def __init__(self, source_fd: int, memfd: int) -> None:
        self.source_fd = source_fd
        self.memfd = memfd
        self.ended = False
        self._size = os.fstat(memfd).st_size  # from here on nobody but us makes it larger

    def fileno(self) -> int:
        """What to wait for: readable means that `pump` has something to do."""
        return self.source_fd

    @property
    def size(self) -> int:
        """Bytes recorded since the start, trimmed ones included: the offset at which the next byte will be."""
        return self._size

    def pump(self, max_bytes: int = PUMP_BYTES) -> int:
        """Moves what is there now, at most `max_bytes`; how many bytes were committed. Sets `ended` when every
        write end is closed and all is recorded. `OSError` when the memfd cannot grow; they stay in the pipe."""
        done = 0
        self.ended = False  # a terminal may have been opened again
        while done < max_bytes and not self.ended:
            moved = self._move(min(PIECE_BYTES, max_bytes - done))
            if moved is None:
                break
            done += moved
        return done

    def _move(self, count: int) -> int | None:
        moved = self._commit(self.source_fd, count)
        self.ended = moved == 0
        return moved

    def _commit(self, pipe_fd: int, count: int) -> int | None:
        moved = _splice(pipe_fd, self.memfd, count, self._size)
        self._size += moved or 0
        return moved

    def trim(self, keep_bytes: int) -> None:
        """Gives back the memory of all but the newest `keep_bytes` (up to whole pages); what is gone reads as zeros."""
        end = max(0, self.size - keep_bytes) // _PAGE_BYTES * _PAGE_BYTES
        if end:
            directio.punch_hole(self.memfd, 0, end)


class TerminalRecorder(Recorder):
    """Records a pty master into a memfd, through a pipe of its own (splice(2) needs one on either side).

    `ended` means that nobody has the terminal open now. A process may still open it again by name, so the end of the
    session is the exit of its process *and* `ended`.
    """

    def __init__(self, master_fd: int, pipe_read_fd: int, pipe_write_fd: int, memfd: int) -> None:
        super().__init__(master_fd, memfd)
        self._pipe_read_fd = pipe_read_fd
        self._pipe_write_fd = pipe_write_fd
        # tty_read looks at the file's own flag, not at SPLICE_F_NONBLOCK.
        os.set_blocking(master_fd, False)

    def _move(self, count: int) -> int | None:
        # First what a killed predecessor left in the pipe.
        left = self._commit(self._pipe_read_fd, count)
        if left:
            return left
        try:
            moved = _splice(self.source_fd, self._pipe_write_fd, count)
        except OSError as error:
            if error.errno != errno.EIO:  # the last process has closed the terminal
                raise
            moved = 0
        self.ended = moved == 0
        return moved if not moved else self._commit(self._pipe_read_fd, moved)
