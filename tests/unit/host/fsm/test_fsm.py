"""host.fsm: crashes at every line, resumption, error policy, queues, waiting."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot import errors
from pilot.host.fsm import driver
from pilot.host.fsm.documents import NO_REQUEST, Document, Format, Nothing
from pilot.host.fsm.engine import Engine
from pilot.host.fsm.journal import Record
from pilot.host.fsm.operation import Action, Operation, Run, Transition
from pilot.host.fsm.outcome import Abort, AlreadyActive, Cancelled, Ending, Handoff, Outcome, Stopped, UserFault
from pilot.host.store.database import Database
from pilot.host.store.journal import SqlJournal
from pilot.host.store.sqlite import SqliteDatabase
from pilot.ids import RunId

WAIT_S = 30
TEXT: Format[str] = Format(str)
A, B, C = (Action("k", name, NO_REQUEST) for name in "abc")
MAKE = Action("thing", "make", NO_REQUEST)


def record(*names: str, id: str = "r", action: Action[Nothing] = A, resource: str = "x") -> Record:
    return Record(RunId(id), action.kind, action.name, resource, Document(1, {}), names)


def no_pause(seconds: float) -> None:
    pass


class Crash(BaseException):
    """The process died here: nothing of ours may catch it."""


class Fuse:
    """Burns through at the `at`-th line that it guards."""

    def __init__(self, at: int) -> None:
        self.left = at

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class CrashingJournal(SqlJournal):
    """Dies before or after any write."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database)
        self._fuse = fuse

    def _guard(self, write: Callable[[], None]) -> None:
        self._fuse.burn()
        write()
        self._fuse.burn()

    def begin(self, run: Record) -> None:
        self._guard(lambda: SqlJournal.begin(self, run))

    def completed(self, run: Record, name: str, result: Document) -> None:
        self._guard(lambda: SqlJournal.completed(self, run, name, result))

    def failed(self, run: Record, name: str, attempt: int, error: str) -> None:
        self._guard(lambda: SqlJournal.failed(self, run, name, attempt, error))

    def decided(self, run: Record, outcome: Outcome) -> None:
        self._guard(lambda: SqlJournal.decided(self, run, outcome))

    def finished(self, run: Record) -> None:
        self._guard(lambda: SqlJournal.finished(self, run))


class World:
    """What the transitions change; it outlives the crashes. Each effect is a line of `effects`."""

    def __init__(self, plan: list[str]) -> None:
        self.effects: list[str] = []
        self.settled: list[Ending] = []
        self._plan = plan
        self._failures: dict[str, int] = {}

    def operation(self, fuse: Fuse) -> Operation[Nothing]:
        steps = tuple(Transition(f"t{n}", self._act(f"t{n}", kind, fuse), 3, TEXT) for n, kind in enumerate(self._plan))

        def settle(run: Run[Nothing], outcome: Outcome) -> None:
            fuse.burn()
            self.settled.append(outcome.ending)
            fuse.burn()

        return Operation(MAKE, steps, settle)

    def _act(self, name: str, kind: str, fuse: Fuse) -> Callable[[Run[Nothing]], str]:
        def act(run: Run[Nothing]) -> str:
            fuse.burn()
            self.effects.append(name)
            fuse.burn()
            if kind == "flaky" and self._failures.setdefault(name, 0) < 1:
                self._failures[name] += 1
                raise OSError("flaky")
            if kind == "abort":
                raise Abort("no")
            if kind == "user":
                raise UserFault("your fault", code="invalid")
            return f"result of {name}"

        return act


def _one_life(database: Database, world: World, run: Record | None, at: int) -> Outcome | None:
    """What one process does until it is through, or until its fuse burns."""
    fuse = Fuse(at)
    journal, operation = CrashingJournal(database, fuse), world.operation(fuse)
    try:
        if run is not None:
            journal.begin(run)
        for found in journal.active():
            return driver.drive(found, operation, journal, no_pause)
    except Crash:
        return None
    return None


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    plan=st.lists(st.sampled_from(["ok", "ok", "flaky", "abort", "user"]), min_size=1, max_size=5),
    crashes=st.lists(st.integers(1, 30), max_size=6),
)
def test_a_run_survives_crashes_at_any_line(
    tmp_path_factory: pytest.TempPathFactory, plan: list[str], crashes: list[int]
) -> None:
    database = SqliteDatabase(str(tmp_path_factory.mktemp("fsm") / "state.db"))
    world = World(plan)
    run = record(*world.operation(Fuse(0)).names(), id="r1", action=MAKE)
    wanted = next((n for n, kind in enumerate(plan) if kind in ("abort", "user")), None)
    reached = [f"t{n}" for n in range(len(plan) if wanted is None else wanted + 1)]
    ending = Ending.DONE if wanted is None else {"abort": Ending.ABORTED, "user": Ending.USER_FAULT}[plan[wanted]]

    begun = False
    for at in [*crashes, 10_000]:
        completed_before = _completed(database)
        effects_before = len(world.effects)
        _one_life(database, world, None if begun else run, at)
        assert not set(world.effects[effects_before:]) & completed_before, "a completed transition ran again"
        begun = begun or bool(database.query("SELECT id FROM runs"))

    assert list(dict.fromkeys(world.effects)) == reached, "every transition in order, none past the end"
    found = SqlJournal(database).find(run.id)
    assert found.finished
    assert found.outcome is not None
    assert found.outcome.ending is ending
    assert set(world.settled) == {ending}
    assert SqlJournal(database).active() == []
    assert found.results == {
        name: Document(1, f"result of {name}") for name in reached[: None if wanted is None else -1]
    }
    database.close()


def _completed(database: Database) -> set[str]:
    return {row["name"] for row in database.query("SELECT name FROM transitions WHERE completed = 1")}


def _engine(database: Database, *operations: Operation[Nothing]) -> Engine:
    return Engine(SqlJournal(database), operations)


def test_results_reach_later_transitions_also_after_a_restart(database: Database) -> None:
    seen: list[Any] = []
    run = record("one", "two")
    journal = SqlJournal(database)
    journal.begin(run)
    journal.completed(run, "one", Document(1, "v1"))
    operation = Operation(
        A,
        (
            Transition("one", lambda run: pytest.fail("it was completed"), result=TEXT),
            Transition("two", lambda run: seen.append(dict(run.results))),
        ),
    )
    engine = _engine(database, operation)
    assert engine.resume() == 1
    ended = engine.waiting_for(run.id)
    if ended is not None:
        ended.result(WAIT_S)
    assert engine.close(WAIT_S)
    assert seen == [{"one": "v1"}]


def test_runs_are_resumed_in_their_order_though_the_clock_was_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one resource, of which the second was asked for after the clock had gone back by years; and the third, of
    the next process, by yet another year."""
    ran: list[str] = []
    may_end = threading.Event()

    def act(run: Run[Nothing]) -> None:
        if not may_end.is_set():
            raise OSError("not in this life")
        ran.append(run.action)

    operations = [Operation(action, (Transition("t", act),)) for action in (A, B, C)]
    first = _engine(database, *operations)
    for year, action in ((2030, A), (2020, B)):
        monkeypatch.setattr(time, "time_ns", lambda year=year: (year - 1970) * 31_556_952 * 10**9)
        first.start(action, "x", Nothing())
    assert first.close(WAIT_S)
    monkeypatch.setattr(time, "time_ns", lambda: 40 * 31_556_952 * 10**9)
    may_end.set()
    second = _engine(database, *operations)
    assert second.resume() == 2
    assert second.start(C, "x", Nothing()).result(WAIT_S).done
    assert second.close(WAIT_S)
    assert ran == ["a", "b", "c"]


def test_each_resumed_run_has_its_own_completed_transitions(database: Database) -> None:
    ran: list[tuple[str, str]] = []
    journal = SqlJournal(database)
    for resource, done in (("x", ["one"]), ("y", [])):
        run = record("one", "two", id=f"r-{resource}", resource=resource)
        journal.begin(run)
        for name in done:
            journal.completed(run, name, Document(1, None))
    steps = tuple(Transition(n, lambda run, n=n: ran.append((run.resource, n))) for n in ("one", "two"))  # type: ignore[misc]
    engine = _engine(database, Operation(A, steps))
    engine.resume()
    for resource in ("x", "y"):
        ended = engine.waiting_for(RunId(f"r-{resource}"))
        if ended is not None:
            ended.result(WAIT_S)
    assert sorted(ran) == [("x", "two"), ("y", "one"), ("y", "two")]
    assert engine.close(WAIT_S)


def test_a_name_that_is_no_longer_known_is_skipped(database: Database) -> None:
    run = record("gone", "still")
    ran: list[str] = []
    outcome = driver.drive(
        run,
        Operation(A, (Transition("still", lambda run: ran.append("still")),)),
        _begun(database, run),
        no_pause,
    )
    assert outcome.done
    assert ran == ["still"]


def _begun(database: Database, run: Record) -> SqlJournal:
    journal = SqlJournal(database)
    journal.begin(run)
    return journal


def test_retries_wait_longer_each_time_and_end_when_bounded(database: Database) -> None:
    waits: list[float] = []

    def fail(run: Run[Nothing]) -> None:
        raise OSError("still not")

    run = record("gone")
    operation = Operation(A, (Transition("gone", fail, attempts=9),))
    outcome = driver.drive(run, operation, _begun(database, run), waits.append)
    assert outcome.ending is Ending.ABORTED
    assert outcome.error == "gone: still not"
    assert [wait for wait in waits if wait] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_completion_that_cannot_be_written_repeats_the_transition(database: Database) -> None:
    class FullDisk(SqlJournal):
        broken = 2

        def completed(self, run: Record, name: str, result: Document) -> None:
            if self.broken:
                self.broken -= 1
                raise OSError("disk full")
            super().completed(run, name, result)

    ran: list[int] = []
    run = record("one")
    journal = FullDisk(database)
    journal.begin(run)
    operation = Operation(A, (Transition("one", lambda run: ran.append(1)),))
    assert driver.drive(run, operation, journal, no_pause).done
    assert len(ran) == 3


def test_settle_is_insisted_on_and_cancelling_does_not_skip_it(database: Database) -> None:
    settled: list[Ending] = []

    def settle(run: Run[Nothing], outcome: Outcome) -> None:
        settled.append(outcome.ending)
        if len(settled) < 3:
            raise OSError("not yet")

    def cancelling(seconds: float) -> None:
        raise Cancelled

    run = record("still")
    operation = Operation(A, (Transition("still", lambda run: pytest.fail("cancelled before")),), settle)
    outcome = driver.drive(run, operation, _begun(database, run), cancelling)
    assert outcome.ending is Ending.CANCELLED
    assert settled == [Ending.CANCELLED] * 3


def test_one_active_run_of_a_kind_and_joining_it(database: Database) -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(run: Run[Nothing]) -> None:
        entered.set()
        assert gate.wait(WAIT_S)

    engine = _engine(database, Operation(A, (Transition("hold", hold),)))
    first = engine.start(A, "x", Nothing())
    assert entered.wait(WAIT_S)
    with pytest.raises(AlreadyActive):
        engine.start(A, "x", Nothing())
    joined = engine.join(A, "x", Nothing())
    other = engine.start(A, "y", Nothing())
    gate.set()
    assert first.result(WAIT_S).done
    assert joined is first
    assert other.result(WAIT_S).done
    assert engine.start(A, "x", Nothing()).result(WAIT_S).done
    assert engine.close(WAIT_S)


def test_runs_of_one_resource_follow_one_another(database: Database) -> None:
    running: list[str] = []
    order: list[str] = []

    def act(run: Run[Nothing]) -> None:
        assert not running
        running.append(run.action)
        order.append(run.action)
        running.remove(run.action)

    engine = _engine(database, *(Operation(action, (Transition("t", act),)) for action in (A, B, C)))
    ended = [engine.start(action, "x", Nothing()) for action in (A, B, C)]
    assert all(future.result(WAIT_S).done for future in ended)
    assert order == ["a", "b", "c"]
    assert engine.close(WAIT_S)


def test_cancel_ends_a_run_that_is_retrying(database: Database) -> None:
    tried = threading.Event()

    def fail(run: Run[Nothing]) -> None:
        tried.set()
        raise OSError("never")

    engine = _engine(database, Operation(A, (Transition("t", fail),)))
    ended = engine.start(A, "x", Nothing())
    assert tried.wait(WAIT_S)
    engine.cancel("k", "x")
    assert ended.result(WAIT_S).ending is Ending.CANCELLED
    assert engine.close(WAIT_S)


def test_close_leaves_the_run_to_the_next_process(database: Database) -> None:
    tried, works = threading.Event(), threading.Event()

    def act(run: Run[Nothing]) -> None:
        tried.set()
        if not works.is_set():
            raise OSError("not in this life")

    operation = Operation(A, (Transition("t", act),))
    engine = _engine(database, operation)
    ended = engine.start(A, "x", Nothing())
    assert tried.wait(WAIT_S)
    assert engine.close(WAIT_S)
    with pytest.raises(errors.StateError, match="stopping"):
        ended.result(WAIT_S)
    works.set()
    second = _engine(database, operation)
    run = SqlJournal(database).active()[0]
    assert second.resume() == 1
    resumed = second.waiting_for(run.id)
    assert resumed is None or resumed.result(WAIT_S).done
    assert second.close(WAIT_S)
    assert SqlJournal(database).active() == []


def test_a_handoff_is_waited_through(database: Database) -> None:
    gate = threading.Event()

    def wait(run: Run[Nothing]) -> str:
        assert gate.wait(WAIT_S)
        return "from b"

    engines: list[Engine] = []

    def hand_off(run: Run[Nothing]) -> None:
        engines[0].start(B, "y", Nothing())
        raise Handoff("b does it", engines[0].active()[-1].id)

    engine = _engine(
        database, Operation(A, (Transition("t", hand_off),)), Operation(B, (Transition("t", wait, result=TEXT),))
    )
    engines.append(engine)
    ended = engine.start(A, "x", Nothing())
    gate.set()
    outcome = ended.result(WAIT_S)
    assert (outcome.ending, outcome.results) == (Ending.DONE, {"t": "from b"})
    assert engine.close(WAIT_S)


def test_stopped_leaves_the_record_as_it_is(database: Database) -> None:
    def stopping(seconds: float) -> None:
        raise Stopped

    run = record("still")
    journal = _begun(database, run)
    with pytest.raises(Stopped):
        driver.drive(run, Operation(A, (Transition("still", lambda r: None),)), journal, stopping)
    assert journal.find(run.id).outcome is None


class Sized(msgspec.Struct, frozen=True):
    size_bytes: int


SIZED: Format[Sized] = Format(Sized, (lambda old: {"size_bytes": old["mib"] << 20},))


def _drive_stored(database: Database, request: Document, seen: list[Any]) -> Outcome:
    sized = Action("k", "sized", SIZED)

    def act(run: Run[Sized]) -> Sized:
        seen.append(run.request)
        return run.find(Sized) or run.request

    steps = (Transition("one", act, result=SIZED), Transition("two", act, result=SIZED))
    stored = dataclasses.replace(record("one", "two"), action="sized", request=request)
    SqlJournal(database).begin(stored)
    [found] = SqlJournal(database).active()
    return driver.drive(found, Operation(sized, steps), SqlJournal(database), no_pause)


def test_a_request_of_an_earlier_format_is_read_as_what_it_became(database: Database) -> None:
    seen: list[Any] = []
    outcome = _drive_stored(database, Document(1, {"mib": 2}), seen)
    assert seen == [Sized(2 << 20)] * 2
    assert outcome.result(Sized) == Sized(2 << 20)
    assert SqlJournal(database).find(RunId("r")).results["one"] == Document(2, {"size_bytes": 2 << 20})


@pytest.mark.parametrize("request_", [Document(3, {}), Document(2, {"size_bytes": "large"}), Document(2, {})])
def test_a_request_that_is_not_understood_is_left_alone(database: Database, request_: Document) -> None:
    seen: list[Any] = []
    with pytest.raises(errors.HostError, match="format"):
        _drive_stored(database, request_, seen)
    assert seen == []
    assert [found.outcome for found in SqlJournal(database).active()] == [None], "it waits for who understands it"


PARTS = Action("part", "make", NO_REQUEST)


def test_so_many_of_a_kind_at_once_and_first_come_first_served(database: Database) -> None:
    gate, going, order = threading.Event(), threading.Semaphore(0), []
    at_once: list[int] = []
    running: set[str] = set()
    lock = threading.Lock()

    def act(run: Run[Nothing]) -> None:
        with lock:
            running.add(run.resource)
            order.append(run.resource)
            at_once.append(len(running))
        going.release()
        assert gate.wait(WAIT_S)
        with lock:
            running.discard(run.resource)

    operations = (Operation(A, (Transition("t", act),)), Operation(PARTS, (Transition("t", lambda run: None),)))
    engine = Engine(SqlJournal(database), operations, {"k": 2})
    ended = [engine.start(A, f"r{n}", Nothing()) for n in range(6)]
    for _ in range(2):
        assert going.acquire(timeout=WAIT_S)
    assert engine.start(PARTS, "p", Nothing()).result(WAIT_S).done, "another kind does not wait"
    assert sorted(order) == ["r0", "r1"]
    gate.set()
    assert all(future.result(WAIT_S).done for future in ended)
    assert max(at_once) == 2
    assert [sorted(order[:2]), set(order[2:])] == [["r0", "r1"], {"r2", "r3", "r4", "r5"}]
    assert engine.close(WAIT_S)


def test_close_waits_for_a_thread_that_is_being_started(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    starting, gate, begin = threading.Event(), threading.Event(), threading.Thread.start

    def slow(thread: threading.Thread) -> None:
        if thread.name.startswith("run-"):
            starting.set()
            assert gate.wait(WAIT_S)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", slow)
    engine = Engine(SqlJournal(database), [Operation(A, (Transition("t", lambda run: None),))])
    starter = threading.Thread(target=lambda: engine.start(A, "r", Nothing()))
    starter.start()
    assert starting.wait(WAIT_S)
    threading.Timer(0.05, gate.set).start()
    assert engine.close(WAIT_S)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run-")]
    starter.join(WAIT_S)


def _without_threads(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    """So many times no run's thread can be begun: as with a cgroup, or an address space, that is full."""
    begin, refused = threading.Thread.start, iter(range(int(min(times, 1e9))))

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("run-") and next(refused, None) is not None:
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


def test_a_run_that_got_no_thread_gets_one_later(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(SqlJournal(database), [Operation(A, (Transition("t", lambda run: None),))], {"k": 1})
    _without_threads(monkeypatch, 2)
    assert [engine.start(A, f"r{n}", Nothing()).result(WAIT_S).done for n in range(2)] == [True, True]
    assert engine.close(WAIT_S)
    assert SqlJournal(database).active() == []


def test_close_ends_the_wait_for_a_run_that_got_no_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(SqlJournal(database), [Operation(A, (Transition("t", lambda run: None),))], {"k": 1})
    _without_threads(monkeypatch, float("inf"))
    ended = [engine.start(A, f"r{n}", Nothing()) for n in range(3)]
    assert engine.close(WAIT_S)
    for each in ended:
        with pytest.raises(errors.StateError, match="stopping"):
            each.result(WAIT_S)
    assert len(SqlJournal(database).active()) == 3, "they are the next process's"


def test_one_that_pauses_lets_others_by(database: Database) -> None:
    tried = threading.Event()
    works = threading.Event()

    def act(run: Run[Nothing]) -> None:
        tried.set()
        if run.resource == "stuck" and not works.is_set():
            raise OSError("not yet")

    engine = Engine(SqlJournal(database), [Operation(A, (Transition("t", act),))], {"k": 1})
    stuck = engine.start(A, "stuck", Nothing())
    assert tried.wait(WAIT_S)
    assert engine.start(A, "other", Nothing()).result(WAIT_S).done
    assert not stuck.done()
    works.set()
    assert stuck.result(WAIT_S).done
    assert engine.close(WAIT_S)


def test_what_waits_for_its_turn_is_left_to_the_next_process(database: Database) -> None:
    entered, gate = threading.Event(), threading.Event()

    def act(run: Run[Nothing]) -> None:
        entered.set()
        assert gate.wait(WAIT_S)

    engine = Engine(SqlJournal(database), [Operation(A, (Transition("t", act), Transition("u", act)))], {"k": 1})
    ended = [engine.start(A, f"r{n}", Nothing()) for n in range(5)]
    assert entered.wait(WAIT_S)
    threading.Timer(0.05, gate.set).start()
    assert engine.close(WAIT_S)
    assert all(future.done() for future in ended), "nobody waits for ever"
    assert len(SqlJournal(database).active()) == 5


class Family:
    """A parent of two children, whose lives may end at any line."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.told: list[str] = []

    def engine(self, journal: SqlJournal, fuse: Fuse, caps: dict[str, int]) -> Engine:
        engines: list[Engine] = []

        def make(run: Run[Nothing]) -> str:
            fuse.burn()
            self.made.append(run.resource)
            fuse.burn()
            return f"made {run.resource}"

        def parts(run: Run[Nothing]) -> None:
            self.told = [engines[0].child(run, PARTS, name, Nothing()).result(str) for name in ("left", "right")]

        operations = (
            Operation(MAKE, (Transition("parts", parts),)),
            Operation(PARTS, (Transition("make", make, result=TEXT),)),
        )
        engines.append(Engine(journal, operations, caps))
        return engines[0]


@pytest.mark.parametrize("at", [*range(1, 30), 10_000])
def test_children_survive_a_crash_at_any_line(database: Database, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CHILD_PAUSE_S", 0.05)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)  # the threads that "die" here say nothing
    family, fuse = Family(), Fuse(at)
    first = family.engine(CrashingJournal(database, fuse), fuse, {"thing": 1, "part": 1})
    try:
        ended = first.start(MAKE, "x", Nothing())
        concurrent.futures.wait([ended], 0.5)
    except Crash:
        pass
    first.close(0.5)
    made_before = list(family.made)

    second = family.engine(SqlJournal(database), Fuse(0), {"thing": 1, "part": 1})
    second.resume()
    if not SqlJournal(database).active() and not database.query(
        "SELECT id FROM runs WHERE action = 'make' AND parent IS NULL"
    ):
        second.start(MAKE, "x", Nothing())
    while active := second.active():
        if (waiting := second.waiting_for(active[0].id)) is not None:
            assert waiting.result(WAIT_S).done
    assert second.close(WAIT_S)
    assert family.told == ["made left", "made right"]
    rows = database.query(
        "SELECT resource, parent, count(*) AS n FROM runs WHERE kind = 'part' GROUP BY resource, parent"
    )
    assert sorted((row["resource"], row["n"]) for row in rows) == [("left", 1), ("right", 1)], "none is begun twice"
    assert len(family.made) - len(made_before) <= 2


def test_a_parent_that_is_resumed_hears_of_its_childrens_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those that were journalled after it: nobody comes to ask again before the test is over."""
    monkeypatch.setattr(driver, "CHILD_PAUSE_S", 100 * WAIT_S)
    engines: list[Engine] = []
    begun, go_on = threading.Event(), threading.Event()

    def part(run: Run[Nothing]) -> str:
        begun.set()
        if not go_on.is_set():
            raise OSError("not yet")
        return f"made {run.resource}"

    def parts(run: Run[Nothing]) -> None:
        for name in ("left", "right"):
            engines[-1].child(run, PARTS, name, Nothing())

    operations = (
        Operation(MAKE, (Transition("parts", parts),)),
        Operation(PARTS, (Transition("make", part, None, TEXT),)),
    )
    engines.append(Engine(SqlJournal(database), operations))
    engines[0].start(MAKE, "x", Nothing())
    assert begun.wait(WAIT_S)
    assert engines[0].close(WAIT_S)
    go_on.set()
    engines.append(Engine(SqlJournal(database), operations))
    assert engines[1].resume() == 2
    for record in SqlJournal(database).active():
        if (ended := engines[1].waiting_for(record.id)) is not None:
            assert ended.result(WAIT_S).done
    assert engines[1].close(WAIT_S)
    assert SqlJournal(database).active() == []


def test_cancelling_a_parent_cancels_its_children(database: Database) -> None:
    tried = threading.Event()

    def fail(run: Run[Nothing]) -> None:
        tried.set()
        raise OSError("never")

    engines: list[Engine] = []

    def parts(run: Run[Nothing]) -> None:
        engines[0].child(run, PARTS, "left", Nothing())

    engines.append(
        Engine(
            SqlJournal(database),
            (Operation(MAKE, (Transition("parts", parts),)), Operation(PARTS, (Transition("t", fail),))),
        )
    )
    ended = engines[0].start(MAKE, "x", Nothing())
    assert tried.wait(WAIT_S)
    engines[0].cancel("thing", "x")
    assert ended.result(WAIT_S).ending is Ending.CANCELLED
    for record in engines[0].active():
        if (waiting := engines[0].waiting_for(record.id)) is not None:
            assert waiting.result(WAIT_S).ending is Ending.CANCELLED
    assert engines[0].close(WAIT_S)


def test_a_child_that_would_wait_behind_its_parent_is_refused(database: Database) -> None:
    engines: list[Engine] = []

    def parts(run: Run[Nothing]) -> None:
        engines[0].child(run, B, "x", Nothing())

    engines.append(_engine(database, Operation(A, (Transition("t", parts),)), Operation(B, ())))
    assert engines[0].start(A, "x", Nothing()).result(WAIT_S).ending is Ending.ABORTED
    assert engines[0].close(WAIT_S)
