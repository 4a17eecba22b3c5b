"""What the resolver has decided, as it comes to a machine's log: bounded, whatever a machine asks for."""

from __future__ import annotations

import pathlib
from typing import Any, cast

import msgspec
import pytest

from pilot.host.audit.egress import MOST_NAMES, Follower, Telling
from pilot.host.audit.records import Decision, Record
from pilot.ids import MachineId

MACHINE = MachineId("m1")


class Told:
    """A `Telling` that remembers: it is its own writer and its own subjects."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.writer = self.subjects = self

    def tell(self, subject: str, record: Record, *, is_rated: bool) -> None:
        assert (subject, is_rated) == (f"machines/{MACHINE}", True)
        self.records.append(record)

    def of_machine(self, machine: MachineId) -> str:
        return f"machines/{machine}"


class Followed:
    """The lines of one machine, and what was told of them."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.told = Told()
        self.follower = Follower(cast(Telling, self.told), lambda _: str(path), lambda _: f"{path}.uses")
        self.follower.follow([MACHINE])

    def decide(self, decision: str, *names: str) -> list[tuple[Any, Decision]]:
        """What is told when the resolver has decided so."""
        with self.path.open("ab") as file:
            for name in names:
                line = {"at": "now", "name": name, "type": "A", "decision": decision}
                file.write(msgspec.json.encode(line) + b"\n")
        self.told.records.clear()
        self.follower.follow([MACHINE])
        return [(record.detail["name"], record.decision) for record in self.told.records]

    @property
    def remembered(self) -> int:
        return len(self.follower._machines[MACHINE].known)


@pytest.fixture
def followed(tmp_path: pathlib.Path) -> Followed:
    return Followed(tmp_path / "m1.log")


def test_a_refusal_is_told_each_time_and_what_is_let_through_once(followed: Followed) -> None:
    assert followed.decide("deny", "a.test", "a.test") == [("a.test", Decision.DENIED)] * 2
    assert followed.decide("allow", "a.test", "a.test", "b.test") == [
        ("a.test", Decision.ALLOWED), ("b.test", Decision.ALLOWED),
    ]  # fmt: skip
    assert followed.decide("allow", "b.test") == []


def test_names_that_are_refused_are_not_remembered_and_hide_nothing(followed: Followed) -> None:
    followed.decide("deny", *(f"{number}.test" for number in range(2 * MOST_NAMES)))
    assert followed.remembered == 0
    assert followed.decide("allow", "out.test") == [("out.test", Decision.ALLOWED)]


def test_very_many_names_that_are_let_through_hide_none_that_comes_after(followed: Followed) -> None:
    followed.decide("allow", *(f"{number}.test" for number in range(2 * MOST_NAMES)))
    assert followed.remembered == MOST_NAMES
    assert followed.decide("allow", "out.test", f"{2 * MOST_NAMES - 1}.test") == [("out.test", Decision.ALLOWED)]
    assert followed.decide("allow", "0.test") == [("0.test", Decision.ALLOWED)], "again rather than never"


def test_what_was_renamed_meanwhile_is_read_to_its_end(followed: Followed) -> None:
    followed.decide("allow", "a.test")
    with followed.path.open("ab") as file:
        file.write(b'{"name": "b.test", "type": "A", "decision": "deny"}\n')
    followed.path.rename(f"{followed.path}.1")
    assert followed.decide("deny", "c.test") == [("b.test", Decision.DENIED), ("c.test", Decision.DENIED)]
