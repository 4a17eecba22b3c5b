"""A pytest plugin: how the rows of other people's clients went, for docs/reference/clients.md.

    PILOT_CLIENTS_ISOLATION=vm pytest -p tests.support.clientsreport FILES

Each row that ended has the place of what was known of it, for that kind of machine; what was not asked stays as it was.
`clients-observed.json` beside the page is what the page's tables are made of.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib

import pytest

from tests.support import pages

_REFERENCE = pathlib.Path(__file__).parents[2] / "docs" / "reference"
PAGE, OBSERVED = _REFERENCE / "clients.md", _REFERENCE / "clients-observed.json"
BEGIN, END = "<!-- by make container-clients vm-clients -->", "<!-- end -->"
KINDS = ("container", "vm")
# Whose rows they are, by how their name begins; the first that fits.
CLIENTS = (
    ("tests/kernel/test_sprites_matrix.py", "sprites-py"),
    ("tests/guest/test_sprites_matrix_vm.py", "sprites-py"),
    ("tests/outside/test_fly_sprites.py::test_python_", "sprites-py"),
    ("tests/outside/test_fly_sprites.py", "@fly/sprites"),
    ("standard.py", "langchain-tests"),
    ("tests/compat/test_machines_clients.py::test_a_client_that_is_generated", "openapi-python-client"),
    ("tests/compat/test_machines_clients.py", "hyperterse-sandboxer"),
    ("tests/compat/test_machines_flyctl.py", "flyctl's calls"),
    ("tests/outside/test_fly_admin.py", "fly-admin"),
    ("tests/outside/test_machine_examples.py", "examples/machines.py"),
    ("tests/outside/test_walk.py", "examples/walk.py"),
)
_WHY_CHARACTERS = 160

Seen = dict[str, object]
Observed = dict[str, dict[str, dict[str, Seen]]]  # of a client, a row, a kind of machine

_seen: dict[tuple[str, str], Seen] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A row has ended when its call has, or when what it needs failed; it may say itself how long it took."""
    key = place(report.nodeid)
    if key is None or report.skipped or (report.when != "call" and report.passed):
        return
    seconds = dict(report.user_properties).get("seconds", report.duration)
    seen: Seen = {"on": f"{datetime.date.today():%Y-%m-%d}", "seconds": round(float(str(seconds)), 2)}
    _seen[key] = seen if report.passed else seen | {"why": _why(report)}


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _seen:
        observed: Observed = json.loads(OBSERVED.read_text())
        add(observed, _seen, os.environ["PILOT_CLIENTS_ISOLATION"])
        OBSERVED.write_text(json.dumps(observed, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        pages.write_between(PAGE, BEGIN, END, tables(observed))


def place(nodeid: str) -> tuple[str, str] | None:
    """The client that a test is of, and its row."""
    for beginning, client in CLIENTS:
        if nodeid.startswith(beginning):
            _, _, name = nodeid.partition("::")
            return client, name.removeprefix("test_row[").removesuffix("]")
    return None


def add(observed: Observed, seen: dict[tuple[str, str], Seen], kind: str) -> None:
    """What was seen in machines of that kind, to what is known."""
    for (client, row), what in seen.items():
        observed.setdefault(client, {}).setdefault(row, {})[kind] = what


def tables(observed: Observed) -> str:
    """A table for each client, and before them how many of its rows passed."""
    clients = sorted(observed, key=str.lower)
    counts = [f"| {client} | {' | '.join(_passed(observed[client], kind) for kind in KINDS)} |\n" for client in clients]
    parts = ["| client | container | vm |\n|---|---|---|\n", *counts]
    for client in clients:
        parts.append(f"\n### {client}\n\n| row | container | vm |\n|---|---|---|\n")
        parts += [
            f"| `{row}` | {' | '.join(_cell(seen.get(kind)) for kind in KINDS)} |\n"
            for row, seen in sorted(observed[client].items())
        ]
    return "".join(parts)


def _passed(rows: dict[str, dict[str, Seen]], kind: str) -> str:
    asked = [seen[kind] for seen in rows.values() if kind in seen]
    return f"{sum('why' not in each for each in asked)} of {len(asked)}"


def _cell(seen: Seen | None) -> str:
    if seen is None:
        return "not asked"
    failed = f"**failed**: {seen['why']}; " if "why" in seen else ""
    return f"{failed}{seen['seconds']} s, {seen['on']}"


def _why(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    return str(text).split("\n", 1)[0].replace("|", "\\|")[:_WHY_CHARACTERS]
