"""Collecting and compacting beside writers, forks, checkpoints, restores and deaths: what a name reaches stays.

Writers here make the log as the format says (`segment`, `snapshot`, `head`), with reused slots and batches of several
segments. Each process stops before every request to the store; hypothesis chooses who goes on, and who dies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pilot import errors
from pilot.volume import layout, names
from pilot.volume.names import Stamp
from pilot.volume.remote.log import codec, encryption, head, segment, sparse
from pilot.volume.remote.objects.store import Entry
from pilot.volume.remote.tending import catalogue, compaction, garbage
from tests.support.logwriter import KEYS, Content, Writer, stored_content
from tests.support.objects import Killed, MemoryStore, Process

GRACE_S = 100.0
CHUNKS = 4


def _ids() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{number:016x}"


class Machine(RuleBasedStateMachine):
    """Up to four volumes; any number of processes under way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.objects = MemoryStore(lambda: self.now)
        self.ids = _ids()
        self.writers: dict[str, Writer] = {}
        self.durable: dict[str, Content] = {}
        self.pending: dict[str, Content] = {}  # of a batch that is under way: it may be durable already
        self.busy: dict[str, Process] = {}
        self.tools: list[Process] = []
        self.value = 0

    def _new(self, lineage: tuple[str, ...] = ()) -> Writer:
        disk = next(self.ids)
        writer = Writer(self.objects, disk, f"v{int(disk, 16)}", lineage)
        self.writers[disk] = writer
        return writer

    def _idle(self, data: st.DataObject) -> Writer | None:
        idle = [disk for disk in self.durable if disk not in self.busy]
        return self.writers[data.draw(st.sampled_from(idle))] if idle else None

    @precondition(lambda self: len(self.writers) < 4)
    @rule()
    def create(self) -> None:
        writer = self._new()
        writer.birth()
        writer.give_name()
        writer.batch(snap=False)
        self.durable[writer.disk] = writer.content(self.writers)

    @rule(
        data=st.data(), writes=st.dictionaries(st.integers(0, CHUNKS - 1), st.just(0), max_size=3), snap=st.booleans()
    )
    def upload(self, data: st.DataObject, writes: dict[int, int], snap: bool) -> None:
        """Change something, and begin to store it."""
        writer = self._idle(data)
        if writer is None:
            return
        for chunk in writes:
            self.value += 1
            writer.write(chunk, self.value)
        self._begin(writer, snap=snap)

    @rule(data=st.data(), snap=st.booleans())
    def send_again(self, data: st.DataObject, snap: bool) -> None:
        """As a holder that compacts its log while it writes."""
        writer = self._idle(data)
        if writer is not None:
            writer.dirty |= writer.values.keys() & writer.used()
            self._begin(writer, snap=snap)

    def _begin(self, writer: Writer, *, snap: bool) -> None:
        disk = writer.disk
        self.pending[disk] = writer.content(self.writers)
        self.busy[disk] = Process(lambda: writer.batch(snap=snap), f"upload {disk}")

    @rule(data=st.data(), snap=st.booleans(), what=st.sampled_from(["checkpoint", "restore", "forget", "trim"]))
    def shuffle(self, data: st.DataObject, snap: bool, what: str) -> None:
        """Checkpoint, restore one, or forget one."""
        writer = self._idle(data)
        if writer is None:
            return
        points = [name for name in writer.roots if name.startswith("checkpoint/")]
        if what == "checkpoint":
            writer.roots[f"checkpoint/{len(points)}{self.value}"] = dict(writer.roots["head"])
        elif what == "trim":
            writer.roots["head"] = {}
        elif points and what == "restore":
            writer.roots["head"] = dict(writer.roots[data.draw(st.sampled_from(points))])
        elif points:
            del writer.roots[data.draw(st.sampled_from(points))]
        self._begin(writer, snap=snap)

    @precondition(lambda self: len(self.writers) < 4)
    @rule(data=st.data(), pinned=st.booleans())
    def fork(self, data: st.DataObject, pinned: bool) -> None:
        """By the holder (which pins first), or by another host, which looks again when its own HEAD is stored."""
        source = self._idle(data)
        if source is None:
            return
        child = self._new((*source.lineage, source.disk))
        if pinned:
            root = dict(source.roots["head"])
            source.roots[f"fork/{child.disk}"] = dict(root)
            source.batch(snap=False)
            self.durable[source.disk] = source.content(self.writers)
        else:
            checkpoints = [name for name in source.roots if name.startswith("checkpoint/")]
            if not checkpoints:
                del self.writers[child.disk]
                return
            root = dict(source.roots[data.draw(st.sampled_from(checkpoints))])

        def be_born() -> None:
            child.birth()
            child.roots["head"] = root
            child.batch(snap=True)
            child.give_name()
            if not pinned and _reachable(self.objects, child.disk) is None:
                self.objects.delete(names.volume(child.name))
                raise errors.NotFound("the source's checkpoint has gone")
            self.durable[child.disk] = child.content(self.writers)

        self.tools.append(Process(be_born, "fork"))

    @rule()
    def collect(self) -> None:
        self.tools.append(Process(lambda: garbage.collect(self.objects, KEYS, lambda: self.now, GRACE_S), "collect"))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        """By a tool that takes the disk over; its writer claims it again before it goes on."""
        writer = self._idle(data)
        if writer is None:
            return
        disk = writer.disk
        process = Process(
            lambda: compaction.compact(self.objects, disk, KEYS, "tool", lambda: self.now, take_over=True, share=0.9),
            "compact",
        )
        self.busy[disk] = process

    @rule(data=st.data(), steps=st.integers(1, 30))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        """Somebody goes on for some requests."""
        process = self._draw_process(data)
        for _ in range(steps if process else 0):
            assert process is not None
            process.step()
        self._reap()

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """Somebody dies."""
        process = self._draw_process(data)
        if process is not None:
            process.kill()
        self._reap()

    def _draw_process(self, data: st.DataObject) -> Process | None:
        processes = [*self.busy.values(), *self.tools]
        return processes[data.draw(st.integers(0, len(processes) - 1))] if processes else None

    @rule(seconds=st.sampled_from([1.0, GRACE_S / 2, GRACE_S, 3 * GRACE_S]))
    def pass_time(self, seconds: float) -> None:
        """Nobody but holders and collectors works from an old HEAD for as long as the grace period."""
        if seconds >= GRACE_S / 2:
            for process in self.tools:
                if process.name == "fork":
                    process.finish()
            self._reap()
        self.now += seconds

    def _reap(self) -> None:
        self.tools = [process for process in self.tools if not self._ended(process)]
        for disk, process in list(self.busy.items()):
            if self._ended(process):
                del self.busy[disk]
                self._after(disk, process)

    @staticmethod
    def _ended(process: Process) -> bool:
        if process.is_done and process.error is not None:
            assert isinstance(process.error, Killed | errors.Conflict | errors.NotFound), repr(process.error)
        return process.is_done

    def _after(self, disk: str, process: Process) -> None:
        """The disk's next holder finds what its last one left."""
        writer = self.writers[disk]
        if disk in self.pending and process.error is None:
            self.durable[disk] = self.pending.pop(disk)
            return
        found = stored_content(self.objects, disk)
        assert found in [self.durable[disk], self.pending.pop(disk, None)]
        # As volumed after a death: it has the local state, claims, and says all of it again.
        writer.take()
        writer.batch(snap=False)
        self.durable[disk] = writer.content(self.writers)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """The name goes; forks stay."""
        writer = self._idle(data)
        if writer is None or len(self.durable) < 2:
            return
        self.objects.delete(names.volume(writer.name))
        del self.durable[writer.disk]

    @invariant()
    def everything_durable_is_there(self) -> None:
        for disk, content in self.durable.items():
            assert stored_content(self.objects, disk) in [content, self.pending.get(disk)]

    def teardown(self) -> None:
        for process in (*self.busy.values(), *self.tools):
            process.finish()
        self._reap()
        for _ in range(10):  # a chain of deleted forks goes one by one, from its end
            self.now += 2 * GRACE_S
            garbage.collect(self.objects, KEYS, lambda: self.now, GRACE_S)
        self.everything_durable_is_there()
        known = catalogue.read(self.objects, KEYS)
        assert not known.broken
        live, lost = known.live()
        assert not lost
        wanted = garbage._Needed(known, live)
        left = [e.key for e in self.objects.list("vol/") if not wanted.is_needed(e.key.split("/")[1], e.key[21:])]
        assert left == []


def _reachable(objects: MemoryStore, disk: str) -> Content | None:
    try:
        return stored_content(objects, disk)
    except (errors.NotFound, codec.Damaged):
        return None


@pytest.fixture(autouse=True, scope="module")
def _small_segments() -> Iterator[None]:
    """Two chunks a segment."""
    patch = pytest.MonkeyPatch()
    patch.setattr(segment, "MAX_ENTRIES", 2)
    yield
    patch.undo()


TestGarbage = Machine.TestCase
TestGarbage.settings = hypothesis.settings(
    max_examples=int(os.environ.get("PILOT_GC_EXAMPLES", "60")), stateful_step_count=40, deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip


# ---- the rules one by one


def _store(clock: list[float]) -> MemoryStore:
    return MemoryStore(lambda: clock[0])


def _volume(objects: MemoryStore, disk: str, lineage: tuple[str, ...] = ()) -> Writer:
    writer = Writer(objects, disk, f"volume-{disk[-1]}", lineage)
    writer.birth()
    writer.give_name()
    writer.batch(snap=False)
    return writer


A, B = "a" * 16, "b" * 16


def _collect(objects: MemoryStore, clock: list[float]) -> garbage.Plan:
    """Two runs, far enough apart."""
    garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S)
    clock[0] += GRACE_S
    return garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S)


def test_only_what_was_condemned_for_the_grace_period_goes() -> None:
    clock = [0.0]
    objects = _store(clock)
    writer = _volume(objects, A)
    for value in (1, 2):
        writer.write(0, value)
        writer.batch(snap=True)
    clock[0] = 10 * GRACE_S  # old, but nobody has seen that it is unneeded
    before = set(objects.objects)
    first = garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S)
    assert first.delete == []
    assert first.condemned
    clock[0] += GRACE_S - 1
    assert garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S).delete == []
    clock[0] += 1
    dry = garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S, dry_run=True)
    assert set(objects.objects) == {*before, garbage.RECORD}
    last = garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S)
    assert set(last.delete) == set(first.condemned) == set(dry.delete)
    assert before - set(objects.objects) == set(last.delete)
    assert stored_content(objects, A) == writer.content({A: writer})


class BehindStore(MemoryStore):
    """Each listing is of the time of the one before."""

    shown: list[Entry] | None = None

    def list(self, prefix: str) -> Iterator[Entry]:
        now = list(super().list(""))
        shown, self.shown = self.shown if self.shown is not None else [], now
        return (entry for entry in shown if entry.key.startswith(prefix))


def test_a_listing_of_before_costs_nothing_that_lives() -> None:
    clock = [0.0]
    objects = BehindStore(lambda: clock[0])
    writer = _volume(objects, A)
    for value in range(1, 8):
        writer.write(0, value)
        writer.batch(snap=value % 2 == 0)
        clock[0] += GRACE_S
        garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S)
        assert stored_content(objects, A) == writer.content({A: writer})
    before = set(objects.objects)
    for _ in range(3):
        clock[0] += GRACE_S
        garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S)
    assert set(objects.objects) < before, "what nobody needs goes all the same"
    assert stored_content(objects, A) == writer.content({A: writer})


def test_a_clock_that_was_years_ahead_delays_nothing() -> None:
    """What it condemned is condemned anew; and it deletes nothing before the grace period of the right time."""
    clock = [0.0]
    objects = _store(clock)
    writer = _volume(objects, A)
    for value in (1, 2):
        writer.write(0, value)
        writer.batch(snap=True)
    first = garbage.collect(objects, KEYS, lambda: 1e9, GRACE_S)
    assert (first.delete, bool(first.condemned)) == ([], True)
    clock[0] = 10 * GRACE_S
    assert garbage.last_run(objects) > clock[0]
    assert garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S).delete == []
    clock[0] += GRACE_S - 1
    assert garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S).delete == []
    clock[0] += 1
    assert set(garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S).delete) == set(first.condemned)
    assert stored_content(objects, A) == writer.content({A: writer})


def test_a_snapshot_that_head_does_not_name_yet_stays() -> None:
    clock = [0.0]
    objects = _store(clock)
    writer = _volume(objects, A)
    writer.batch(snap=True)
    stuck = names.snapshot(A, Stamp(writer.head.epoch, writer.seq))
    objects.put(stuck, b"its holder waits long before it swaps HEAD")
    old = names.snapshot(A, Stamp(writer.head.epoch, 1))
    objects.put(old, b"superseded")
    _collect(objects, clock)
    assert stuck in objects.objects
    assert old not in objects.objects


def test_the_log_of_a_fenced_holder_goes_and_that_of_the_holder_stays() -> None:
    clock = [0.0]
    objects = _store(clock)
    writer = _volume(objects, A)
    writer.take()
    late = names.segment(A, Stamp(writer.head.epoch - 1, writer.seq))
    coming = names.segment(A, Stamp(writer.head.epoch, writer.seq + 7))
    objects.put(late, b"of the one who lost it")
    objects.put(coming, b"of the one who has it")
    assert list(_collect(objects, clock).delete) == [late]
    assert coming in objects.objects


def test_a_deleted_source_stays_until_its_last_fork_goes() -> None:
    clock = [0.0]
    objects = _store(clock)
    source = _volume(objects, A)
    source.write(0, 5)
    source.batch(snap=True)
    fork = Writer(objects, B, "volume-b", (A,))
    fork.birth()
    fork.give_name()
    fork.roots["head"] = dict(source.roots["head"])
    fork.batch(snap=True)
    objects.delete(names.volume(source.name))
    _collect(objects, clock)
    assert stored_content(objects, B) == {"head": {0: 5}}
    objects.delete(names.volume(fork.name))
    for _ in range(2):  # the source is unneeded only once the fork's HEAD has gone
        plan = _collect(objects, clock)
    assert plan.kept == {}
    assert list(objects.objects) == [garbage.RECORD]


@pytest.mark.parametrize("damage", ["log", "head", "key"])
def test_nothing_goes_that_an_unreadable_disk_may_reach(damage: str) -> None:
    clock = [0.0]
    objects = _store(clock)
    source = _volume(objects, A)
    for value in (1, 2):
        source.write(0, value)
        source.batch(snap=True)
    fork = _volume(objects, B, (A,))
    if damage == "log":
        objects.put(names.segment(B, Stamp(fork.head.epoch, 1)), b"x" * 100)
    elif damage == "head":
        objects.put(names.head(B), b"{}")
    else:
        wrapped = encryption.Keyring([bytes(32)]).new_key(B)
        objects.put(
            names.head(B), head.encode(head.Head(disk=B, volume="b", size_bytes=1 << 30, lineage=(A,), key=wrapped))
        )
    before = dict(objects.objects)
    plan = _collect(objects, clock)
    assert plan.delete == []
    assert list(plan.kept) == [B]
    assert before.items() <= objects.objects.items()


def test_a_named_disk_without_head_is_left_to_people() -> None:
    clock = [0.0]
    objects = _store(clock)
    _volume(objects, A)
    objects.delete(names.head(A))
    assert _collect(objects, clock).delete == []
    objects.delete(names.volume("volume-a"))
    _collect(objects, clock)
    assert list(objects.objects) == [garbage.RECORD]


def test_two_runs_at_once_do_not_both_delete() -> None:
    clock = [0.0]
    objects = _store(clock)
    _volume(objects, A)
    runs = [Process(lambda: garbage.collect(objects, KEYS, lambda: clock[0], GRACE_S), "collect") for _ in range(2)]
    while not all(run.is_done for run in runs):
        for run in runs:
            run.step()
    assert sorted(type(run.error).__name__ for run in runs) == ["Conflict", "NoneType"]


def test_a_compacted_volume_reads_the_same_and_takes_less() -> None:
    clock = [0.0]
    objects = _store(clock)
    writer = _volume(objects, A)
    writer.write(0, 1)
    writer.write(1, 2)
    writer.roots["checkpoint/a"] = dict(writer.roots["head"])
    writer.batch(snap=False)
    writer.roots["head"] = {}
    del writer.roots["checkpoint/a"][0]
    writer.batch(snap=True)
    with pytest.raises(errors.StateError, match="holds it"):
        compaction.compact(objects, A, KEYS, "tool", lambda: clock[0], share=0.9)
    done = compaction.compact(objects, A, KEYS, "tool", lambda: clock[0], take_over=True, share=0.9)
    assert done.live_bytes < 0.9 * done.old_bytes
    expected = writer.content({A: writer})
    assert stored_content(objects, A) == expected
    _collect(objects, clock)
    assert stored_content(objects, A) == expected
    assert not {names.segment(A, stamp) for stamp in done.old} & objects.objects.keys()
    assert compaction.compact(objects, A, KEYS, "tool", lambda: clock[0], take_over=True).slots == []


def test_only_segments_before_the_snapshot_with_little_left_are_written_again() -> None:
    described = head.Head(disk=A, volume="a", size_bytes=1 << 30, snapshot=head.SnapshotRef(1, 3, "", 0))
    stamps = [Stamp(1, seq) for seq in range(1, 5)]
    places = {seq: names.Place(Stamp(1, seq), 0, 29 if seq != 2 else 30, 0, b"") for seq in range(1, 5)}
    places[9] = names.Place(stamps[0], 29, 71, 1, b"")
    todo = sparse.plan(described, places, {1, 2, 4}, dict.fromkeys(stamps, 100))
    assert (todo.old, todo.slots, todo.old_bytes, todo.live_bytes) == ([stamps[0]], [1], 100, 29)


def test_a_damaged_chunk_is_not_moved_as_if_it_were_none() -> None:
    clock = [0.0]
    objects = _store(clock)
    writer = _volume(objects, A)
    for chunk in range(2):
        writer.write(chunk, chunk + 1)
    writer.batch(snap=False)
    del writer.roots["head"][0]
    writer.batch(snap=True)
    place = writer.places[layout.number_of(writer.roots["head"][1])]
    key = names.segment(A, place.stamp)
    bad = bytearray(objects.objects[key][0])
    bad[place.offset + 3] ^= 1
    objects.put(key, bytes(bad))
    with pytest.raises(codec.Damaged, match="chunk 1"):
        compaction.compact(objects, A, KEYS, "tool", lambda: clock[0], take_over=True, share=0.9)
    assert bytes(bad) == objects.objects[key][0]
