"""host.fsm: crashes at every line, resumption, error policy, queues, waiting."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot import errors
from pilot.host.fsm import driver
from pilot.host.fsm.engine import Engine
from pilot.host.fsm.journal import Record
from pilot.host.fsm.operation import Operation, Run, Transition
from pilot.host.fsm.outcome import Abort, AlreadyActive, Cancelled, Ending, Handoff, Outcome, Stopped, UserFault
from pilot.host.store.database import Database
from pilot.host.store.journal import SqlJournal
from pilot.ids import RunId

WAIT_S = 30


@pytest.fixture
def database(tmp_path: pathlib.Path) -> Iterator[Database]:
    made = Database(str(tmp_path / "state.db"))
    yield made
    made.close()


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

    def begin(self, run: Run, names: Sequence[str]) -> None:
        self._guard(lambda: SqlJournal.begin(self, run, names))

    def completed(self, run: Run, name: str, result: Any) -> None:
        self._guard(lambda: SqlJournal.completed(self, run, name, result))

    def failed(self, run: Run, name: str, attempt: int, error: str) -> None:
        self._guard(lambda: SqlJournal.failed(self, run, name, attempt, error))

    def decided(self, run: Run, outcome: Outcome) -> None:
        self._guard(lambda: SqlJournal.decided(self, run, outcome))

    def finished(self, run: Run) -> None:
        self._guard(lambda: SqlJournal.finished(self, run))


class World:
    """What the transitions change; it outlives the crashes. Each effect is a line of `effects`."""

    def __init__(self, plan: list[str]) -> None:
        self.effects: list[str] = []
        self.settled: list[Ending] = []
        self._plan = plan
        self._failures: dict[str, int] = {}

    def operation(self, fuse: Fuse) -> Operation:
        steps = tuple(Transition(f"t{n}", self._act(f"t{n}", kind, fuse), 3) for n, kind in enumerate(self._plan))

        def settle(run: Run, outcome: Outcome) -> None:
            fuse.burn()
            self.settled.append(outcome.ending)
            fuse.burn()

        return Operation("thing", "make", steps, settle)

    def _act(self, name: str, kind: str, fuse: Fuse) -> Callable[[Run], str]:
        def act(run: Run) -> str:
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


def _one_life(database: Database, world: World, run: Run | None, at: int) -> Outcome | None:
    """What one process does until it is through, or until its fuse burns."""
    fuse = Fuse(at)
    journal, operation = CrashingJournal(database, fuse), world.operation(fuse)
    try:
        if run is not None:
            journal.begin(run, operation.names())
        for record in journal.active():
            return driver.drive(record, operation, journal, no_pause)
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
    database = Database(str(tmp_path_factory.mktemp("fsm") / "state.db"))
    world, run = World(plan), Run(RunId("r1"), "thing", "make", "x", {"size": 1})
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
    record = SqlJournal(database).find(run.id)
    assert record.finished
    assert record.outcome is not None
    assert record.outcome.ending is ending
    assert set(world.settled) == {ending}
    assert SqlJournal(database).active() == []
    kept = {name: record.run.results[name] for name in record.completed}
    assert kept == {name: f"result of {name}" for name in reached[: None if wanted is None else -1]}
    database.close()


def _completed(database: Database) -> set[str]:
    return {row["name"] for row in database.query("SELECT name FROM transitions WHERE completed = 1")}


def _engine(database: Database, *operations: Operation) -> Engine:
    return Engine(SqlJournal(database), operations)


def test_results_reach_later_transitions_also_after_a_restart(database: Database) -> None:
    seen: list[Any] = []
    run = Run(RunId("r"), "k", "a", "x", {})
    journal = SqlJournal(database)
    journal.begin(run, ("one", "two"))
    journal.completed(run, "one", {"id": "v1"})
    operation = Operation(
        "k",
        "a",
        (
            Transition("one", lambda run: pytest.fail("it was completed")),
            Transition("two", lambda run: seen.append(dict(run.results))),
        ),
    )
    engine = _engine(database, operation)
    assert engine.resume() == 1
    ended = engine.waiting_for(run.id)
    if ended is not None:
        ended.result(WAIT_S)
    assert engine.close(WAIT_S)
    assert seen == [{"one": {"id": "v1"}}]


def test_each_resumed_run_has_its_own_completed_transitions(database: Database) -> None:
    ran: list[tuple[str, str]] = []
    journal = SqlJournal(database)
    for resource, done in (("x", ["one"]), ("y", [])):
        run = Run(RunId(f"r-{resource}"), "k", "a", resource, {})
        journal.begin(run, ("one", "two"))
        for name in done:
            journal.completed(run, name, None)
    steps = tuple(Transition(n, lambda run, n=n: ran.append((run.resource, n))) for n in ("one", "two"))  # type: ignore[misc]
    engine = _engine(database, Operation("k", "a", steps))
    engine.resume()
    for resource in ("x", "y"):
        ended = engine.waiting_for(RunId(f"r-{resource}"))
        if ended is not None:
            ended.result(WAIT_S)
    assert sorted(ran) == [("x", "two"), ("y", "one"), ("y", "two")]
    assert engine.close(WAIT_S)


def test_a_name_that_is_no_longer_known_is_skipped(database: Database) -> None:
    run = Run(RunId("r"), "k", "a", "x", {})
    ran: list[str] = []
    outcome = driver.drive(
        Record(run, ("gone", "still")),
        Operation("k", "a", (Transition("still", lambda run: ran.append("still")),)),
        _begun(database, run),
        no_pause,
    )
    assert outcome.done
    assert ran == ["still"]


def _begun(database: Database, run: Run) -> SqlJournal:
    journal = SqlJournal(database)
    journal.begin(run, ("gone", "still"))
    return journal


def test_retries_wait_longer_each_time_and_end_when_bounded(database: Database) -> None:
    waits: list[float] = []

    def fail(run: Run) -> None:
        raise OSError("still not")

    run = Run(RunId("r"), "k", "a", "x", {})
    operation = Operation("k", "a", (Transition("gone", fail, attempts=9),))
    outcome = driver.drive(Record(run, ("gone",)), operation, _begun(database, run), waits.append)
    assert outcome.ending is Ending.ABORTED
    assert outcome.error == "gone: still not"
    assert [wait for wait in waits if wait] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_completion_that_cannot_be_written_repeats_the_transition(database: Database) -> None:
    class FullDisk(SqlJournal):
        broken = 2

        def completed(self, run: Run, name: str, result: Any) -> None:
            if self.broken:
                self.broken -= 1
                raise OSError("disk full")
            super().completed(run, name, result)

    ran: list[int] = []
    run = Run(RunId("r"), "k", "a", "x", {})
    journal = FullDisk(database)
    journal.begin(run, ("one",))
    operation = Operation("k", "a", (Transition("one", lambda run: ran.append(1)),))
    assert driver.drive(Record(run, ("one",)), operation, journal, no_pause).done
    assert len(ran) == 3


def test_settle_is_insisted_on_and_cancelling_does_not_skip_it(database: Database) -> None:
    settled: list[Ending] = []

    def settle(run: Run, outcome: Outcome) -> None:
        settled.append(outcome.ending)
        if len(settled) < 3:
            raise OSError("not yet")

    def cancelling(seconds: float) -> None:
        raise Cancelled

    run = Run(RunId("r"), "k", "a", "x", {})
    operation = Operation("k", "a", (Transition("still", lambda run: pytest.fail("cancelled before")),), settle)
    outcome = driver.drive(Record(run, ("still",)), operation, _begun(database, run), cancelling)
    assert outcome.ending is Ending.CANCELLED
    assert settled == [Ending.CANCELLED] * 3


def test_one_active_run_of_a_kind_and_joining_it(database: Database) -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(run: Run) -> None:
        entered.set()
        assert gate.wait(WAIT_S)

    engine = _engine(database, Operation("k", "a", (Transition("hold", hold),)))
    first = engine.start("k", "a", "x", {})
    assert entered.wait(WAIT_S)
    with pytest.raises(AlreadyActive):
        engine.start("k", "a", "x", {})
    joined = engine.join("k", "a", "x", {})
    other = engine.start("k", "a", "y", {})
    gate.set()
    assert first.result(WAIT_S).done
    assert joined is first
    assert other.result(WAIT_S).done
    assert engine.start("k", "a", "x", {}).result(WAIT_S).done
    assert engine.close(WAIT_S)


def test_runs_of_one_resource_follow_one_another(database: Database) -> None:
    running: list[str] = []
    order: list[str] = []

    def act(run: Run) -> None:
        assert not running
        running.append(run.action)
        order.append(run.action)
        running.remove(run.action)

    engine = _engine(database, *(Operation("k", action, (Transition("t", act),)) for action in "abc"))
    ended = [engine.start("k", action, "x", {}) for action in "abc"]
    assert all(future.result(WAIT_S).done for future in ended)
    assert order == ["a", "b", "c"]
    assert engine.close(WAIT_S)


def test_cancel_ends_a_run_that_is_retrying(database: Database) -> None:
    tried = threading.Event()

    def fail(run: Run) -> None:
        tried.set()
        raise OSError("never")

    engine = _engine(database, Operation("k", "a", (Transition("t", fail),)))
    ended = engine.start("k", "a", "x", {})
    assert tried.wait(WAIT_S)
    engine.cancel("k", "x")
    assert ended.result(WAIT_S).ending is Ending.CANCELLED
    assert engine.close(WAIT_S)


def test_close_leaves_the_run_to_the_next_process(database: Database) -> None:
    tried, works = threading.Event(), threading.Event()

    def act(run: Run) -> None:
        tried.set()
        if not works.is_set():
            raise OSError("not in this life")

    operation = Operation("k", "a", (Transition("t", act),))
    engine = _engine(database, operation)
    ended = engine.start("k", "a", "x", {})
    assert tried.wait(WAIT_S)
    assert engine.close(WAIT_S)
    with pytest.raises(errors.StateError, match="stopping"):
        ended.result(WAIT_S)
    works.set()
    second = _engine(database, operation)
    run = SqlJournal(database).active()[0].run
    assert second.resume() == 1
    resumed = second.waiting_for(run.id)
    assert resumed is None or resumed.result(WAIT_S).done
    assert second.close(WAIT_S)
    assert SqlJournal(database).active() == []


def test_a_handoff_is_waited_through(database: Database) -> None:
    gate = threading.Event()

    def wait(run: Run) -> str:
        assert gate.wait(WAIT_S)
        return "from b"

    engines: list[Engine] = []

    def hand_off(run: Run) -> None:
        engines[0].start("k", "b", "y", {})
        raise Handoff("b does it", engines[0].active()[-1].id)

    engine = _engine(
        database, Operation("k", "a", (Transition("t", hand_off),)), Operation("k", "b", (Transition("t", wait),))
    )
    engines.append(engine)
    ended = engine.start("k", "a", "x", {})
    gate.set()
    outcome = ended.result(WAIT_S)
    assert (outcome.ending, outcome.results) == (Ending.DONE, {"t": "from b"})
    assert engine.close(WAIT_S)


def test_stopped_leaves_the_record_as_it_is(database: Database) -> None:
    def stopping(seconds: float) -> None:
        raise Stopped

    run = Run(RunId("r"), "k", "a", "x", {})
    journal = _begun(database, run)
    with pytest.raises(Stopped):
        driver.drive(
            Record(run, ("still",)), Operation("k", "a", (Transition("still", lambda r: None),)), journal, stopping
        )
    assert journal.find(run.id).outcome is None
