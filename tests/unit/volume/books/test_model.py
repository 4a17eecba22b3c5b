"""The pure books against an oracle, with power losses between any two steps.

The slab of this model keeps what is volatile apart from what is stable: a crash loses any part of the writes since the
last sync. After a crash each chunk must hold what the last completed flush had, or something written later; checkpoints
and forks must hold exactly what they held.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pilot import errors
from pilot.ids import CheckpointId
from pilot.volume import layout
from pilot.volume.books import delta, ledger, map, slots
from pilot.volume.checkpoint import Checkpoint
from pilot.volume.facts import Facts

SIZE_BYTES = 3 * layout.PAGE_ENTRIES * layout.CHUNK_BYTES
CHUNKS = st.sampled_from([0, 1, 2, 3, 1022, 1023, 1024, 1025, 2047, 3071])
SPANS = st.tuples(st.sampled_from([0, 1, 1000, 1023, 1024, 2040]), st.sampled_from([1, 2, 30, 1031]))


def _new_log() -> delta.DeltaLog:
    fd = delta.create()
    try:
        return delta.DeltaLog(fd)
    finally:
        os.close(fd)


def _save(books: ledger.Ledger, name: str) -> None:
    """A checkpoint as the disk takes one: a root, and what is known of it."""
    books.pin(name)
    books.facts = books.facts.with_checkpoint(Checkpoint(CheckpointId(name.partition("/")[2]), 1, 0.0, None, 0.0, True))


class FakeImage:
    """`ledger.Image` in memory."""

    def __init__(self, root: bytes) -> None:
        self._facts: dict[str, str] = {}
        self._roots = {ledger.HEAD: root}
        self._pages: dict[int, bytes] = {}

    def facts(self) -> Facts:
        return Facts.parse(self._facts)

    def roots(self) -> dict[str, bytes]:
        return dict(self._roots)

    def page(self, number: int) -> bytes:
        return self._pages[number]

    def page_numbers(self) -> set[int]:
        return set(self._pages)

    def placed(self) -> list[int]:
        return []

    def forget_places(self, slots: Iterable[int]) -> None:
        assert list(slots) == []

    def commit(self, commit: ledger.Commit) -> None:
        self._pages.update(commit.pages)
        self._roots.update(commit.roots)
        for name in commit.dropped_roots:
            self._roots.pop(name, None)
        for number in commit.dropped_pages:
            self._pages.pop(number, None)
        for key, value in commit.facts.items():
            if value is None:
                self._facts.pop(key, None)
            else:
                self._facts[key] = value


@dataclasses.dataclass
class FakeSlab:
    """Slot → content; `volatile` are the writes since the last sync, `sync` makes them stable. 0 is a hole."""

    stable: dict[int, int] = dataclasses.field(default_factory=dict)
    volatile: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def get(self, slot: int) -> int:
        return next((value for number, value in reversed(self.volatile) if number == slot), self.stable.get(slot, 0))

    def crash(self, kept: list[bool]) -> None:
        for (slot, value), keep in zip(self.volatile, kept * len(self.volatile), strict=False):
            if keep:
                self.stable[slot] = value
        self.volatile.clear()

    def sync(self) -> None:
        self.stable.update(self.volatile)
        self.volatile.clear()


class Model:
    """One disk as `disk.Disk` drives the ledger, beside what it ought to hold."""

    def __init__(self, lineage: list[Model], root: bytes, content: dict[int, int]) -> None:
        self.lineage = lineage
        self.image = FakeImage(root)
        self.slab = FakeSlab()
        self.content = dict(content)
        self.allowed: dict[int, set[int]] = {}  # since the last flush, beside `flushed`
        self.flushed = dict(content)
        self.named: dict[str, dict[int, int]] = {}
        self.log = _new_log()
        self.open()

    def open(self) -> None:
        self.books = ledger.Ledger(self.image, len(self.lineage), self._load_ancestor, self.log.changes)
        self.log.reset(self.books.era) if self.log.era != self.books.era else None
        for first, count in self.books.slots.free_runs():
            self._punch(range(first, first + count))
        beyond = {*self.slab.stable, *(slot for slot, _ in self.slab.volatile)}
        self._punch([slot for slot in beyond if self.books.slots.state(slot) == slots.SlotState.FREE])

    def _load_ancestor(self, at: int) -> bytes:
        return self.lineage[layout.depth_of(at)].image.page(layout.number_of(at))

    def _punch(self, numbers: range | list[int] | tuple[int, ...]) -> None:
        self.slab.volatile = [(slot, value) for slot, value in self.slab.volatile if slot not in numbers]
        for slot in numbers:
            self.slab.stable.pop(slot, None)

    def value(self, at: int) -> int:
        if at == layout.HOLE:
            return 0
        owner = [*self.lineage, self][layout.depth_of(at)]
        return owner.slab.get(layout.number_of(at))

    def read(self, chunk: int, root: bytes | None = None) -> int:
        chunks = self.books.map if root is None else map.ChunkMap(root, len(self.lineage), self.books._load)
        return self.value(chunks.places(chunk, 1)[0])

    def write(self, chunk: int, value: int) -> None:
        at = self.books.places(chunk, 1)[0]
        target = self.books.target(chunk, at)
        if target.source is not None:
            assert self.slab.get(target.slot) == 0, "a slot was given out that is no hole"
        self.slab.volatile.append((target.slot, value))
        if target.source is not None:
            self.log.append(delta.Change(chunk, 1, layout.place(len(self.lineage), target.slot)))
            self.books.publish(chunk, at, target.slot)
        self._wrote(chunk, value)

    def _wrote(self, chunk: int, value: int) -> None:
        self.content[chunk] = value
        self.allowed.setdefault(chunk, set()).add(value)

    def trim(self, first: int, count: int) -> None:
        count = min(count, 3 * layout.PAGE_ENTRIES - first)
        if self.books.trim(first, count):
            self.log.append(delta.Change(first, count, layout.HOLE))
        for chunk in [chunk for chunk in self.content if first <= chunk < first + count]:
            self._wrote(chunk, 0)

    def commit(self, crash: int = 9) -> bool:
        """A flush that loses power after step `crash`; whether it came to its end."""
        commit = self.books.take()
        position = self.log.position
        if crash == 0:
            return False
        self.slab.sync()
        if crash == 1:
            return False
        self.image.commit(commit)
        self.books.stored(commit)
        self.flushed, self.allowed = dict(self.content), {}
        if crash == 2:
            return False
        if self.log.era == self.books.era:
            self.log.drop_until(position)
        else:
            self.log.reset(self.books.era)
        self._punch(commit.retired)
        self.books.slots.free(commit.retired)
        return True

    def be_killed(self) -> None:
        """kill -9: files and the log of changes stay, what was in this process goes."""
        self.open()

    def lose_power(self, kept: list[bool]) -> None:
        self.slab.crash(kept)
        self.log = _new_log()
        self.open()
        for chunk in {*self.content, *self.flushed}:
            found = self.read(chunk)
            assert found in {self.flushed.get(chunk, 0), *self.allowed.get(chunk, ())}
            self.content[chunk] = found
        self.allowed = {}
        self.flushed = dict(self.content)

    def check(self) -> None:
        for chunk, value in self.content.items():
            assert self.read(chunk) == value
        for name, content in self.named.items():
            for chunk in {*content, *self.content}:
                assert self.read(chunk, self.books.root(name)) == content.get(chunk, 0)


class Lineages(RuleBasedStateMachine):
    """Disks and their forks; deletes come when no fork needs the disk."""

    disks = Bundle("disks")
    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[Model] = []
        self.counter = 0

    def _number(self) -> int:
        self.counter += 1
        return self.counter

    @rule(target=disks)
    def create(self) -> Model:
        model = Model([], map.empty_root(SIZE_BYTES), {})
        self.alive.append(model)
        return model

    @rule(disk=disks, chunk=CHUNKS)
    def write(self, disk: Model, chunk: int) -> None:
        disk.write(chunk, self._number())

    @rule(disk=disks, span=SPANS)
    def trim(self, disk: Model, span: tuple[int, int]) -> None:
        disk.trim(*span)

    @rule(disk=disks)
    def flush(self, disk: Model) -> None:
        assert disk.commit()

    @rule(disk=disks)
    def generation(self, disk: Model) -> None:
        disk.books.cut()

    @rule(target=names, disk=disks, between=st.lists(CHUNKS, max_size=4))
    def checkpoint(self, disk: Model, between: list[int]) -> tuple[Model, str]:
        name = f"checkpoint/{self._number()}"
        _save(disk.books, name)
        disk.named[name] = dict(disk.content)
        for chunk in between:  # writers run again before the checkpoint is stored
            disk.write(chunk, self._number())
        assert disk.commit()
        return disk, name

    @rule(named=names)
    def restore(self, named: tuple[Model, str]) -> None:
        disk, name = named
        disk.books.restore(name)
        for chunk in {*disk.content, *disk.named[name]}:
            disk._wrote(chunk, disk.named[name].get(chunk, 0))
        assert disk.commit()
        disk.books.sweep()
        assert disk.commit()

    @rule(named=names, step=st.integers(0, 2), before=CHUNKS)
    def killed_while_restoring(self, named: tuple[Model, str], step: int, before: int) -> None:
        disk, name = named
        disk.write(before, self._number())
        disk.books.restore(name)
        disk.commit(crash=step)
        if step == 2:  # stored: the head is the checkpoint's, whatever was noted before
            for chunk in {*disk.content, *disk.named[name]}:
                disk._wrote(chunk, disk.named[name].get(chunk, 0))
            disk.flushed, disk.allowed = dict(disk.content), {}
        disk.be_killed()

    @rule(named=consumes(names))
    def delete_checkpoint(self, named: tuple[Model, str]) -> None:
        disk, name = named
        disk.books.unpin(name)
        del disk.named[name]
        assert disk.commit()
        disk.books.sweep()
        assert disk.commit()

    @rule(target=disks, disk=disks, uncommitted=CHUNKS)
    def fork(self, disk: Model, uncommitted: int) -> Model:
        disk.write(uncommitted, self._number())
        name = f"fork/{self._number()}"
        root = disk.books.pin(name)
        disk.named[name] = dict(disk.content)
        assert disk.commit()
        child = Model([*disk.lineage, disk], root, disk.content)
        self.alive.append(child)
        return child

    @rule(target=disks, named=names)
    def fork_of_a_checkpoint(self, named: tuple[Model, str]) -> Model:
        disk, checkpoint = named
        name = f"fork/{self._number()}"
        root = disk.books.pin(name, checkpoint)
        disk.named[name] = dict(disk.named[checkpoint])
        assert disk.commit()
        child = Model([*disk.lineage, disk], root, disk.named[checkpoint])
        self.alive.append(child)
        return child

    @rule(disk=disks, step=st.integers(0, 2), kept=st.lists(st.booleans(), min_size=1, max_size=5))
    def lose_power(self, disk: Model, step: int, kept: list[bool]) -> None:
        disk.commit(crash=step)
        disk.lose_power(kept)

    @rule(disk=disks, step=st.integers(0, 3), chunk=CHUNKS)
    def kill(self, disk: Model, step: int, chunk: int) -> None:
        disk.commit(crash=step)
        disk.write(chunk, self._number())
        disk.be_killed()

    @rule(disk=disks, chunk=CHUNKS)
    def failed_commit(self, disk: Model, chunk: int) -> None:
        disk.write(chunk, self._number())
        disk.books.not_stored(disk.books.take())

    @invariant()
    def every_disk_holds_what_it_should(self) -> None:
        for disk in self.alive:
            disk.check()

    @invariant()
    def used_slots_are_named_or_waiting(self) -> None:
        for disk in self.alive:
            own = {disk.books.own_slot(at) for _, at in disk.books.map.mapped(0, 3 * layout.PAGE_ENTRIES)} - {None}
            free = [slot for slot in own if slot and disk.books.slots.state(slot) == slots.SlotState.FREE]
            assert not free


@pytest.fixture(autouse=True)
def _few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are dropped and loaded again all the time."""
    monkeypatch.setattr(map, "_KEPT_PAGES", 1)


TestLineages = Lineages.TestCase
TestLineages.settings = hypothesis.settings(
    max_examples=400, stateful_step_count=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)


def test_sweep_frees_what_only_a_deleted_checkpoint_held() -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    for chunk in range(5):
        model.write(chunk, 1)
    model.books.pin("checkpoint/a")
    model.commit()
    for chunk in range(5):
        model.write(chunk, 2)
    model.commit()
    assert model.books.slots.count_used() == 10
    model.books.unpin("checkpoint/a")
    model.commit()
    assert model.books.sweep() == 5
    model.commit()
    assert model.books.slots.count_used() == 5
    assert len(model.image.page_numbers()) == 1


def test_what_no_checkpoint_names_is_freed_at_the_next_flush() -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    for value in range(1, 6):
        model.write(7, value)
        model.books.cut()
        model.commit()
    assert model.books.slots.count_used() == 1


@pytest.mark.parametrize("is_trimmed", [True, False])
def test_what_was_written_before_the_disk_was_opened_again_is_freed_at_the_next_flush(is_trimmed: bool) -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    for chunk in range(5):
        model.write(chunk, 1)
    _save(model.books, "checkpoint/a")
    model.named["checkpoint/a"] = dict(model.content)
    for chunk in range(3, 9):
        model.write(chunk, 2)
    model.commit()
    model.open()
    assert model.books.slots.count_used() == 5 + 6
    if is_trimmed:
        model.trim(0, 20)
    else:
        for chunk in range(9):
            model.write(chunk, 3)
    model.commit()
    model.check()
    assert model.books.slots.count_used() == 5 + (0 if is_trimmed else 9), "the checkpoint's, and what is there now"


def test_what_no_checkpoint_names_any_more_is_freed_when_the_head_goes_on() -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    for name in ("checkpoint/a", "checkpoint/b"):
        for chunk in range(5):
            model.write(chunk, 1)
        model.books.pin(name)
        model.commit()
    model.write(0, 2)
    model.commit()
    model.books.unpin("checkpoint/b")
    model.commit()
    assert model.books.sweep() == 1, "a has five of its own"
    model.trim(0, 20)
    model.commit()
    assert model.books.slots.count_used() == 5


def test_a_fork_of_a_checkpoint_keeps_nothing_that_only_the_head_has() -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    model.write(0, 1)
    model.books.pin("checkpoint/a")
    model.commit()
    model.write(1, 2)
    model.books.pin("fork/f", "checkpoint/a")
    model.commit()
    model.trim(0, 20)
    model.commit()
    assert model.books.slots.count_used() == 1, "the checkpoint's"


def test_writes_of_one_generation_stay_in_place() -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    for value in range(1, 100):
        model.write(7, value)
    assert model.books.slots.count_used() == 1


def test_a_taken_name_is_a_conflict_and_an_unknown_one_is_not_found() -> None:
    books = Model([], map.empty_root(SIZE_BYTES), {}).books
    books.pin("checkpoint/a")
    with pytest.raises(errors.Conflict):
        books.pin("checkpoint/a")
    with pytest.raises(errors.NotFound):
        books.restore("checkpoint/b")
    with pytest.raises(errors.NotFound):
        books.unpin("checkpoint/b")


def test_a_failed_commit_takes_back_the_new_name() -> None:
    model = Model([], map.empty_root(SIZE_BYTES), {})
    _save(model.books, "checkpoint/a")
    model.books.not_stored(model.books.take())
    assert not model.books.roots
    assert not model.books.facts.checkpoints
    _save(model.books, "checkpoint/a")
    assert model.commit()
    assert model.image.roots().keys() == {"head", "checkpoint/a"}


def test_slots_past_the_end_are_appended_and_freed_ones_come_first() -> None:
    books = slots.Slots([1, 2, 4])
    assert [books.allocate(), books.allocate()] == [3, 5]
    books.release(3)
    assert books.state(3) == slots.SlotState.RETIRED
    assert books.take_retired() == [3]
    assert books.allocate() == 6
    books.free([3])
    assert books.allocate() == 3
