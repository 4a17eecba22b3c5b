"""What people read: tables, colours where a terminal shows them, and progress on its stderr."""

from __future__ import annotations

import json
import os
import sys

from .. import errors, standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

_GREEN, _YELLOW, _BLUE, _RED = "32", "33", "34", "31"
_COLOURS = {
    "running": _GREEN, "warm": _YELLOW, "cold": _BLUE, "failed": _RED, "healthy": _GREEN, "unhealthy": _RED,
    "started": _GREEN, "suspended": _YELLOW, "stopped": _BLUE, "passing": _GREEN, "warning": _YELLOW, "critical": _RED,
}  # fmt: skip
_MIB = 1 << 20


class LocalError(errors.PilotError):
    """Our own stdout, or a file of ours, does not take what came."""


def begin() -> None:
    """Descriptors 0 to 2 are somebody's; what cannot be encoded is shown as it is."""
    standard.open_standard()  # else the first connection would get a closed one's number, and be taken for stdin
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape")


def wants_colour() -> bool:
    """https://no-color.org"""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and os.isatty(1)


def columns() -> int | None:
    """Of the terminal that shows our output; None where it is none, or has not been told its size."""
    try:
        return os.get_terminal_size(1).columns or None
    except OSError:
        return None


def line(text: str = "") -> None:
    print(text)


def document(value: Any) -> None:
    """As JSON: indented for a person, one line for a program."""
    print(json.dumps(value, indent=2 if os.isatty(1) else None, ensure_ascii=False))


def rows(titles: Sequence[str], found: Iterable[Sequence[str]]) -> list[str]:
    """Aligned columns; a terminal shows statuses in colour."""
    table = [list(titles), *([plain(cell) for cell in row] for row in found)]
    widths = [max(len(row[column]) for row in table) for column in range(len(titles))]
    shown = []
    for number, row in enumerate(table):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if number and wants_colour():
            cells = [_coloured(cell) for cell in cells]
        shown.append("  ".join(cells).rstrip())
    return shown


def table(titles: Sequence[str], found: Iterable[Sequence[str]]) -> None:
    for text in rows(titles, found):
        print(text)


def plain(text: str) -> str:
    """A name is not what moves a cursor."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell.strip())
    return f"\x1b[{colour}m{cell}\x1b[0m" if colour else cell


def moment(text: str | None) -> str:
    """`2026-01-02T03:04:05.000000Z` as people write it."""
    return "" if not text else text[:19].replace("T", " ")


def write_all(number: int, data: bytes) -> None:
    """To a descriptor of ours. `BrokenPipeError` when nobody reads any more, else `LocalError`."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(number, view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        name = {1: "stdout", 2: "stderr"}.get(number, f"descriptor {number}")
        raise LocalError(f"write to {name}: {(error.strerror or str(error)).lower()}") from error


def end_line() -> None:
    """A terminal has shown `^C`, or half a line of somebody's: what follows begins a new one."""
    if os.isatty(2):
        sys.stderr.write("\n")


def tell(text: str) -> None:
    """To whoever watches, not to what reads our output. Others have a say in it: what would steer a terminal is `?`."""
    sys.stderr.write(_harmless(text) + "\n")


def tell_in_raw(text: str) -> None:
    """The same on a terminal that is raw, where a line has to be begun and ended by hand."""
    sys.stderr.write(f"\r\n{_harmless(text)}\r\n")


def _harmless(text: str) -> str:
    return "".join("?" if _steers(each) else each for each in text)


def _steers(character: str) -> bool:
    return (character < " " and character not in "\t\n") or "\x7f" <= character < "\xa0"


class Progress:
    """Of bytes, on stderr where that is a terminal."""

    def __init__(self, name: str, total: int | None, done: int = 0) -> None:
        self._name = name
        self._total = total
        self._done = done
        self._shown = -1
        self._is_shown = os.isatty(2)

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces; the bar follows."""
        for piece in pieces:
            yield piece
            self._done += len(piece)
            self._show()
        if self._is_shown and self._shown >= 0:
            sys.stderr.write("\n")

    def _show(self) -> None:
        percent = 100 * self._done // self._total if self._total else self._done // _MIB
        if not self._is_shown or percent == self._shown:
            return
        self._shown = percent
        if self._total:
            filled = percent * 30 // 100
            bar = f"[{'#' * filled}{'.' * (30 - filled)}] {percent:3} % of {self._total / _MIB:.1f} MiB"
        else:
            bar = f"{self._done / _MIB:.1f} MiB"
        sys.stderr.write(f"\r{self._name}  {bar}\x1b[K")
        sys.stderr.flush()
