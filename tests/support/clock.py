"""The time of day of a daemon and of all that it starts, set by a test while they run."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

YEAR_S = 31_556_952


class Clock:
    """For processes that are started while `environment` is in force. The machine's own clock is left alone."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._file = directory / "clock"
        self._library = directory / "clock.so"
        self._file.write_bytes(bytes(8))
        source = pathlib.Path(__file__).with_name("clock.c")
        command = [
            "cc",
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-o",
            str(self._library),
            str(source),
        ]
        subprocess.run(command, check=True)

    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For what is started from now on, until the test ends."""
        monkeypatch.setenv("LD_PRELOAD", str(self._library))
        monkeypatch.setenv("PILOT_TEST_CLOCK", str(self._file))

    def set(self, seconds: int) -> None:
        """So far from the right time."""
        with self._file.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))
