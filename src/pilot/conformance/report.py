"""Results of a run, by group, for people and for programs."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from ..wire import operations


class Outcome(enum.Enum):
    """`PRECLUDED` is kept, too: what the isolation cannot do was refused as the contract has it."""

    MET = "met"
    PRECLUDED = "precluded"
    UNMET = "unmet"
    NOT_TRIED = "not tried"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Of one promise. `why`: of one that was not met or not tried."""

    group: str
    operation: str
    promise: str
    outcome: Outcome
    why: str = ""
    seconds: float = 0.0


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Of how many tried promises how many were met."""

    name: str
    met: int
    tried: int
    not_tried: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All results, in order. `isolation` is what the machine says, None where it says nothing."""

    isolation: str | None
    results: list[Result]

    def groups(self) -> list[Group]:
        """In the order of their first promises; groups without one do not exist."""
        names = dict.fromkeys(result.group for result in self.results)
        return [_sum(name, [result for result in self.results if result.group == name]) for name in names]

    def total(self) -> Group:
        return _sum("score", self.results)

    def holds(self, *, complete: bool) -> bool:
        """Nothing is unmet, something was tried, and with `complete` everything."""
        total = self.total()
        return 0 < total.tried == total.met and not (complete and total.not_tried)


_OF_PATHS = (
    ("/v1/world", "world"), ("/v1/containers", "containers"), ("/v1/graph", "containers"),
    ("/v1/services", "services"),
    ("/v1/disks", "containers"), ("/v1/exec", "sessions"), ("/v1/fs/", "files"), ("/v1/ports/", "ports"),
    ("/v1/proxy", "ports"), ("/v1/", "machine"),
)  # fmt: skip
_PATHS = {row.id: row.path for row in operations.OPERATIONS}


def group_of(operation: str) -> str:
    """The part of the contract that an operation belongs to; what is none is a group of its own."""
    path = _PATHS.get(operation)
    return operation if path is None else next(name for start, name in _OF_PATHS if path.startswith(start))


def lines(report: Report) -> Iterator[str]:
    """For people: the score of each group and of all, then what is behind it."""
    for group in (*report.groups(), report.total()):
        more = f"   {group.not_tried} not tried" if group.not_tried else ""
        yield f"{group.name:<10} {_percent(group):>4} %   {group.met} of {group.tried}{more}"
    for outcome, title in (
        (Outcome.UNMET, "not met:"),
        (Outcome.PRECLUDED, f"beyond isolation {report.isolation}, refused as such, and counted as met:"),
    ):
        if rows := [result for result in report.results if result.outcome is outcome]:
            yield f"\n{title}"
            yield from (f"  {row.operation}: {row.promise}{f': {row.why}' if row.why else ''}" for row in rows)
    skipped = [result for result in report.results if result.outcome is Outcome.NOT_TRIED]
    for why in dict.fromkeys(result.why for result in skipped):
        yield f"\nnot tried: {why}"
        yield f"  {', '.join(dict.fromkeys(result.operation for result in skipped if result.why == why))}"


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    isolation: str | None
    score: int
    groups: list[Group]
    results: list[Result]


def document(report: Report) -> bytes:
    """For programs: JSON."""
    whole = _Document(
        isolation=report.isolation,
        score=_percent(report.total()),
        groups=report.groups(),
        results=report.results,
    )
    return msgspec.json.encode(whole) + b"\n"


def _percent(group: Group) -> int:
    """Rounded down: 100 is all of them."""
    return group.met * 100 // group.tried if group.tried else 0


def _sum(name: str, results: list[Result]) -> Group:
    met = sum(result.outcome in (Outcome.MET, Outcome.PRECLUDED) for result in results)
    skipped = sum(result.outcome is Outcome.NOT_TRIED for result in results)
    return Group(name=name, met=met, tried=len(results) - skipped, not_tried=skipped)
