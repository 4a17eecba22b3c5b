"""Holders of one volume against a store with faults: what recovery finds is always a prefix of what was written, never
shorter than what was confirmed, and nobody confirms anything after another has taken the volume.

Each holder writes batches (its whole content is one number per chunk, in roots, facts and slots alike); crashes between
any two requests, answers that are lost, objects that are stored in part, writes that are confirmed and never done, and
delayed writes of a dead holder are rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilot import errors
from pilot.volume import layout, names
from pilot.volume.books.batch import Batch
from pilot.volume.facts import Facts
from pilot.volume.remote.log import codec, hold, recovery, segment, sending
from pilot.volume.remote.log.head import Head
from tests.support.faulty_store import FaultyStore

DISK = "0123456789abcdef"
PACKER = codec.Codec()
T = TypeVar("T")
SILENCES = st.sampled_from([None, None, None, "lost", "unanswered", "partial"])
FAULTS = SILENCES | st.just("untrue")
SLOTS = st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True)


def _content(number: int) -> bytes:
    return number.to_bytes(4, "little") * (layout.CHUNK_BYTES // 4)


@dataclasses.dataclass
class Holder:
    """A host with the volume's books: what it acknowledged (`history`: states by number), and its sender."""

    name: str
    sender: sending.Sender
    slots: dict[int, int]  # slot → content, as of now
    sent: dict[int, names.Place]
    seq: int
    number: int
    unsent: set[int] = dataclasses.field(default_factory=set)
    pending: Batch | None = None
    pending_slots: dict[int, int] = dataclasses.field(default_factory=dict)
    lost: bool = False

    def read_slot(self, slot: int) -> memoryview:
        return memoryview(_content(self.pending_slots[slot]))


class Later(futures.Future[T]):
    """What is done when somebody wants its result, or another one's."""

    def __init__(self, run: Callable[[], T], want: Callable[[], None]) -> None:
        super().__init__()
        self._run, self._want = run, want

    def run(self) -> None:
        try:
            self.set_result(self._run())
        except errors.PilotError as error:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> T:
        self._want()
        return super().result(timeout)


class AnyOrder(futures.Executor):
    """Does what it is given in reverse order if so told, and perhaps not all of it when it ends: it was killed then."""

    def __init__(self, *, is_reversed: bool, finishes: bool) -> None:
        self._reversed, self._finishes = is_reversed, finishes
        self._pending: list[Later[Any]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        one = Later(lambda: fn(*args, **kwargs), self._do)
        self._pending.append(one)
        return one

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._finishes:
            self._do()

    def _do(self) -> None:
        pending, self._pending = self._pending, []
        for one in reversed(pending) if self._reversed else pending:
            one.run()


class Volume(RuleBasedStateMachine):
    """One volume, hosts that take it from each other."""

    def __init__(self) -> None:
        super().__init__()
        self.objects = FaultyStore()
        self.plan: list[str | None] = []
        self.objects.fault = lambda operation, key: self.plan.pop(0) if self.plan else None
        self.history: dict[int, dict[int, int]] = {0: {}}  # every state ever cut, by its number
        self.confirmed = 0
        self.counter = 0
        self.names = 0
        self.is_reversed = self.finishes = False
        self.holders: list[Holder] = []
        self.small = mock.patch.object(segment, "TARGET_BYTES", 1)  # one chunk per segment: batches of many
        self.small.start()

    def teardown(self) -> None:
        self.small.stop()

    @initialize()
    def born(self) -> None:
        hold.first_head(self.objects, Head(disk=DISK, volume="a", size_bytes=1 << 30))
        held = hold.Hold.resume(self.objects, DISK, "host-0", 0)
        self.holders = [Holder("host-0", self._sender(held), {}, {}, 0, 0)]

    def _sender(self, held: hold.Hold) -> sending.Sender:
        return sending.Sender(held, PACKER, lambda: AnyOrder(is_reversed=self.is_reversed, finishes=self.finishes))

    @property
    def current(self) -> Holder:
        return self.holders[-1]

    @rule(slots=SLOTS, who=st.integers(0, 3))
    def write(self, slots: list[int], who: int) -> None:
        holder = self.holders[who % len(self.holders)]
        for slot in slots:
            self.counter += 1
            holder.slots[slot] = self.counter
            holder.unsent.add(slot)

    @rule(
        faults=st.lists(FAULTS, max_size=5), who=st.integers(0, 3), whole=st.booleans(), is_reversed=st.booleans(),
        finishes=st.booleans(),
    )  # fmt: skip
    def send(self, faults: list[str | None], who: int, *, whole: bool, is_reversed: bool, finishes: bool) -> None:
        """One attempt of one batch; a batch that failed is tried again unchanged."""
        self.is_reversed, self.finishes = is_reversed, finishes
        holder = self.holders[who % len(self.holders)]
        if holder.lost:
            return
        if holder.pending is None:
            holder.pending = self._cut(holder, whole=whole)
        self.plan = list(faults)
        try:
            sent = holder.sender.send(holder.pending, holder)
        except errors.PeerError:
            return
        except hold.Fenced:
            assert holder is not self.current
            holder.lost = True
            return
        finally:
            self.plan = []
        assert holder is self.current, "confirmed by one that had lost the volume"
        holder.sent.update(sent.places)
        holder.seq = sent.seq
        self.confirmed = int(holder.pending.facts.others["number"])
        holder.pending = None

    def _cut(self, holder: Holder, *, whole: bool) -> Batch:
        self.counter += 1
        holder.number = self.counter
        self.history[holder.number] = dict(holder.slots)
        holder.pending_slots = dict(holder.slots)
        slots, holder.unsent = tuple(sorted(holder.unsent)), set()
        old = {slot: at for slot, at in holder.sent.items() if slot not in slots}
        pages = {1: repr(sorted(holder.slots.items())).encode()}
        facts = Facts.parse({"size": str(1 << 30), "number": str(holder.number)})
        root = repr(holder.number).encode()
        return Batch(slots, pages, {"head": root}, facts, 0, 0.0, {} if whole else None, old if whole else None)

    @rule(faults=st.lists(FAULTS, max_size=4))
    def restart(self, faults: list[str | None]) -> None:
        """The holder's worker is killed and comes again, with the books of its disk."""
        holder = self.current
        if holder.pending is not None:
            holder.unsent |= set(holder.pending.slots)
            holder.pending = None
        held = self._faulty(faults, lambda: hold.Hold.resume(self.objects, DISK, holder.name, holder.seq))
        holder.sender = self._sender(held)

    @rule(faults=st.lists(SILENCES, max_size=4))
    def taken_by_another_host(self, faults: list[str | None]) -> None:
        self.names += 1
        name = f"host-{self.names}"
        held = self._faulty(faults, lambda: hold.Hold.take(self.objects, DISK, name))
        books = recovery.Books()
        end = recovery.recover(self.objects, held.head, PACKER, books)
        self._faulty(faults, lambda: held.begin(end.seq + 1))
        slots, number = self._check(books)
        self.confirmed = number  # it is there for good now
        self.holders.append(Holder(name, self._sender(held), slots, dict(books.places), end.seq, number))

    @precondition(lambda self: len(self.holders) > 1)
    @rule(who=st.integers(0, 3))
    def a_loser_cannot_come_back(self, who: int) -> None:
        holder = self.holders[who % (len(self.holders) - 1)]
        with pytest.raises(hold.Fenced):
            hold.Hold.resume(self.objects, DISK, holder.name, holder.seq)

    def _faulty(self, faults: list[str | None], what: Callable[[], hold.Hold | None]) -> hold.Hold:
        """Until the store has answered; the faults come one after the other."""
        self.plan = list(faults)
        while True:
            try:
                done = what()
            except (errors.PeerError, hold.Unkept):
                continue
            self.plan = []
            return done  # type: ignore[return-value]

    def _check(self, books: recovery.Books) -> tuple[dict[int, int], int]:
        """The recovered books are one state that was cut, whole, and none before the last that was confirmed."""
        number = int(books.rows.get("number", "0"))
        assert number >= self.confirmed
        expected = self.history[number]
        for slot, value in expected.items():
            at = books.places[slot]
            stored = self.objects.objects[f"vol/{DISK}/seg/{names.text(at.stamp)}"][0]
            assert segment.decode_chunk(stored[at.offset : at.offset + at.length], at, PACKER) == _content(value)
        if number:
            assert books.roots == {"head": repr(number).encode()}
            assert books.pages[1] == repr(sorted(expected.items())).encode()
        return dict(expected), number

    @invariant()
    def recovery_finds_a_prefix(self) -> None:
        if self.holders:
            self.plan = []
            books = recovery.Books()
            head, _ = hold.read_head(self.objects, DISK)
            recovery.recover(self.objects, head, PACKER, books)
            self._check(books)


TestVolume = Volume.TestCase
TestVolume.settings = hypothesis.settings(
    max_examples=400, stateful_step_count=30, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
