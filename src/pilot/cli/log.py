"""Where messages go: to stderr, and with `--log FILE` also to a file, in the formats that runc's callers parse.

    text    time="2026-11-22T10:30:57Z" level=error msg="container does not exist"
    json    {"level":"error","msg":"container does not exist","time":"2026-11-22T10:30:57Z"}

Not the `logging` module: it takes longer to load than a container takes to start.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

import msgspec


class Log(msgspec.Struct, frozen=True):
    """`path` None or /dev/stderr: stderr alone."""

    path: str | None = None
    format: str = "text"
    debug: bool = False
    stream: TextIO | None = None  # what stderr is, when it is not ours

    def error(self, message: str) -> None:
        self._write("error", message)
        print(f"pilot: {message}", file=self.stream or sys.stderr, flush=True)

    def warning(self, message: str) -> None:
        self._write("warning", message)
        print(f"pilot: warning: {message}", file=self.stream or sys.stderr, flush=True)

    def detail(self, message: str) -> None:
        """Shown with --debug only."""
        if not self.debug:
            return
        self._write("debug", message)
        if self._is_stderr():
            print(message, file=self.stream or sys.stderr, flush=True)

    def _is_stderr(self) -> bool:
        return self.path in {None, "", "/dev/stderr"}

    def _write(self, level: str, message: str) -> None:
        if self._is_stderr() or self.path is None:
            return
        import json  # only for those who keep a log

        row = {"level": level, "msg": message, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        if self.format == "json":
            line = json.dumps(row, separators=(",", ":"))
        else:
            line = f'time="{row["time"]}" level={level} msg={json.dumps(message)}'
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            print(f"pilot: write log {self.path}: {(error.strerror or '').lower()}", file=self.stream or sys.stderr)
