"""Records from init reach whoever waits, in whatever order they come; on a link that is a pipe and a list."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator

import pytest

from pilot.kernel.waiter import ExitStatus, InitRecords, OwnChildren, parse_wait_status


@dataclasses.dataclass(frozen=True)
class Record:
    seq: int
    pid: int
    start_time: int
    status: int


class Link:
    """`read_records` gives each record once; the pipe is readable while there are some."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.acknowledged: list[int] = []
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def send(self, *records: Record) -> None:
        with self._lock:
            self._records += records
            os.write(self.write_fd, b"x")

    def fileno(self) -> int:
        return self.read_fd

    def read_records(self) -> list[Record]:
        with self._lock:
            records, self._records = self._records, []
            if records:
                os.read(self.read_fd, 4096)
            return records

    def acknowledge(self, seq: int) -> None:
        self.acknowledged.append(seq)


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process whose pidfd is readable: it has ended."""

    pid: int
    start_time: int
    pid_fd: int


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    os.close(made.read_fd)
    os.close(made.write_fd)


@pytest.fixture
def records(link: Link) -> Iterator[InitRecords]:
    made = InitRecords(link)
    yield made
    made.close()


@pytest.fixture
def null_fd() -> Iterator[int]:
    descriptor = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("raw", "status", "exit_code"),
    [
        (0, ExitStatus(0), 0),
        (0x300, ExitStatus(3), 3),
        (9, ExitStatus(None, 9), 137),
        (0x8B, ExitStatus(None, 11, True), 139),
    ],
)
def test_wait_status(raw: int, status: ExitStatus, exit_code: int) -> None:
    assert parse_wait_status(raw) == status
    assert status.exit_code() == exit_code


def test_record_is_claimed_once_and_acknowledged(link: Link, records: InitRecords, null_fd: int) -> None:
    link.send(Record(1, 10, 5, 0x200), Record(2, 11, 6, 9), Record(3, 10, 7, 0x400))
    assert records.wait(Ended(10, 7, null_fd), 30) == ExitStatus(4)
    assert records.wait(Ended(10, 5, null_fd), 30) == ExitStatus(2)
    assert link.acknowledged == [3, 1]
    with pytest.raises(TimeoutError):
        records.wait(Ended(10, 5, null_fd), 0)


def test_status_is_kept_until_acknowledged(link: Link, records: InitRecords, null_fd: int) -> None:
    process = Ended(10, 5, null_fd)
    link.send(Record(1, 10, 5, 0))
    assert records.status(process, 30) == records.status(process, 30) == ExitStatus(0)
    assert link.acknowledged == []
    records.acknowledge(process)
    records.acknowledge(process)
    assert link.acknowledged == [1]


def test_start_time_that_nobody_could_read(link: Link, records: InitRecords, null_fd: int) -> None:
    link.send(Record(1, 10, 5, 0), Record(2, 11, 0, 0x100))
    assert records.wait(Ended(10, 0, null_fd), 30) == ExitStatus(0)
    assert records.wait(Ended(11, 8, null_fd), 30) == ExitStatus(1)


def test_forgotten_process(link: Link, records: InitRecords, null_fd: int) -> None:
    link.send(Record(1, 10, 5, 0))
    records.collect()
    records.forget(10)
    records.forget(11)
    link.send(Record(2, 11, 5, 0), Record(3, 11, 6, 0x100))
    records.collect()
    assert link.acknowledged == [1, 2]
    assert records.wait(Ended(11, 6, null_fd), 30) == ExitStatus(1)


def test_many_wait_and_an_event_loop_reads_too(link: Link, records: InitRecords, null_fd: int) -> None:
    found: dict[int, ExitStatus] = {}

    def wait(pid: int) -> None:
        found[pid] = records.wait(Ended(pid, 1, null_fd), 30)

    threads = [threading.Thread(target=wait, args=(pid,)) for pid in range(20)]
    for thread in threads:
        thread.start()
    for pid in reversed(range(20)):
        link.send(Record(pid, pid, 1, pid << 8))
        if pid % 2:
            records.collect()
    for thread in threads:
        thread.join(30)
    assert found == {pid: ExitStatus(pid) for pid in range(20)}


def test_unclaimed_records_are_bounded(link: Link, records: InitRecords, null_fd: int) -> None:
    link.send(*(Record(seq, seq, 1, 0) for seq in range(InitRecords.MAX_RECORDS + 1)))
    records.collect()
    assert records.wait(Ended(1, 1, null_fd), 0) == ExitStatus(0)
    with pytest.raises(TimeoutError):
        records.wait(Ended(0, 1, null_fd), 0)


def test_process_that_is_not_ours_has_an_unknown_status() -> None:
    pid_read, pid_write = os.pipe2(os.O_CLOEXEC)
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            os.close(gate_write)
            os._exit(len(os.read(gate_read, 1)))
        os.write(pid_write, str(grandchild).encode())
        os._exit(0)
    pid_fd = os.pidfd_open(int(os.read(pid_read, 20)))
    os.waitpid(child, 0)
    os.close(gate_write)
    assert OwnChildren().wait(Ended(1, 1, pid_fd), 30) == ExitStatus(None)
    for descriptor in (pid_read, pid_write, gate_read, pid_fd):
        os.close(descriptor)
