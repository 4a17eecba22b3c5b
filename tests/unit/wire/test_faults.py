"""Errors cross the wire as what they are: class → code and status → class."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.wire import faults

# Told as a more general one: nobody at the other end could tell them apart, or build them.
TOLD_AS = {
    errors.SpecError: faults.InvalidRequest,
    errors.StepError: faults.Internal,
    errors.PilotError: faults.InvalidRequest,
    errors.PeerError: faults.Internal,
}


def _made(kind: type[BaseException]) -> BaseException:
    if kind is errors.StepError:
        return errors.StepError(0, 1, "x", 1, "y")
    return errors.SpecError("$", "x") if kind is errors.SpecError else kind("x")


@pytest.mark.parametrize("row", faults.FAULTS, ids=lambda row: row.kind.__name__)
def test_what_is_told_is_what_was_meant(row: faults.Fault) -> None:
    fault = faults.fault_of(_made(row.kind))
    assert (fault.code, fault.status) == (row.code, row.status)
    meant = faults.error_of(fault.status, fault.code, "why", "what to do")
    assert type(meant) is TOLD_AS.get(row.kind, row.kind)
    assert (str(meant), meant.hint) == ("why", "what to do")


def test_every_error_of_ours_is_in_the_table() -> None:
    ours = {kind for place in (errors, faults) for kind in vars(place).values() if isinstance(kind, type)}
    named = {kind for kind in ours if issubclass(kind, errors.PilotError)}
    assert named == {row.kind for row in faults.FAULTS}


def test_a_class_that_is_more_special_comes_first() -> None:
    for index, row in enumerate(faults.FAULTS):
        assert not any(issubclass(later.kind, row.kind) for later in faults.FAULTS[index + 1 :])


def test_strangers_are_internal() -> None:
    assert faults.fault_of(KeyError("x")).code == "internal"
    assert type(faults.error_of(599, "no_such_code", "x")) is faults.Internal
    assert type(faults.error_of(409, "world_not_running", "x")) is faults.Internal, "the pair counts, not the status"
