"""init's two tables, the C itself, against what they promise: any order of calls, as a few lines of Python have it."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NATIVE = Path(__file__).parents[2] / "native/init"
RECORD_LIMIT = 4096
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


class Record(ctypes.Structure):
    _fields_ = (
        ("seq", ctypes.c_uint64), ("start_time", ctypes.c_uint64), ("died_ms", ctypes.c_int64),
        ("pid", ctypes.c_uint32), ("status", ctypes.c_int32),
    )  # fmt: skip


class Entry(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 96), ("fd", ctypes.c_int32), ("sent_to", ctypes.c_uint32))


def _load(directory: Path, name: str) -> ctypes.CDLL:
    """A fresh copy each time: the tables are static."""
    out = directory / f"{name}-{len(os.listdir(directory))}.so"
    command: list[str | Path] = [
        "gcc",
        "-shared",
        "-fPIC",
        "-O1",
        "-D_GNU_SOURCE",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        out,
    ]
    subprocess.run([*command, NATIVE / f"{name}.c"], check=True, timeout=60)
    return ctypes.CDLL(str(out))


class Records:
    def __init__(self, library: ctypes.CDLL) -> None:
        self.c = library
        self.c.records_after.restype = ctypes.POINTER(Record)
        self.c.records_oldest_ms.restype = ctypes.c_int64
        self.c.records_last_seq.restype = ctypes.c_uint64

    def add(self, pid: int, now_ms: int) -> None:
        self.c.records_add(
            ctypes.c_uint32(pid), ctypes.c_uint64(pid * 10), ctypes.c_int32(-pid), ctypes.c_int64(now_ms)
        )

    def acknowledge(self, seq: int) -> None:
        self.c.records_acknowledge(ctypes.c_uint64(seq))

    def expire(self, oldest_ms: int) -> None:
        self.c.records_expire(ctypes.c_int64(oldest_ms))

    def all(self) -> list[tuple[int, int, int]]:
        found, seq = [], 0
        while record := self.c.records_after(ctypes.c_uint64(seq)):
            seq = record.contents.seq
            found.append((seq, record.contents.pid, record.contents.status))
        return found


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(_load(tmp_path, "records"))


def test_the_oldest_of_too_many_goes(records: Records) -> None:
    for pid in range(1, RECORD_LIMIT + 11):
        records.add(pid, pid)
    records.acknowledge(5)  # long gone
    assert [seq for seq, _, _ in records.all()] == list(range(11, RECORD_LIMIT + 11))
    records.acknowledge(2000)
    records.add(7, 9999)
    assert len(records.all()) == RECORD_LIMIT
    assert records.all()[0] == (11, 11, -11)


_CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 1000)),
        st.tuples(st.just("acknowledge"), st.integers(0, 60)),
        st.tuples(st.just("expire"), st.integers(0, 3)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(calls=_CALLS)
def test_records_are_a_list_in_order_of_death(calls: list[tuple[str, int]], records_library: Records) -> None:
    model: dict[int, tuple[int, int]] = {}  # seq: (pid, died)
    for seq, _, _ in records_library.all():
        records_library.acknowledge(seq)
    base, clock = records_library.c.records_last_seq(), 0
    for step, (call, value) in enumerate(calls):
        clock = step
        if call == "add":
            records_library.add(value, clock)
            model[records_library.c.records_last_seq()] = (value, clock)
        elif call == "acknowledge":
            records_library.acknowledge(base + value)
            model.pop(base + value, None)
        else:
            records_library.expire(clock - value)
            model = {seq: row for seq, row in model.items() if row[1] >= clock - value}
        assert records_library.all() == [(seq, pid, -pid) for seq, (pid, _) in sorted(model.items())]
        assert records_library.c.records_oldest_ms() == min((died for _, died in model.values()), default=-1)


@pytest.fixture(scope="module")
def records_library(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return Records(_load(tmp_path_factory.mktemp("records"), "records"))


_agents = itertools.count(1)
_STORE_CALLS = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "send", "restart"]), st.sampled_from("abcdefgh")), max_size=50
)


@settings(max_examples=200, deadline=None)
@given(calls=_STORE_CALLS)
def test_each_agent_is_sent_each_descriptor_once(calls: list[tuple[str, str]], store: ctypes.CDLL) -> None:
    agent = next(_agents)
    names: set[str] = set()
    unsent: set[str] = set()
    for call, name in calls:
        if call == "put":
            refused = store.store_put(name.encode(), os.dup(0), agent)
            assert not refused
            names.add(name)
            unsent.discard(name)
        elif call == "drop":
            store.store_drop(name.encode())
            names.discard(name)
            unsent.discard(name)
        elif call == "restart":
            agent = next(_agents)
            unsent = set(names)
        elif entry := store.store_unsent(agent):
            unsent.remove(entry.contents.name.decode())
            os.fstat(entry.contents.fd)
            entry.contents.sent_to = agent
        else:
            assert not unsent
    for name in names:
        store.store_drop(name.encode())
    assert not store.store_unsent(next(_agents))


def test_full_store_refuses_a_new_name_only(store: ctypes.CDLL) -> None:
    names = [f"n{number}".encode() for number in range(100)]
    assert [store.store_put(name, os.dup(0), 1) for name in names] == [0] * 100
    spare = os.dup(0)
    assert store.store_put(b"one more", spare, 1) == 24  # EMFILE, and it is still ours
    assert store.store_put(b"n5", spare, 1) == 0
    for name in names:
        store.store_drop(name)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = _load(tmp_path_factory.mktemp("store"), "store")
    library.store_unsent.restype = ctypes.POINTER(Entry)
    assert library.store_open(ctypes.c_uint32(100)) == 0
    return library
