"""A holder compacts its own log while it writes: real disks, a store in memory, and deaths at every request."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilot import errors
from pilot.ids import CheckpointId
from pilot.volume import layout, names
from pilot.volume.books import delta
from pilot.volume.disk import disk as disks
from pilot.volume.facts import Facts
from pilot.volume.remote.live import cache, inband
from pilot.volume.remote.log import codec, hold, segment, sending
from pilot.volume.remote.log.head import Head
from pilot.volume.remote.tending import garbage
from pilot.volume.serving import fuse
from tests.support import fakefuse
from tests.support.logwriter import KEYS, Content, chunk_of, stored_content
from tests.support.objects import Killed, MemoryStore

CHUNK = layout.CHUNK_BYTES
CHUNKS = 6
SIZE = 1 << 30
GRACE_S = 100.0
A, B = "a" * 16, "b" * 16
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class MortalStore(MemoryStore):
    """Whoever uses it dies at the request when `left` has run out; None: lives."""

    left: int | None = None
    requests = 0

    def _turn(self) -> None:  # type: ignore[override]
        self.requests += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


@dataclasses.dataclass
class Host:
    """An open disk as its worker has it, without threads."""

    name: str
    objects: MortalStore
    directory: str
    lineage: list[str]
    delta_fd: int
    disk: disks.Disk = dataclasses.field(init=False)
    sender: sending.Sender = dataclasses.field(init=False)
    compactor: inband.Compactor = dataclasses.field(init=False)

    def open(self) -> None:
        """As a worker begins; what a killed one had acknowledged is in the log of changes."""
        self.disk = disks.Disk(self.directory, self.lineage, self.delta_fd)
        self.disk.warmth.use({
            depth: cache.Cache(os.path.basename(path), slab, meta, self.objects, codec.Codec)
            for depth, (path, slab, meta) in self.disk.warmth.want_caches()
        })  # fmt: skip
        seq = self.disk.facts().local.seq
        self.sender = sending.Sender(hold.Hold.resume(self.objects, self.name, "one", seq), codec.Codec())
        self.compactor = inband.Compactor(self.disk.outbox, self.objects, self.name, share=1.0)

    def kill(self) -> None:
        """kill -9: nothing is flushed, files are closed."""
        self.disk.opened.close()

    def write(self, chunk: int, value: int) -> None:
        self.disk.write(chunk * CHUNK, memoryview(chunk_of(value)))

    def send(self, *, whole: bool) -> None:
        """One batch, as the uploader does it."""
        cut = self.disk.outbox.cut_batch(whole=whole)
        self.disk.outbox.batch_sent(cut, self.sender.send(cut, self.disk.outbox) if self.sender.is_news(cut) else None)

    def compact(self) -> int:
        """One look; how many slots are to be sent again."""
        return sum(len(slots) for slots in self.compactor.look())

    def read(self) -> dict[int, int]:
        """The head's chunks that are no holes."""
        found, into = {}, memoryview(bytearray(CHUNK))
        for chunk in range(CHUNKS):
            self.disk.read(chunk * CHUNK, into)
            value = int.from_bytes(into[:8], "little")
            assert into == chunk_of(value)
            if value:
                found[chunk] = value
        return found


def _born(objects: MortalStore, root: str, name: str, lineage: list[str], head: bytes | None = None) -> Host:
    directory = os.path.join(root, name)
    os.mkdir(directory)
    ancestors = [os.path.basename(path) for path in lineage]
    hold.first_head(objects, Head(disk=name, volume=name[0], size_bytes=SIZE, lineage=tuple(ancestors)))
    facts = {"local/store": objects.url, "local/holder": "one", "lineage": _json(ancestors)}
    facts["local/cache_bytes"] = "0"  # so that a fork may evict what it has of its ancestor
    disks.create(directory, Facts.parse({"size": str(SIZE), **facts}), head)
    host = Host(name, objects, directory, lineage, delta.create())
    host.open()
    return host


def _json(values: list[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


class Machine(RuleBasedStateMachine):
    """One disk, perhaps a fork of it, collecting, compacting and evicting; everybody may die in each request."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.root = tempfile.mkdtemp(dir=SHM)
        self.objects = MortalStore(lambda: self.now)
        self.hosts: dict[str, Host] = {}
        self.roots: dict[str, Content] = {}  # what each disk holds: root → chunk → value
        self.durable: dict[str, list[Content]] = {}  # what its store may hold: the last confirmed, and what was tried
        self.value = 0
        self.compacted = 0
        self.small = mock.patch.object(segment, "MAX_ENTRIES", 2)  # two chunks a segment
        self.small.start()

    @initialize()
    def born(self) -> None:
        self.hosts[A] = _born(self.objects, self.root, A, [])
        self.roots[A], self.durable[A] = {"head": {}}, [{}]

    def teardown(self) -> None:
        self.objects.left = None
        for name in self.hosts:
            self.send(name, whole=True, left=None)
        self.everything_is_there()
        for _ in range(2):
            self.now += 2 * GRACE_S
            self.collect(None)
        self.everything_is_there()
        for host in self.hosts.values():
            host.kill()
            os.close(host.delta_fd)
        self.small.stop()
        shutil.rmtree(self.root)

    WHO = st.sampled_from([A, A, B])
    LEFT = st.one_of(st.none(), st.integers(0, 12))

    @rule(
        who=WHO, chunks=st.lists(st.integers(0, CHUNKS - 1), min_size=1, max_size=4, unique=True), flush=st.booleans()
    )
    def write(self, who: str, chunks: list[int], flush: bool) -> None:
        if (host := self.hosts.get(who)) is None:
            return
        for chunk in chunks:
            self.value += 1
            host.write(chunk, self.value)
            self.roots[who]["head"][chunk] = self.value
        if flush:
            host.disk.flush()

    @rule(who=WHO, chunk=st.integers(0, CHUNKS - 1))
    def trim(self, who: str, chunk: int) -> None:
        if (host := self.hosts.get(who)) is not None:
            host.disk.trim(chunk * CHUNK, CHUNK)
            self.roots[who]["head"].pop(chunk, None)

    @rule(who=WHO, name=st.sampled_from("xy"), what=st.sampled_from(["save", "forget", "restore"]))
    def checkpoint(self, who: str, name: str, what: str) -> None:
        host, root = self.hosts.get(who), f"checkpoint/{name}"
        if host is None or (root in self.roots[who]) == (what == "save"):
            return
        if what == "save":
            host.disk.roots.cut(CheckpointId(name)).publish(created_at=1.0, comment=None, frozen_ms=0.0, clean=True)
            self.roots[who][root] = dict(self.roots[who]["head"])
        elif what == "forget":
            host.disk.roots.delete_checkpoint(CheckpointId(name))
            del self.roots[who][root]
        else:
            host.disk.flush()  # one with unsynced writes is in use, and not restored
            host.disk.roots.restore(CheckpointId(name))
            self.roots[who]["head"] = dict(self.roots[who][root])

    @precondition(lambda self: A in self.hosts and B not in self.hosts)
    @rule()
    def fork(self) -> None:
        source = self.hosts[A]
        hold.mark_forked(self.objects, A)
        root = source.disk.roots.fork(B)
        self.roots[A][f"fork/{B}"] = dict(self.roots[A]["head"])
        self.send(A, whole=False, left=None)  # its pin is durable before anything of the fork is
        self.hosts[B] = _born(self.objects, self.root, B, [source.directory], root)
        self.roots[B], self.durable[B] = {"head": dict(self.roots[A]["head"])}, [{}]

    @rule(who=WHO, whole=st.booleans(), left=LEFT)
    def send(self, who: str, whole: bool, left: int | None) -> None:
        if (host := self.hosts.get(who)) is None:
            return
        state = {name: dict(root) for name, root in self.roots[who].items()}
        self.durable[who].append(state)
        with self._mortal(who, left):
            host.send(whole=whole)
            self.durable[who] = [state]

    @rule(who=WHO, left=LEFT, keep=st.integers(0, 3))
    def compact(self, who: str, left: int | None, keep: int) -> None:
        """After a snapshot, because the log behind it is left alone."""
        if (host := self.hosts.get(who)) is not None:
            self.send(who, whole=True, left=None)
            self.evict(who, keep, alone=True)
            with self._mortal(who, left):
                self.compacted += host.compact()
            self.evict(who, keep, alone=True)

    @precondition(lambda self: B in self.hosts)
    @rule(keep=st.integers(0, 3))
    def evict_the_ancestor(self, keep: int) -> None:
        """By its fork, while nobody else has it open."""
        self.hosts[A].kill()
        self._evict(self.hosts[B], keep, 0)
        self.hosts[A].open()

    @rule(who=WHO, keep=st.integers(0, 3), alone=st.booleans())
    def evict(self, who: str, keep: int, alone: bool) -> None:
        """`alone`: while its fork is not attached."""
        if (host := self.hosts.get(who)) is None:
            return
        fork = self.hosts.get(B) if alone and who == A else None
        if fork is not None:
            fork.kill()
        self._evict(host, keep, len(host.lineage))
        if fork is not None:
            fork.open()

    @staticmethod
    def _evict(host: Host, keep: int, depth: int) -> None:
        for cached in host.disk.warmth._caches.values():
            assert isinstance(cached, cache.Cache)
            cached.forget_reads()  # the invariant has read everything
        host.disk.warmth.evict(keep * CHUNK, depth)

    @rule(who=WHO)
    def die(self, who: str) -> None:
        if (host := self.hosts.get(who)) is not None:
            host.kill()
            host.open()

    @contextlib.contextmanager
    def _mortal(self, who: str, left: int | None) -> Iterator[None]:
        """Its worker may die in a request; then the next one takes over, by the next seq of a next epoch."""
        self.objects.left = left
        try:
            yield
        except Killed:
            self.objects.left = None
            self.hosts[who].kill()
            self.hosts[who].open()
        finally:
            self.objects.left = None

    @rule(left=LEFT)
    def collect(self, left: int | None) -> None:
        self.objects.left = left
        with contextlib.suppress(Killed):
            garbage.collect(self.objects, KEYS, lambda: self.now, GRACE_S)
        self.objects.left = None

    @rule(seconds=st.sampled_from([1.0, GRACE_S, 3 * GRACE_S]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def everything_is_there(self) -> None:
        for name, host in self.hosts.items():
            assert host.read() == self.roots[name]["head"]
            assert _stored(self.objects, name) in self.durable[name]


def _stored(objects: MortalStore, disk: str) -> Content:
    """What a host finds that has nothing but the store; roots of no content are there as well."""
    try:
        return stored_content(objects, disk)
    except errors.NotFound as error:
        raise AssertionError("a disk is gone") from error


# ---- the rules one by one


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A disk of which chunks 0 to 3 are 1 to 4, two in a segment; all in the store, with a snapshot."""
    monkeypatch.setattr(segment, "MAX_ENTRIES", 2)
    made = _born(MortalStore(), str(tmp_path), A, [])
    for chunk in range(4):
        made.write(chunk, chunk + 1)
    made.send(whole=True)
    yield made
    made.kill()
    os.close(made.delta_fd)


HELD = {chunk: chunk + 1 for chunk in range(4)}


def test_what_is_to_be_sent_again_is_not_evicted_before(host: Host) -> None:
    assert host.disk.warmth.evict(2 * CHUNK) == 2
    assert host.compact() == 4  # those that are cold come back for it
    assert host.disk.warmth.evict(0) == 0
    host.send(whole=False)
    assert stored_content(host.objects, A) == {"head": HELD}
    assert host.disk.warmth.evict(0) == 4
    assert host.read() == HELD


def test_old_segments_go_and_new_ones_are_not_written_again(host: Host) -> None:
    old = {at.stamp for at in host.disk.outbox.stored_places().values()}
    host.compact()
    host.send(whole=True)
    new = {at.stamp for at in host.disk.outbox.stored_places().values()}
    assert old.isdisjoint(new)
    for now in (1000.0, 1000.0 + GRACE_S):
        garbage.collect(host.objects, KEYS, lambda at=now: at, GRACE_S)  # type: ignore[misc]
    left = {names.parse(key) for key in host.objects.objects if "/seg/" in key}
    assert not old & left
    assert stored_content(host.objects, A) == {"head": HELD}
    host.compactor._share = 0.5
    assert host.compact() == 0


def test_it_looks_only_when_there_is_a_new_snapshot(host: Host) -> None:
    host.compact()
    host.send(whole=False)
    before = host.objects.requests
    assert host.compact() == 0
    assert host.objects.requests == before + 1


def test_only_segments_of_which_little_is_left_are_written_again(host: Host) -> None:
    host.compactor._share = 0.6
    host.write(0, 9)
    host.send(whole=True)
    assert [list(slots) for slots in host.compactor.look()] == [[2]]  # slot 1 was chunk 0


def test_what_has_rotted_here_does_not_get_into_the_store(host: Host) -> None:
    with open(os.path.join(host.directory, "slab"), "r+b") as slab:
        slab.seek(2 * CHUNK + 100)
        slab.write(b"rot")
    assert host.compact() == 4
    host.send(whole=False)
    assert stored_content(host.objects, A) == {"head": HELD}
    assert host.read() == HELD


def test_a_chunk_that_cannot_be_had_stays_and_keeps_nobody(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_DEADLINE_S", 0.1)
    host.disk.warmth.evict(0)
    at = host.disk.outbox.stored_places()[3]
    key = names.segment(A, at.stamp)
    data = bytearray(host.objects.objects[key][0])
    data[at.offset + at.length // 2] ^= 1
    host.objects.put(key, bytes(data))
    assert host.compact() == 3
    host.send(whole=False)
    assert host.disk.outbox.stored_places()[3] == at
    into = memoryview(bytearray(CHUNK))
    host.disk.read(CHUNK, into)
    assert into == chunk_of(2)
    with pytest.raises(OSError, match=f"chunk 0 of .*{names.text(at.stamp)}|{names.text(at.stamp)}.*chunk 0") as raised:
        host.disk.read(2 * CHUNK, into)
    assert raised.value.errno == errno.EIO


TestInband = Machine.TestCase
TestInband.settings = hypothesis.settings(
    max_examples=int(os.environ.get("PILOT_GC_EXAMPLES", "60")), stateful_step_count=40, deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip


def test_what_is_read_while_it_is_chosen_to_be_evicted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers without the disk forgets where it was."""
    with fakefuse.FakeFuse() as kernel:
        server = fuse.Server(kernel.fd, host.disk, 1)
        server.start(resend=False)
        before = kernel.read(0, CHUNK)
        assert any(before)
        chill = cache.Cache.chill

        def beside(chosen: cache.Cache, slots: Sequence[int]) -> Sequence[int]:
            assert kernel.read(0, CHUNK) == before
            return chill(chosen, slots)

        monkeypatch.setattr(cache.Cache, "chill", beside)
        assert host.disk.warmth.evict(0)
        assert kernel.read(0, CHUNK) == before
        kernel.end(1)
        assert server.join(10)
