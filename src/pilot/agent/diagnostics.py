"""What an operator asks for first when a machine is odd.

Its processes, mounts and limits, what the agent is at, and the kernel's last words. Each part is bounded; what cannot
be read is left out. No environment is in it, and no content.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType

import pilot

from ..kernel import kernfs
from ..wire import facts, timestamps

MOST_PROCESSES = 1000
MOST_MOUNTS = 500
MOST_FRAMES = 12
MOST_TASKS = 500
MOST_COMMAND_BYTES = 200
MOST_LOG_LINES = 200
_RECORD_BYTES = 8192
_PAGE = os.sysconf("SC_PAGESIZE")


def tasks() -> dict[str, list[str]]:
    """Of the running loop, by their names: where each waits."""
    found: dict[str, list[str]] = {}
    for number, task in enumerate(itertools.islice(asyncio.all_tasks(), MOST_TASKS)):
        found[f"{task.get_name()} ({number})"] = _frames(task.get_stack(limit=MOST_FRAMES))
    return found


def read(of_tasks: dict[str, list[str]], *, has_kernel: bool) -> facts.Diagnostics:
    """All of it. `has_kernel`: the kernel is the machine's own. Blocks for a moment."""
    return facts.Diagnostics(
        time=timestamps.now(),
        kernel=" ".join(os.uname()),
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        agent=facts.AgentFacts(
            pid=os.getpid(), version=pilot.__version__, descriptors=len(os.listdir("/proc/self/fd")),
            threads=_threads(), tasks=of_tasks,
        ),
        processes=list(itertools.islice(_processes(), MOST_PROCESSES)),
        mounts=kernfs.read("/proc/self/mountinfo").splitlines()[:MOST_MOUNTS],
        limits=_limits(kernfs.read("/proc/self/limits")),
        kernel_log=_kernel_log() if has_kernel else [],
    )  # fmt: skip


def _threads() -> dict[str, list[str]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, 'thread')} ({ident})": _frames(_outwards(frame))
        for ident, frame in sys._current_frames().items()
    }


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _frames(frames: Iterable[FrameType]) -> list[str]:
    """Innermost first, as file:line function."""
    told = []
    for frame in itertools.islice(frames, MOST_FRAMES):
        (summary,) = traceback.StackSummary.extract(iter([(frame, frame.f_lineno)]), lookup_lines=False)
        told.append(f"{summary.filename}:{summary.lineno} {summary.name}")
    return told


def _processes() -> Iterator[facts.ProcessFacts]:
    for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
        try:
            yield _process(name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile


def _process(pid: str) -> facts.ProcessFacts:
    before, _, after = kernfs.read(f"/proc/{pid}/stat").rpartition(")")
    fields = after.split()
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read(MOST_COMMAND_BYTES).rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return facts.ProcessFacts(
        pid=int(pid), state=fields[0], parent=int(fields[1]), memory_bytes=int(fields[21]) * _PAGE,
        command=words or f"[{before.partition('(')[2]}]",
    )  # fmt: skip


def _limits(text: str) -> dict[str, str]:
    """/proc/self/limits: name → soft limit."""
    rows = (line[:26].strip() and (line[:26].strip(), line[26:46].strip()) for line in text.splitlines()[1:])
    return dict(row for row in rows if row)


def _kernel_log() -> list[str]:
    """/dev/kmsg: a record a read, without what is for programs before the semicolon."""
    found: list[str] = []
    try:
        log_fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return [f"/dev/kmsg: {error.strerror}"]
    try:
        while True:
            try:
                record = os.read(log_fd, _RECORD_BYTES)
            except BlockingIOError:
                return found[-MOST_LOG_LINES:]
            except BrokenPipeError:
                continue  # records were overwritten while we read: the next read goes on behind them
            found.append(record.decode(errors="replace").partition(";")[2].splitlines()[0])
            del found[:-MOST_LOG_LINES]
    finally:
        os.close(log_fd)
