"""sprite-agents, as a program, with an npm of the test's own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from pilot.agent.inside import sprite_agents

# Writes down what it is asked for, and installs a command for the last package, which says which Node is first.
NPM = """#!/bin/sh
echo "$@" >>"$ASKED"
[ -z "$FAILS" ] || exit 7
mkdir -p "$SPRITE_AGENTS_PLACE/node_modules/.bin"
printf '#!/bin/sh\\necho "$0 $*"\\n' >"$SPRITE_AGENTS_PLACE/node_modules/.bin/codex"
chmod +x "$SPRITE_AGENTS_PLACE/node_modules/.bin/codex"
"""


class Place:
    def __init__(self, root: pathlib.Path) -> None:
        self.agents, self.commands, self.asked = root / "opt" / "agents", root / "bin", root / "asked"
        for directory in (root / "opt", self.commands, root / "path"):
            directory.mkdir()
        (root / "path" / "npm").write_text(NPM)
        (root / "path" / "npm").chmod(0o755)
        self.environment = {
            "PATH": f"{root / 'path'}:{os.environ['PATH']}", "SPRITE_AGENTS_PLACE": str(self.agents),
            "SPRITE_AGENTS_COMMANDS": str(self.commands), "ASKED": str(self.asked),
        }  # fmt: skip

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, sprite_agents.__file__, *words]
        environment = self.environment | more
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def test_one_is_installed_with_its_node_and_starts_with_it(place: Place) -> None:
    assert "installed" not in place.run("list").stdout
    for _ in range(2):
        done = place.run("install", "codex")
        assert done.returncode == 0, done.stderr
    asked = place.asked.read_text().splitlines()
    assert [line.split()[-1] for line in asked] == ["node@24", "@openai/codex@latest"] * 2
    assert all(f"--prefix {place.agents}" in line for line in asked)
    said = subprocess.run([place.commands / "codex", "a b"], capture_output=True, text=True, check=True).stdout
    assert said == f"{place.agents}/node_modules/.bin/codex a b\n"
    [row] = [line for line in place.run("list").stdout.splitlines() if "installed" in line]
    assert row.split() == ["codex", "installed", "@openai/codex"]


def test_what_is_not_known_asks_for_nothing(place: Place) -> None:
    done = place.run("install", "codex", "../x")
    assert (done.returncode, "../x: none of amp, claude" in done.stderr) == (2, True)
    assert not place.asked.exists()


def test_a_command_of_somebody_else_stays(place: Place) -> None:
    (place.commands / "codex").write_text("mine\n")
    done = place.run("install", "codex")
    assert (done.returncode, "is somebody else's" in done.stderr) == (1, True)
    assert ((place.commands / "codex").read_text(), place.asked.exists()) == ("mine\n", False)


def test_npm_that_fails_or_is_not_there_is_told(place: Place) -> None:
    assert place.run("install", "codex", FAILS="yes").returncode == 7
    assert not (place.commands / "codex").exists()
    done = place.run("install", "codex", PATH="/nowhere")
    assert (done.returncode, "there is no npm here" in done.stderr) == (1, True)
