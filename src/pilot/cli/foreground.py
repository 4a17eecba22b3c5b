"""A process in the foreground: its terminal is ours, our signals are its own, and its status becomes ours.

stdin ──► master      master ──► stdout      signal ──► the process      SIGWINCH ──► size of the pty

As with runc, SIGTSTP is the process's, too, and does not stop us. So are SIGTTIN and SIGTTOU where it has no terminal;
where it has one they mean that we are in the background of our own: they stop us, and SIGCONT makes it raw again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import tty
from collections.abc import Iterator

from ..runtime import Runtime, Spawned

_NOT_FORWARDED = frozenset(
    {signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, signal.SIGPIPE, signal.SIGKILL, signal.SIGSTOP,
     signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
)  # fmt: skip
_OF_OUR_TERMINAL = frozenset({signal.SIGTTIN, signal.SIGTTOU})
_HELD = frozenset(signal.valid_signals()) - _NOT_FORWARDED
_CHUNK = 1 << 16


def window_size() -> tuple[int, int]:
    """Rows and columns of our terminal; zeros when stdin is none."""
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 0, 0
    return rows, columns


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Signals wait until there is somebody to forward them to: `attend`, which is to be called in here.

    They leave no half-made container, and none that nobody watches.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_terminal(process: Spawned) -> None:
    """Before it executes: a newline is a newline, as with runc; the terminal that we stand before makes two of it.

    With --console-socket the terminal is its receiver's, who does as he likes.
    """
    assert process.master_fd is not None  # of a process without a terminal nothing is to be prepared
    attributes = termios.tcgetattr(process.master_fd)
    attributes[1] &= ~termios.ONLCR
    termios.tcsetattr(process.master_fd, termios.TCSANOW, attributes)


def attend(runtime: Runtime, process: Spawned) -> int:
    """Serve the process until it ends; its exit status, as a shell has it."""
    with contextlib.ExitStack() as stack:
        stack.callback(process.close)
        signals_fd = stack.enter_context(_signals(_OF_OUR_TERMINAL if process.master_fd is not None else frozenset()))
        if process.master_fd is not None:
            stack.enter_context(_raw_terminal())
        _relay(process, signals_fd)
        return runtime.wait(process).exit_code()


def _relay(process: Spawned, signals_fd: int) -> None:
    master_fd = process.master_fd
    poll = select.poll()
    poll.register(process.pid_fd, select.POLLIN)
    poll.register(signals_fd, select.POLLIN)
    if master_fd is not None:
        poll.register(master_fd, select.POLLIN)
        poll.register(0, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if signals_fd in ready:
            _forward_signals(process, signals_fd)
        if master_fd is not None and master_fd in ready and not _copy(master_fd, 1):
            poll.unregister(master_fd)
        if master_fd is not None and 0 in ready and not _copy(0, master_fd):
            poll.unregister(0)
        if process.pid_fd in ready:
            break
    if master_fd is not None:
        _drain(master_fd)


def _copy(source_fd: int, target_fd: int) -> bool:
    """One read, written in full; False at the end of either."""
    try:
        data = os.read(source_fd, _CHUNK)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(target_fd, rest) :]
    except OSError as error:
        if error.errno in {errno.EIO, errno.EPIPE}:  # the other end of a pty has gone; nobody reads our output
            return False
        raise
    return bool(data)


def _drain(master_fd: int) -> None:
    """What the process wrote before it ended."""
    poll = select.poll()
    poll.register(master_fd, select.POLLIN)
    while poll.poll(0) and _copy(master_fd, 1):
        pass


@contextlib.contextmanager
def _signals(ours: frozenset[signal.Signals]) -> Iterator[int]:
    """A descriptor from which the numbers of signals can be read, but for those that are `ours`."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    wanted = (signal.valid_signals() - _NOT_FORWARDED - ours) | {signal.SIGWINCH}
    before = {}
    for number in wanted:
        with contextlib.suppress(OSError, ValueError):  # not every real-time signal may be taken
            before[number] = signal.signal(number, lambda *_: None)
    woken = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    try:
        yield read_fd
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(woken)
        for number, action in before.items():
            signal.signal(number, signal.SIG_DFL if action is None else action)
        os.close(read_fd)
        os.close(write_fd)


def _forward_signals(process: Spawned, signals_fd: int) -> None:
    for number in os.read(signals_fd, 512):
        if number == signal.SIGWINCH:
            _resize(process)
            continue
        if number == signal.SIGCONT and process.master_fd is not None and sys.stdin.isatty():
            _make_raw()  # whoever had the terminal meanwhile left it as he likes
            _resize(process)
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            signal.pidfd_send_signal(process.pid_fd, number)


def _resize(process: Spawned) -> None:
    rows, columns = window_size()
    if process.master_fd is not None and rows:
        fcntl.ioctl(process.master_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Our own terminal passes every key on, as long as we stand between."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    _make_raw()
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _make_raw() -> None:
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # not TCSAFLUSH: what was typed ahead is for the process
    raw = termios.tcgetattr(0)
    raw[1] = before[1] | termios.OPOST  # newlines of the process are ours to show (`prepare_terminal`)
    termios.tcsetattr(0, termios.TCSANOW, raw)
