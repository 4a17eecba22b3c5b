"""Every program and library of ours is built so that a stray pointer meets a wall: read from the results themselves."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest
from tests.support import elf

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "src/pilot/kernel/_launch.abi3.so"
LIBRARIES = (LAUNCH, ROOT / "src/pilot/volume/_lookaside.abi3.so")
# The stage of a launch is a program inside of the extension.
PROGRAMS = ("pilot-init", "pilot", "pilot-launch")


def _program(name: str) -> bytes:
    if name == "pilot-init":
        return (ROOT / "src/pilot/kernel/bin/pilot-init").read_bytes()
    if name == "pilot":
        return (Path(sys.executable).parent / "pilot").read_bytes()
    library = LAUNCH.read_bytes()
    return library[library.index(elf.MAGIC, len(elf.MAGIC)) :]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_static_pie(name: str) -> None:
    found = elf.parse(_program(name))
    assert found.position_independent, "built before the flags were set? make build"
    assert not found.interpreter
    assert found.libraries == 0
    assert not found.writes_to_text


@pytest.mark.parametrize("name", [*PROGRAMS, *(path.name for path in LIBRARIES)])
def test_everything_is_hardened(name: str) -> None:
    paths = {path.name: path for path in LIBRARIES}
    found = elf.parse(paths[name].read_bytes() if name in paths else _program(name))
    assert (found.relro, found.bind_now) == (True, True), "built before the flags were set? make build"
    assert not found.executable_stack
    assert not found.writable_code
    if name in paths and platform.machine() == "x86_64":
        # Of the programs it says nothing: the musl that is linked in has canaries of its own.
        assert found.canary


def test_what_stands_on_glibc_is_fortified() -> None:
    """Of what has a call that can be: musl has no checked variants, and the lookaside calls nothing with a buffer."""
    assert elf.parse(LAUNCH.read_bytes()).fortified
