"""What `pilot` (cold command line) and the agent may import: under TCG each import costs ten times more."""

from __future__ import annotations

import subprocess
import sys

import pytest

STANDARD_LIBRARY = frozenset(sys.stdlib_module_names)
# msgspec takes typing_extensions in where there is one; the guest has none.
AGENT_PACKAGES = frozenset({"pilot", "msgspec", "typing_extensions", "h11", "wsproto"})
# The command line answers before these could be imported; each costs more than a container does.
TOO_SLOW_FOR_CLI = frozenset(
    {"asyncio", "ssl", "http", "email", "urllib", "multiprocessing", "concurrent", "sqlite3", "logging"}
)


def _imported(statement: str) -> frozenset[str]:
    """Top-level names of all modules loaded by `statement` in a fresh interpreter."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(name.split(".")[0] for name in done.stdout.split())


def test_the_agent_imports_only_its_few_packages() -> None:
    assert _imported("import pilot.agent.process") - STANDARD_LIBRARY <= AGENT_PACKAGES


@pytest.mark.parametrize("module", ["pilot.cli"])
def test_the_command_line_stays_light(module: str) -> None:
    loaded = _imported(f"import {module}")
    assert loaded & TOO_SLOW_FOR_CLI == frozenset()
    assert loaded - STANDARD_LIBRARY <= {"pilot", "msgspec", "typing_extensions"}
