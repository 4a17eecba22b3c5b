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


# What only some verbs need: a verb that plans nothing loads no planner, and none loads a dataclass (each takes a
# millisecond to make, and brings `inspect`, `ast` and `tokenize` along).
NOT_FOR_EVERY_VERB = frozenset(
    {"pilot.plan.create", "pilot.plan.program", "pilot.kernel.probe", "pilot.kernel.launcher"}
)
NOT_FOR_ANY_VERB = frozenset({"dataclasses", "inspect", "subprocess", "tempfile", "argparse", "platform", "uuid"})
MOST_MODULES = 145


@pytest.mark.parametrize("verb", ["start", "state", "kill", "delete"])
def test_a_verb_loads_what_it_needs(verb: str) -> None:
    program = f"import sys; import pilot.cli.{verb}; print(*sys.modules)"
    command = [sys.executable, "-ISE", "-c", f"import sys; sys.path += {sys.path!r}; {program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = frozenset(done.stdout.split())
    assert loaded & (NOT_FOR_EVERY_VERB | NOT_FOR_ANY_VERB) == frozenset()
    assert len(loaded) <= MOST_MODULES


# Of an agent's process, each machine has them for ever: as few as can be.
NOT_FOR_AGENTS = frozenset(
    {"ssl", "_ssl", "_hashlib", "bz2", "lzma", "argparse", "email", "http", "json", "random", "tempfile"}
)
# `agent.main` as far as the imports.
_AGENT = "import pilot.agent, sys; pilot.agent._leave_out(); import pilot.agent.process"


def test_the_agent_does_without_openssl_and_what_it_seldom_asks_for() -> None:
    there = "print(*(name for name, module in sys.modules.items() if module is not None))"
    # msgspec takes typing_extensions in where there is one, which takes much else in; the guest has none.
    program = f"sys.modules['typing_extensions'] = None; {_AGENT}; {there}"
    command = [sys.executable, "-ISE", "-c", f"import sys; sys.path += {sys.path!r}; {program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert frozenset(done.stdout.split()) & NOT_FOR_AGENTS == frozenset()


def test_what_comes_late_comes_whole() -> None:
    uses = "import ipaddress, locale, asyncio.sslproto as s"
    then = "ipaddress.ip_network('::/8'), locale.getlocale(), s.SSLProtocol"
    again = "sys.exit(sys.modules['locale'].Error is not locale.Error)"
    subprocess.run([sys.executable, "-c", f"{_AGENT}; {uses}; {then}; {again}"], check=True, timeout=60)


# What volumed has before it forks its zygote, each worker has for ever. Its values are structs of msgspec: a dataclass
# would bring `inspect` and all that along. `lean` leaves out what msgspec and sqlite3 do without.
NOT_FOR_WORKERS = frozenset(
    {"argparse", "concurrent", "hashlib", "random", "shutil", "subprocess", "tempfile"}
    | {"dataclasses", "datetime", "decimal", "inspect", "platform", "typing_extensions", "uuid"}
)


@pytest.mark.parametrize("module", ["pilot.volume.volumed.daemon", "pilot.volume.serving.zygote"])
def test_workers_of_volumes_stay_light(module: str) -> None:
    assert _imported(f"import {module}") & NOT_FOR_WORKERS == frozenset()
