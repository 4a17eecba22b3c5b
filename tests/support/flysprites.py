"""@fly/sprites, unmodified, on npm's own node: its packages, and the rows of `tests/outside/matrix.mjs` as they end."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pilot.kernel import fds

from . import outside
from .pilotd import Pilotd

PACKAGES = ("@fly/sprites@0.1.0", "node@24")  # which wants Node 24
SCRIPTS = pathlib.Path(__file__).parents[1] / "outside"
MATRIX = "matrix.mjs"
# The names of its rows, as it declares them.
ROWS = re.findall(r"^  async (\w+)\(\) \{$", (SCRIPTS / MATRIX).read_text(), re.MULTILINE)
_INSTALL_S = 600
_END_S = 120


def install(made: pathlib.Path) -> None:
    """Both packages and our scripts in this directory, from the network that the tests were started in."""
    command = ["nsenter", f"--net={outside.namespace()}", "npm", "install", "--prefix", str(made), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    assert done.returncode == 0, done.stderr
    for script in SCRIPTS.glob("*.mjs"):
        (made / script.name).write_text(script.read_text())  # modules are looked for beside the script


def command(packages: pathlib.Path, script: str, *words: str) -> list[str]:
    """What runs one of our scripts."""
    return [str(packages / "node_modules" / ".bin" / "node"), str(packages / script), *words]


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}


class Told:
    """The rows that one node asks, in the script's order; each is waited for when it is asked about."""

    def __init__(self, packages: pathlib.Path, pilotd: Pilotd, rows: Sequence[str]) -> None:
        words = command(packages, MATRIX, pilotd.url, pilotd.token(), *rows)
        self._errors = packages / "errors"
        with self._errors.open("w") as errors:
            self._node = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=errors)
        self._pilotd = pilotd
        self._ended: dict[str, tuple[str | None, float]] = {}
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._node.kill()
        self._node.wait(_END_S)
        assert self._node.stdout is not None
        self._node.stdout.close()

    def row(self, name: str, patience_s: float) -> tuple[str | None, float]:
        """Why it failed, or None; and how long it took, in seconds."""
        deadline = time.monotonic() + patience_s
        while name not in self._ended:
            self._read(name, deadline)
        return self._ended[name]

    def _read(self, name: str, deadline: float) -> None:
        assert self._node.stdout is not None
        is_there = fds.readable([self._node.stdout.fileno()], max(0.0, deadline - time.monotonic()))
        assert is_there, f"{name} has not ended; {self._said()}"
        data = os.read(self._node.stdout.fileno(), 1 << 16)
        assert data, f"node has ended before {name}; {self._said()}"
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in map(json.loads, lines):
            self._ended[line["row"]] = line["why"], line["seconds"]

    def _said(self) -> str:
        return f"{self._errors.read_text()}\n{self._pilotd.tail()}"
