"""Recording by splice: every byte once, at the file's size, whoever records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pilot.kernel import splice

PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture
def owned() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _own(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _pair(stack: ExitStack, pair: tuple[int, int]) -> tuple[int, int]:
    return _own(stack, pair[0]), _own(stack, pair[1])


def _memfd(stack: ExitStack) -> int:
    return _own(stack, os.memfd_create("output"))


def _terminal_recorder(stack: ExitStack, master: int) -> splice.TerminalRecorder:
    read_end, write_end = _pair(stack, os.pipe())
    return splice.TerminalRecorder(master, read_end, write_end, _memfd(stack))


def _content(memfd: int) -> bytes:
    return os.pread(memfd, os.fstat(memfd).st_size, 0)


def test_pump_commits_what_is_there_and_no_more(owned: ExitStack) -> None:
    source, sink = _pair(owned, os.pipe())
    recorder = splice.Recorder(source, _memfd(owned))
    assert recorder.pump() == 0
    os.write(sink, b"one")
    assert (recorder.pump(), recorder.size, recorder.ended) == (3, 3, False)
    os.write(sink, b"two")
    assert recorder.pump() == 3
    assert _content(recorder.memfd) == b"onetwo"


def test_the_end_is_seen_after_the_last_byte(owned: ExitStack) -> None:
    source, sink = os.pipe()
    _own(owned, source)
    recorder = splice.Recorder(source, _memfd(owned))
    os.write(sink, b"last")
    os.close(sink)
    recorder.pump()
    assert recorder.ended
    assert _content(recorder.memfd) == b"last"


def test_pump_leaves_an_endless_writer_after_its_share(owned: ExitStack) -> None:
    source, sink = _pair(owned, os.pipe())
    os.write(sink, b"x" * 1000)
    recorder = splice.Recorder(source, _memfd(owned))
    assert recorder.pump(max_bytes=300) == 300
    assert recorder.pump() == 700


def test_trim_frees_old_pages_and_keeps_offsets(owned: ExitStack) -> None:
    source, sink = _pair(owned, os.pipe())
    recorder = splice.Recorder(source, _memfd(owned))
    for letter in b"abcd":
        os.write(sink, bytes([letter]) * PAGE)
        recorder.pump()
    recorder.trim(keep_bytes=PAGE + 1)
    assert recorder.size == 4 * PAGE
    assert os.fstat(recorder.memfd).st_blocks * 512 == 2 * PAGE
    assert os.pread(recorder.memfd, PAGE, 0) == bytes(PAGE)
    assert os.pread(recorder.memfd, 2 * PAGE, 2 * PAGE) == b"c" * PAGE + b"d" * PAGE
    os.write(sink, b"e")
    recorder.pump()
    assert os.pread(recorder.memfd, 9, 4 * PAGE) == b"e"


def test_trim_of_less_than_a_page_does_nothing(owned: ExitStack) -> None:
    source, sink = _pair(owned, os.pipe())
    recorder = splice.Recorder(source, _memfd(owned))
    os.write(sink, b"short")
    recorder.pump()
    recorder.trim(keep_bytes=0)
    assert _content(recorder.memfd) == b"short"


def test_terminal_is_recorded_as_it_shows_it(owned: ExitStack) -> None:
    master, slave = os.openpty()
    _own(owned, master)
    recorder = _terminal_recorder(owned, master)
    assert recorder.pump() == 0
    assert not recorder.ended
    os.write(slave, b"line\n")
    assert recorder.pump() == 6
    os.write(slave, b"y" * 3000)
    os.close(slave)
    recorder.pump()
    assert recorder.ended
    assert _content(recorder.memfd) == b"line\r\n" + b"y" * 3000


def test_terminal_takes_what_a_killed_predecessor_left_in_the_pipe(owned: ExitStack) -> None:
    master, slave = _pair(owned, os.openpty())
    read_end, write_end = _pair(owned, os.pipe())
    os.write(write_end, b"before ")
    os.write(slave, b"after")
    recorder = splice.TerminalRecorder(master, read_end, write_end, _memfd(owned))
    recorder.pump()
    assert _content(recorder.memfd) == b"before after"


_PUMP = """
import select, sys
from pilot.kernel import splice
recorder = splice.Recorder(int(sys.argv[1]), int(sys.argv[2]))
poll = select.poll()
poll.register(recorder, select.POLLIN)
while not recorder.ended:
    poll.poll()
    recorder.pump(max_bytes=10_000)
"""


def _start_recorder(source: int, memfd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PUMP, str(source), str(memfd)], pass_fds=(source, memfd))


def test_kill_9_of_the_recorder_loses_and_doubles_nothing(owned: ExitStack) -> None:
    """A write of ten pipes' worth returns while its recorder is at work on the last, and then that is killed."""
    source, sink = os.pipe()
    _own(owned, source)
    memfd = _memfd(owned)
    expected = bytearray()
    for kill in range(20):
        part = b"".join(b"%d\n" % (kill * 1_000_000 + n) for n in range(80_000))
        with _start_recorder(source, memfd) as recorder:
            os.write(sink, part)
            recorder.kill()
        assert os.fstat(memfd).st_size <= len(expected) + len(part)
        expected += part
    os.close(sink)
    with _start_recorder(source, memfd) as recorder:
        assert recorder.wait(timeout=60) == 0
    assert _content(memfd) == expected
