"""The `sprite` command with a person before it: a terminal of its own, keys, and what is seen."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from .pilotd import Pilotd


class Typist:
    """The `sprite` command at a terminal."""

    def __init__(self, pilotd: Pilotd, home: Path, *words: str) -> None:
        environment = os.environ | {"SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token(), "HOME": str(home)}
        self._master_fd, slave_fd = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pilot.client.main", *words],
            stdin=slave_fd, stdout=slave_fd, stderr=slave_fd, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave_fd)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._master_fd, keys)

    def until(self, text: bytes) -> None:
        while text not in self.seen:
            ready, _, _ = select.select([self._master_fd], [], [], 60)
            assert ready, self.seen
            self.seen += os.read(self._master_fd, 65536)

    def end(self) -> int:
        """The exit status; what is said until then is seen."""
        with contextlib.suppress(OSError):  # EIO: nobody holds the other side any more
            while piece := os.read(self._master_fd, 65536):
                self.seen += piece
        os.close(self._master_fd)
        return self.process.wait(60)
