"""The page of other people's clients: whose row a test is, and what its tables say."""

from __future__ import annotations

import json

import pytest

from tests.support import clientsreport

PASSED: clientsreport.Seen = {"on": "2026-01-02", "seconds": 1.5}
FAILED: clientsreport.Seen = PASSED | {"why": "assert 1 == 2"}


@pytest.mark.parametrize(
    ("nodeid", "place"),
    [
        ("tests/guest/test_sprites_matrix_vm.py::test_row[ctrl_c_interrupts]", ("sprites-py", "ctrl_c_interrupts")),
        ("tests/kernel/test_sprites_matrix.py::test_row[ctrl_c_interrupts]", ("sprites-py", "ctrl_c_interrupts")),
        ("tests/outside/test_fly_sprites.py::test_python_x", ("sprites-py", "test_python_x")),
        ("tests/outside/test_fly_sprites.py::test_row[x]", ("@fly/sprites", "x")),
        ("tests/unit/test_clients_report.py::test_other", None),
    ],
)
def test_a_row_is_one_clients(nodeid: str, place: tuple[str, str] | None) -> None:
    assert clientsreport.place(nodeid) == place


def test_what_was_not_asked_again_stays() -> None:
    observed: clientsreport.Observed = {}
    clientsreport.add(observed, {("c", "one"): FAILED, ("c", "two"): PASSED}, "container")
    clientsreport.add(observed, {("c", "one"): PASSED}, "vm")
    clientsreport.add(observed, {("c", "one"): PASSED}, "container")
    assert observed == {"c": {"one": {"container": PASSED, "vm": PASSED}, "two": {"container": PASSED}}}


def test_the_tables_say_what_failed_and_what_was_never_asked() -> None:
    observed: clientsreport.Observed = {"c": {"one": {"container": FAILED, "vm": PASSED}, "two": {"container": PASSED}}}
    said = clientsreport.tables(observed)
    assert "| c | 1 of 2 | 1 of 1 |\n" in said
    assert "| `one` | **failed**: assert 1 == 2; 1.5 s, 2026-01-02 | 1.5 s, 2026-01-02 |\n" in said
    assert "| `two` | 1.5 s, 2026-01-02 | not asked |\n" in said


def test_the_page_is_what_was_observed() -> None:
    observed: clientsreport.Observed = json.loads(clientsreport.OBSERVED.read_text())
    assert clientsreport.tables(observed) in clientsreport.PAGE.read_text()
