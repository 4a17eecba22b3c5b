"""A served disk: requests that are answered in C beside those that come to Python, and what must keep them apart."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import platform
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilot import errors
from pilot.ids import CheckpointId
from pilot.kernel import directio
from pilot.kernel import fuse as proto
from pilot.volume import _lookaside, layout
from pilot.volume.books import delta, ledger
from pilot.volume.disk import disk as disks
from pilot.volume.disk import lookaside, meta, slab
from pilot.volume.facts import Facts
from pilot.volume.serving import fuse
from tests.support.fakefuse import MAX_BYTES, FakeFuse

CHUNK = layout.CHUNK_BYTES
BLOCK = layout.BLOCK_BYTES
SIZE = 64 << 20
THREADS = 4


class Served:
    """A disk behind a fake connection; `again` is another process taking over, with or without the log of changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._delta_fd = delta.create()
        self._stack = contextlib.ExitStack()
        directory.mkdir()
        disks.create(str(directory), Facts.parse({"size": str(SIZE), "lineage": "[]"}))
        self._open()

    def _open(self) -> None:
        self.disk = disks.Disk(str(self._directory), [], self._delta_fd)
        self.fuse = FakeFuse()
        self.server = fuse.Server(self.fuse.fd, self.disk, THREADS)
        self.server.start(resend=False)

    def _leave(self) -> None:
        self.fuse.end(THREADS)
        assert self.server.join(10)
        self.fuse.close()

    def again(self, *, keep_log: bool) -> None:
        """What was not stored is left as kill -9 would leave it."""
        self._leave()
        self.disk.opened.close()
        if not keep_log:
            os.close(self._delta_fd)
            self._delta_fd = delta.create()
        self._open()

    def checkpoint(self, name: str) -> int:
        """The node number of the checkpoint's file."""
        cut = self.disk.roots.cut(CheckpointId(name))
        done = cut.publish(created_at=0, comment=None, frozen_ms=0, clean=True)
        return 16 + done.generation

    def alone(self) -> int:
        return self.server.answered_alone

    def close(self) -> None:
        self._leave()
        self.disk.close()
        os.close(self._delta_fd)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "disk")
    yield made
    made.close()


def test_the_numbers_are_those_of_the_layout() -> None:
    assert _lookaside.CHUNK_BYTES == layout.CHUNK_BYTES
    assert _lookaside.PAGE_ENTRIES == layout.PAGE_ENTRIES
    assert _lookaside.MAX_IO_BYTES == proto.MAX_WRITE_BYTES
    assert _lookaside.WRITE_HEADER_BYTES == proto.WRITE_HEADER_BYTES
    assert THREADS <= _lookaside.MAX_LANES


def test_what_needs_no_decision_is_answered_in_c(served: Served) -> None:
    fuse = served.fuse
    fuse.write(CHUNK, b"a" * CHUNK)
    assert served.alone() == 0
    fuse.write(CHUNK + BLOCK, b"b" * BLOCK)
    assert fuse.read(CHUNK, 2 * BLOCK) == b"a" * BLOCK + b"b" * BLOCK
    assert served.alone() == 2
    assert fuse.read(5 * CHUNK, BLOCK) == bytes(BLOCK)  # a hole: Python says so once
    assert fuse.read(5 * CHUNK + BLOCK, BLOCK) == bytes(BLOCK)
    assert served.alone() == 3
    fuse.sync()  # the map has changed
    fuse.sync()  # the journal was made
    before = served.alone()
    fuse.write(CHUNK + BLOCK, b"c" * BLOCK)
    fuse.sync()
    assert served.alone() == before + 2


def test_a_request_over_many_chunks(served: Served) -> None:
    data = os.urandom(MAX_BYTES - CHUNK)
    for at in (3 * CHUNK, 9 * CHUNK, 4 * CHUNK):  # slots in another order than chunks
        served.fuse.write(at, data[:CHUNK])
    served.fuse.read(8 * CHUNK, CHUNK)
    served.fuse.read(10 * CHUNK, CHUNK)
    before = served.alone()
    assert served.fuse.read(3 * CHUNK + BLOCK, CHUNK) == data[BLOCK:CHUNK] + data[:BLOCK]
    assert served.fuse.read(8 * CHUNK + BLOCK, CHUNK) == bytes(CHUNK - BLOCK) + data[:BLOCK]
    assert served.fuse.read(9 * CHUNK + BLOCK, CHUNK) == data[BLOCK:CHUNK] + bytes(BLOCK)
    assert served.alone() == before + 3


def test_a_checkpoint_keeps_what_was_there(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.fuse.write(0, b"b" * BLOCK)
    node = served.checkpoint("one")
    before = served.alone()
    served.fuse.write(0, b"c" * BLOCK)
    assert served.alone() == before
    assert served.fuse.read(0, 2 * BLOCK, node) == b"b" * BLOCK + b"a" * BLOCK
    assert served.fuse.read(0, 2 * BLOCK) == b"c" * BLOCK + b"a" * BLOCK


def test_a_restore_is_seen_at_once(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.checkpoint("one")
    served.fuse.write(0, b"b" * CHUNK)
    assert served.fuse.read(0, BLOCK) == b"b" * BLOCK
    served.fuse.sync()
    served.disk.roots.restore(CheckpointId("one"))
    assert served.fuse.read(0, BLOCK) == b"a" * BLOCK


def test_what_is_trimmed_or_zero_reads_as_zeros(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.fuse.write(CHUNK, b"a" * CHUNK)
    served.fuse.punch(0, CHUNK)
    served.fuse.write(CHUNK, bytes(CHUNK))
    assert served.fuse.read(0, 2 * CHUNK) == bytes(2 * CHUNK)
    served.disk.commit()
    assert served.disk.usage()["used_bytes"] == 0


def test_odd_requests_come_to_python(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    before = served.alone()
    served.fuse.write(512, b"b" * 512)  # not whole blocks
    assert served.fuse.read(0, 2048) == b"a" * 512 + b"b" * 512 + b"a" * 1024
    served.fuse.write(0, b"c" * BLOCK, proto.RESENT)
    assert served.alone() == before
    assert served.fuse.read(0, BLOCK) == b"c" * BLOCK
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        served.fuse.write(SIZE, b"d" * BLOCK)
    assert served.fuse.read(SIZE - BLOCK, 2 * BLOCK) == bytes(BLOCK)
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        served.fuse.call(proto.Op.WRITE, struct.pack("<QQIIQII", 0, 0, BLOCK, 0, 0, 0, 0) + bytes(BLOCK), node=16)


def test_a_fenced_disk_answers_nothing_more(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.fuse.sync()
    served.fuse.sync()
    before = served.alone()
    served.disk.debt.fence("another host has it")
    for action in (
        lambda: served.fuse.write(0, b"b" * BLOCK),
        lambda: served.fuse.read(0, BLOCK),
        served.fuse.sync,
    ):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            action()
    assert served.alone() == before


def test_a_grown_disk(served: Served) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        served.fuse.write(SIZE, b"a" * BLOCK)
    served.disk.resize(2 * SIZE)
    served.fuse.write(SIZE, b"a" * CHUNK)
    before = served.alone()
    served.fuse.write(SIZE, b"b" * BLOCK)
    assert served.fuse.read(SIZE, 2 * BLOCK) == b"b" * BLOCK + b"a" * BLOCK
    assert served.alone() == before + 2


@pytest.mark.parametrize("keep_log", [True, False], ids=["process killed", "everything killed"])
def test_what_was_flushed_is_there_after_a_kill(served: Served, keep_log: bool) -> None:
    for number in range(200):  # more than one journal takes
        served.fuse.write(number * CHUNK, bytes([number + 1]) * BLOCK)
        served.fuse.sync()
    served.fuse.write(0, b"z" * BLOCK)
    served.fuse.sync()
    for _ in range(2):
        served.again(keep_log=keep_log)
        assert served.fuse.read(0, BLOCK) == b"z" * BLOCK
        for number in range(1, 200):
            assert served.fuse.read(number * CHUNK, BLOCK) == bytes([number + 1]) * BLOCK


def test_a_flush_covers_what_was_written_in_c(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.disk.flush()
    synced: list[str] = []
    sync = slab.Slab.sync

    def count(data: slab.Slab) -> None:
        synced.append(data.path)
        sync(data)

    monkeypatch.setattr(slab.Slab, "sync", count)
    served.disk.flush()
    assert synced == []
    before = served.alone()
    served.fuse.write(0, b"b" * BLOCK)
    assert served.alone() == before + 1
    served.disk.flush()
    assert len(synced) == 1


_WRITEV = {"x86_64": "20", "aarch64": "66"}[platform.machine()]


def _wait_until_it_writes(thread: threading.Thread) -> None:
    """Until it is blocked in writev(2)."""
    path = Path(f"/proc/self/task/{thread.native_id}/syscall")
    while not path.read_text().startswith(_WRITEV + " "):
        assert thread.is_alive()
        os.sched_yield()


def _ask(ours: socket.socket, count: int) -> None:
    """Reads of the first chunk."""
    body = struct.pack("<QQIIQII", 0, 0, CHUNK, 0, 0, 0, 0)
    for number in range(count):
        ours.send(proto.HEADER.pack(proto.HEADER.size + len(body), proto.Op.READ, number, 2, 0, 0, 0, 0, 0) + body)


def test_who_is_inside_is_waited_for(tmp_path: Path) -> None:
    """A thread that cannot send its answer is inside until it can."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    (tmp_path / "slab").write_bytes(b"s" * 2 * CHUNK)
    settled = threading.Event()
    with ours, theirs, open(tmp_path / "slab", "rb") as file:
        table = _lookaside.Lookaside(theirs.fileno(), SIZE)
        table.set_slab(0, file.fileno())
        table.learn(0, [layout.place(0, 1)], False)
        request = slab.aligned(_lookaside.WRITE_HEADER_BYTES + _lookaside.MAX_IO_BYTES)
        serving = threading.Thread(target=table.receive, args=(request, 0))
        serving.start()
        _ask(ours, 16)  # more than the socket takes
        _wait_until_it_writes(serving)

        def settle() -> None:
            table.settle()
            settled.set()

        threading.Thread(target=settle).start()
        assert not settled.wait(0.2)
        for _ in range(16):
            assert ours.recv(2 * CHUNK)[proto.ANSWER.size :] == b"s" * CHUNK
        assert settled.wait(10)
        ours.send(proto.HEADER.pack(proto.HEADER.size, proto.Op.STATFS, 16, 1, 0, 0, 0, 0, 0))
        serving.join(10)
        assert not serving.is_alive()


def _resident_pages(buffer: memoryview) -> int:
    """Of the buffer, which begins a page, those that are in memory (bit 63 of proc_pid_pagemap(5))."""
    first, count = directio.address_of(buffer) // mmap.PAGESIZE, len(buffer) // mmap.PAGESIZE
    with open("/proc/self/pagemap", "rb") as file:
        file.seek(first * 8)
        entries = struct.unpack(f"<{count}Q", file.read(count * 8))
    return sum(entry >> 63 for entry in entries)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lane_that_nobody_asks_has_no_memory_and_has_it_back_for_the_next_request(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    (tmp_path / "slab").write_bytes(b"s" * 2 * CHUNK)
    with ours, theirs, open(tmp_path / "slab", "rb") as file:
        table = _lookaside.Lookaside(theirs.fileno(), SIZE)
        table.set_slab(0, file.fileno())
        table.learn(0, [layout.place(0, 1)], False)
        buffer = slab.aligned(4096 + _lookaside.MAX_IO_BYTES, resident=True)
        whole = len(buffer) // mmap.PAGESIZE
        assert _resident_pages(buffer) == whole
        request = buffer[4096 - _lookaside.WRITE_HEADER_BYTES :]
        serving = threading.Thread(target=table.receive, args=(request, 0))
        serving.start()
        for _ in range(2):
            _until(lambda: _resident_pages(buffer) <= 1)  # of the first there are bytes that are not the lane's
            _ask(ours, 16)  # more than the socket takes
            _wait_until_it_writes(serving)
            assert _resident_pages(buffer) == whole
            for _ in range(16):
                assert ours.recv(2 * CHUNK)[proto.ANSWER.size :] == b"s" * CHUNK
        ours.send(proto.HEADER.pack(proto.HEADER.size, proto.Op.STATFS, 16, 1, 0, 0, 0, 0, 0))
        serving.join(10)
        assert not serving.is_alive()


class Recorder(lookaside.Nobody):
    """Notes when somebody is waited for, beside what happens to the slab."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def settle(self) -> None:
        self.events.append("settle")


def test_slots_are_punched_only_when_nobody_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disks.create(str(tmp_path), Facts.parse({"size": str(SIZE), "lineage": "[]"}))
    disk = disks.Disk(str(tmp_path), [])
    recorder = Recorder()
    disk.use_lookaside(recorder)
    monkeypatch.setattr(slab.Slab, "punch", lambda data, slot, count: recorder.events.append(f"punch {count}"))
    with contextlib.closing(disk):
        disk.write(0, memoryview(b"a" * CHUNK))
        disk.write(2 * CHUNK, memoryview(b"a" * CHUNK))
        disk.trim(0, 4 * CHUNK)
        disk.commit()
        assert recorder.events == ["settle", "punch 2"]


class Loop(threading.Thread):
    """Repeats something until `stop`; `problem` is what ended it before."""

    def __init__(self, name: str, action: Callable[[int], None], stop: threading.Event) -> None:
        super().__init__(name=name)
        self._action, self._stop_event = action, stop
        self.problem: BaseException | None = None
        self.rounds = 0

    def run(self) -> None:
        try:
            while not self._stop_event.is_set():
                self._action(self.rounds)
                self.rounds += 1
        except BaseException as error:
            self.problem = error
            raise


@contextlib.contextmanager
def _looping(**actions: Callable[[int], None]) -> Iterator[None]:
    stop = threading.Event()
    loops = [Loop(name, action, stop) for name, action in actions.items()]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        stop.set()
        for loop in loops:
            loop.join(30)
    assert {loop.name: loop.problem for loop in loops if loop.problem} == {}
    assert all(loop.rounds for loop in loops)


def test_a_slot_that_was_given_out_again_is_never_read_for_its_old_chunk(served: Served) -> None:
    """Chunks come and go; whoever reads sees the chunk's own content, or zeros."""
    chunks = range(4)

    def come_and_go(number: int) -> None:
        chunk = number % 4
        served.fuse.write(chunk * CHUNK, bytes([chunk + 1]) * CHUNK)
        served.fuse.punch((chunk + 2) % 4 * CHUNK, CHUNK)
        served.disk.commit()

    def look(number: int) -> None:
        chunk = number % 4
        assert set(served.fuse.read(chunk * CHUNK, CHUNK)) <= {0, chunk + 1}, f"chunk {chunk}"

    with _looping(change=come_and_go, look=look, look_too=lambda number: look(number + 2)):
        for number in range(400):
            look(number)
    for chunk in chunks:
        look(chunk)


def test_parts_of_a_block_are_written_beside_whole_ones(served: Served) -> None:
    """What Python reads, changes and writes back must not undo what C has written meanwhile."""
    served.fuse.write(0, b"a" * CHUNK)

    def whole(number: int) -> None:
        value = bytes([number % 250 + 1])
        served.fuse.write(0, value * BLOCK)
        assert served.fuse.read(0, BLOCK)[512:] == value * (BLOCK - 512)

    with _looping(whole=whole):
        for _ in range(3000):
            served.fuse.write(0, b"s" * 512)


class Writer:
    """Owns some blocks of a few chunks that others write too, and knows what each must hold."""

    def __init__(self, served: Served, number: int) -> None:
        self._served, self._number = served, number
        self._chance = random.Random(number)
        self.name = f"writer{number}"
        self.acknowledged: dict[int, int] = {}  # block → value
        self.issued: dict[int, int] = {}

    def step(self, number: int) -> None:
        value = number + 1
        # Blocks of one writer are apart, so that every chunk has blocks of all.
        block = self._chance.randrange(24) * 4 + self._number
        fuse, chance = self._served.fuse, self._chance.random()
        if chance < 0.7:
            self.issued[block] = value
            fuse.write(block * BLOCK, struct.pack("<Q", value) * (BLOCK // 8))
            self.acknowledged[block] = value
        elif chance < 0.75:
            self.issued[block] = 0
            fuse.punch(block * BLOCK, BLOCK)
            self.acknowledged[block] = 0
        elif chance < 0.8:
            fuse.sync()
        else:
            found = fuse.read(block * BLOCK, BLOCK)
            assert found == struct.pack("<Q", self.acknowledged.get(block, 0)) * (BLOCK // 8)


@pytest.mark.slow
def test_many_at_once_beside_checkpoints(served: Served) -> None:
    """Nothing is lost, read old or half, and a checkpoint holds what was acknowledged when it was cut."""
    writers = [Writer(served, number) for number in range(THREADS)]
    with _looping(**{writer.name: writer.step for writer in writers}):
        for number in range(60):
            before = [dict(writer.acknowledged) for writer in writers]
            node = served.checkpoint(f"c{number}")
            after = [dict(writer.issued) for writer in writers]
            for mine, known, at_most in zip(writers, before, after, strict=True):
                _compare(served, node, mine, known, at_most)
            served.server.forget_checkpoint(node - 16)
            served.disk.roots.delete_checkpoint(CheckpointId(f"c{number}"))
    assert served.alone() > 0
    served.again(keep_log=True)
    for writer in writers:
        for block, value in writer.acknowledged.items():
            assert served.fuse.read(block * BLOCK, BLOCK) == struct.pack("<Q", value) * (BLOCK // 8)


def _compare(served: Served, node: int, writer: Writer, known: dict[int, int], at_most: dict[int, int]) -> None:
    """Values of a block grow, but for a punched one: 0 may be older or newer than anything."""
    for block in known:
        content = served.fuse.read(block * BLOCK, BLOCK, node)
        (found,) = set(struct.unpack(f"<{BLOCK // 8}Q", content))
        low, high = known[block], at_most[block]
        assert found == 0 or not low or found >= low, f"block {block} of {writer.name}: {found}, not {low} or newer"
        assert found == 0 or not high or found <= high, f"block {block} of {writer.name}: {found}, not {high} or older"


def test_a_stream_needs_few_decisions(served: Served) -> None:
    """…and the chunks that were reserved for it read as zeros, are not counted, and go back with the next cut."""
    data = os.urandom(CHUNK)
    for number in range(100):
        served.fuse.write(number * CHUNK, data[:BLOCK])
    assert served.alone() > 80
    assert served.fuse.read(110 * CHUNK, BLOCK) == bytes(BLOCK)
    assert served.disk.usage()["used_bytes"] == 100 * CHUNK
    assert served.disk.places([110]) != [layout.HOLE]
    node = served.checkpoint("one")
    assert served.disk.places(range(99, 200)) == [layout.place(0, 100), *[layout.HOLE] * 100]
    assert served.disk.usage()["used_bytes"] == 100 * CHUNK
    served.fuse.write(110 * CHUNK, data[:BLOCK])
    assert served.fuse.read(110 * CHUNK, BLOCK, node) == bytes(BLOCK)
    assert served.fuse.read(99 * CHUNK, CHUNK) == data[:BLOCK] + bytes(CHUNK - BLOCK)


def test_what_was_reserved_survives_as_zeros_or_as_written(served: Served) -> None:
    for number in range(20):
        served.fuse.write(number * CHUNK, b"a" * BLOCK)
    served.fuse.write(22 * CHUNK, b"b" * BLOCK)  # into what was reserved
    served.again(keep_log=True)
    assert served.fuse.read(21 * CHUNK, BLOCK) == bytes(BLOCK)
    assert served.fuse.read(22 * CHUNK, BLOCK) == b"b" * BLOCK
    served.checkpoint("one")
    assert served.fuse.read(22 * CHUNK, BLOCK) == b"b" * BLOCK


def test_nothing_is_reserved_beyond_the_end_or_over_what_is_there(served: Served) -> None:
    last = SIZE // CHUNK - 1
    served.fuse.write(40 * CHUNK, b"z" * CHUNK)
    for number in [*range(39), *range(last - 20, last + 1)]:
        served.fuse.write(number * CHUNK, b"a" * BLOCK)
    assert served.fuse.read(40 * CHUNK, CHUNK) == b"z" * CHUNK
    served.fuse.write(39 * CHUNK, b"a" * CHUNK)
    served.disk.commit()
    assert served.fuse.read(39 * CHUNK, BLOCK) == b"a" * BLOCK


def test_a_stream_beyond_the_end_of_the_slab(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slab, "_STEP_BYTES", CHUNK)
    for number in range(4, 40):  # the slab that the disk was made with is longer
        served.fuse.write(number * CHUNK, b"a" * BLOCK)
    assert served.disk.places([45]) != [layout.HOLE]
    assert served.fuse.read(45 * CHUNK, CHUNK) == bytes(CHUNK)


def _write_a_part_in_c(served: Served) -> None:
    before = served.alone()
    served.fuse.write(0, b"b" * BLOCK)
    assert served.alone() == before + 1


def test_what_c_wrote_and_python_synced_is_not_in_use(served: Served) -> None:
    served.checkpoint("one")
    served.fuse.write(0, b"a" * CHUNK)
    _write_a_part_in_c(served)
    served.fuse.sync()  # of both
    served.disk.roots.restore(CheckpointId("one"))
    assert served.fuse.read(0, BLOCK) == bytes(BLOCK)


def test_what_python_wrote_in_place_and_c_could_sync_is_not_in_use(served: Served) -> None:
    served.checkpoint("one")
    served.fuse.write(0, b"a" * CHUNK)
    served.fuse.sync()
    served.fuse.sync()
    served.fuse.write(0, b"b" * 512)  # in place, and nothing to note
    served.fuse.sync()
    served.disk.roots.restore(CheckpointId("one"))
    assert served.fuse.read(0, BLOCK) == bytes(BLOCK)


def test_what_c_wrote_and_nobody_synced_is_in_use(served: Served) -> None:
    served.checkpoint("one")
    served.fuse.write(0, b"a" * CHUNK)
    served.fuse.sync()
    _write_a_part_in_c(served)
    for _ in range(2):
        with pytest.raises(errors.StateError, match="written to, and not synced since"):
            served.disk.roots.restore(CheckpointId("one"))


@pytest.mark.parametrize("synced", [False, True], ids=["process killed", "synced, then everything killed"])
def test_zeros_that_became_a_hole_survive(served: Served, synced: bool) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.fuse.sync()
    served.fuse.sync()  # from now on C could
    served.fuse.write(0, bytes(CHUNK))
    if synced:
        served.fuse.sync()
    served.again(keep_log=not synced)
    assert served.fuse.read(0, CHUNK) == bytes(CHUNK)


class Beside:
    """The table, and what happens, once, while somebody waits for those who are inside."""

    def __init__(self, table: lookaside.Table, action: Callable[[], object]) -> None:
        self._table = table
        self._action: Callable[[], object] | None = action

    def __getattr__(self, name: str) -> object:
        return getattr(self._table, name)

    def settle(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()
        self._table.settle()


def _while_settling(served: Served, action: Callable[[], object]) -> None:
    served.disk.opened.lookaside = Beside(served.disk.opened.lookaside, action)  # type: ignore[assignment]


def test_a_chunk_that_is_read_while_it_is_trimmed(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    _while_settling(served, lambda: served.fuse.read(0, BLOCK))
    served.fuse.punch(0, CHUNK)
    assert served.fuse.read(0, BLOCK) == bytes(BLOCK)


def test_a_chunk_that_is_read_while_it_is_given_back(served: Served) -> None:
    for chunk in range(20):
        served.fuse.write(chunk * CHUNK, b"a" * BLOCK)
    assert served.disk.places([21]) != [layout.HOLE]
    _while_settling(served, lambda: served.fuse.read(21 * CHUNK, BLOCK))
    served.disk.commit()
    for chunk in range(200, 300, 2):  # into the slots that it had
        served.fuse.write(chunk * CHUNK, b"z" * BLOCK)
    assert served.fuse.read(21 * CHUNK, BLOCK) == bytes(BLOCK)


def test_nobody_writes_to_what_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a slot is a hole is asked when nobody can write to it, or is just doing so."""
    disks.create(str(tmp_path), Facts.parse({"size": str(SIZE), "lineage": "[]"}))
    with contextlib.closing(disks.Disk(str(tmp_path), [])) as disk:
        recorder = Recorder()
        disk.use_lookaside(recorder)
        for chunk in range(4):
            disk.write(chunk * CHUNK, memoryview(b"a" * CHUNK))
        reserved = [(change.first, change.count) for change in disk._ahead.reserved]
        assert reserved
        holes = slab.Slab.holes

        def ask(data: slab.Slab, slot: int, count: int) -> list[tuple[int, int]]:
            recorder.events.append("ask")
            return holes(data, slot, count)

        monkeypatch.setattr(slab.Slab, "holes", ask)
        monkeypatch.setattr(recorder, "forget", lambda *chunks: recorder.events.append(f"forget {chunks}"))
        disk.commit()
        first = [*(f"forget {chunks}" for chunks in reserved), "settle", *["ask"] * len(reserved)]
        assert [event for event in recorder.events if event in first][: len(first)] == first


def test_python_writes_in_place_when_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disks.create(str(tmp_path), Facts.parse({"size": str(SIZE), "lineage": "[]"}))
    with contextlib.closing(disks.Disk(str(tmp_path), [])) as disk:
        disk.write(0, memoryview(b"a" * CHUNK))
        recorder = Recorder()
        disk.use_lookaside(recorder)
        monkeypatch.setattr(recorder, "forget", lambda first, count: count)  # it was writable
        monkeypatch.setattr(slab.Slab, "write", lambda *_: recorder.events.append("write"))
        disk.write(BLOCK, memoryview(b"b" * BLOCK))
        assert recorder.events == ["settle", "write"]


def test_after_a_commit_and_after_a_flush_c_syncs(served: Served) -> None:
    served.fuse.write(0, b"a" * CHUNK)
    served.disk.commit()
    before = served.alone()
    served.fuse.sync()
    assert served.alone() == before + 1
    served.fuse.write(4 * CHUNK, b"a" * CHUNK)
    served.disk.flush()  # makes the journal
    served.fuse.write(8 * CHUNK, b"a" * CHUNK)
    served.disk.flush()
    before = served.alone()
    served.fuse.sync()
    assert served.alone() == before + 1


def test_what_is_read_while_a_restore_fails_is_read_anew(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.checkpoint("one")
    served.fuse.write(50 * CHUNK, b"a" * BLOCK)
    served.fuse.sync()  # makes the journal, so that the next leaves what is reserved
    for chunk in range(5):
        served.fuse.write(chunk * CHUNK, b"a" * BLOCK)
    served.fuse.sync()

    def fail(books: meta.Meta, commit: ledger.Commit) -> None:
        if "era" in commit.facts:
            assert served.fuse.read(0, BLOCK) == bytes(BLOCK)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        store(books, commit)

    store = meta.Meta.commit
    monkeypatch.setattr(meta.Meta, "commit", fail)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        served.disk.roots.restore(CheckpointId("one"))
    assert served.fuse.read(0, BLOCK) == b"a" * BLOCK
    assert served.disk.usage()["used_bytes"] == 6 * CHUNK
    served.again(keep_log=True)
    assert served.fuse.read(0, BLOCK) == b"a" * BLOCK
    assert served.disk.usage()["used_bytes"] == 6 * CHUNK
