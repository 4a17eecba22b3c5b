"""Messages of the command line, in the forms that runc's callers parse (logrus's two formats).

    text    time="2026-11-22T10:30:57Z" level=error msg="container does not exist"
    json    {"level":"error","msg":"container does not exist","time":"2026-11-22T10:30:57Z"}

Two readers. A *log* is such lines: appended to the file that `--log` names, or written to stderr where `--debug` or
`--log-format` asked for one and no file is named. A *person* reads `pilot: container does not exist` on stderr, unless
the log is there already. Levels are error, warning and debug; debug only with `--debug`.

Not the `logging` module: it takes longer to load than a container takes to start.
"""

from __future__ import annotations

import enum
import sys
import time
from typing import TextIO

import msgspec

from .. import errors
from .options import UsageError


class Format(enum.Enum):
    """Of a line of the log."""

    TEXT = "text"
    JSON = "json"


def parse_format(name: str) -> Format:
    """`--log-format`; UsageError."""
    try:
        return Format(name or "text")
    except ValueError as error:
        raise UsageError(f"invalid log-format: {name}") from error


class Log(msgspec.Struct, frozen=True):
    """`path` None: no file. `lines`: what goes to stderr are lines of a log, and not words for a person."""

    path: str | None = None
    format: Format = Format.TEXT
    is_debug: bool = False
    lines: bool = False
    stream: TextIO | None = None  # what stderr is, when it is not ours

    def open(self) -> None:
        """Make the file, so that a log that nobody can write is told before anything is done; HostError."""
        if self.path is not None:
            self._append(self.path, "")

    def error(self, message: str) -> None:
        """Why the command failed."""
        self._tell("error", message, f"pilot: {message}")

    def warning(self, message: str) -> None:
        """What was left out, or is not as it seems."""
        self._tell("warning", message, f"pilot: warning: {message}")

    def debug(self, message: str) -> None:
        """A step of the work."""
        if self.is_debug:
            self._tell("debug", message, None)

    def _tell(self, level: str, message: str, words: str | None) -> None:
        line = format_line(self.format, level, message, time.gmtime())
        if self.path is not None:
            try:
                self._append(self.path, line + "\n")
            except errors.HostError as error:
                self._print(f"pilot: {error}")
        elif self.lines:
            self._print(line)
        if words is not None and not self._is_on_stderr():
            self._print(words)

    def _is_on_stderr(self) -> bool:
        return self.path is None and self.lines

    def _print(self, text: str) -> None:
        print(text, file=self.stream or sys.stderr, flush=True)

    @staticmethod
    def _append(path: str, text: str) -> None:
        try:
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError as error:
            raise errors.HostError(f"write log {path}: {(error.strerror or str(error)).lower()}") from error


def format_line(format: Format, level: str, message: str, moment: time.struct_time) -> str:
    """One line of a log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    message = message.encode(errors="backslashreplace").decode()  # a name on disk need not be Unicode
    if format is Format.JSON:
        return msgspec.json.encode({"level": level, "msg": message, "time": stamp}).decode()
    return f'time="{stamp}" level={level} msg={msgspec.json.encode(message).decode()}'
