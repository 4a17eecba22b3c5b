"""What the kernel counts once for the whole host, raised so that memory, which is counted per machine, runs out first.

    kernel.pid_max      process numbers       admission counts them (`operations.capacity`)
    kernel.pty.max      pseudo-terminals      no namespace has its own number; each costs the memory of who opens it
    fs.aio-max-nr       aio events            likewise
    fs.file-max         open files            likewise

inotify and fanotify are counted per user namespace and the uid that made it, which for a machine is its own.
Values are only ever raised. A host that does not let us (a container without /proc/sys) goes on as it is, and says so.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import resource

log = logging.getLogger(__name__)

SYSCTLS = pathlib.Path("/proc/sys")
PID_MAX_LIMIT = 1 << 22  # the kernel's own, on 64 bits (include/linux/threads.h)
PTY_LIMIT = 1 << 20  # likewise (NR_UNIX98_PTY_MAX)
# The least memory that one of them takes, charged to the machine: a tty_struct and its buffers; an io_event; a file.
PTY_BYTES, AIO_EVENT_BYTES, FILE_BYTES = 4096, 32, 256


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A value that a sysctl is to have at least."""

    name: str
    value: int

    def describe(self) -> str:
        return f"{self.name.replace('/', '.')} = {self.value}"


def plan(memory_bytes: int) -> tuple[Wanted, ...]:
    """For a host with so much memory."""
    return (
        Wanted("kernel/pid_max", PID_MAX_LIMIT),
        Wanted("kernel/pty/max", min(memory_bytes // PTY_BYTES, PTY_LIMIT)),
        Wanted("fs/aio-max-nr", memory_bytes // AIO_EVENT_BYTES),
        Wanted("fs/file-max", memory_bytes // FILE_BYTES),
    )


def raise_limits(wanted: tuple[Wanted, ...], sysctls: pathlib.Path = SYSCTLS) -> list[Wanted]:
    """What was raised. What is as high already, or cannot be raised, is left."""
    return [row for row in wanted if _raise(row, sysctls / row.name)]


def _raise(row: Wanted, path: pathlib.Path) -> bool:
    try:
        if int(path.read_text()) >= row.value:
            return False
        path.write_text(str(row.value))
    except OSError as error:
        log.warning("limit not raised", extra={"sysctl": row.describe(), "error": error.strerror or str(error)})
        return False
    return True


def raise_descriptors() -> int:
    """As many as this process may have; how many. What clients may hold follows from it (`relay.crowd`)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def memory_bytes() -> int:
    """Of this host."""
    words = pathlib.Path("/proc/meminfo").read_text().split()
    return int(words[words.index("MemTotal:") + 1]) << 10
