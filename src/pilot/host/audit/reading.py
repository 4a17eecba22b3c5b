"""A log read back: its lines as they were written, and the head that seals them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .writer import Part

_SEQ = re.compile(rb'\{"seq":(\d{1,18}),')


def pieces(part: Part, since: int) -> Iterator[bytes]:
    """Whole lines, at most a file's at a time; then the head. A file that was dropped meanwhile is missing, and whoever
    verifies is told."""
    for path in part.paths:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            continue
        whole = data[: data.rfind(b"\n") + 1]  # of what is being written there may be a part
        yield b"".join(line for line in whole.splitlines(keepends=True) if _is_within(line, since, part.last))
    yield part.head


def _is_within(line: bytes, since: int, last: int) -> bool:
    """A line that does not say which it is, is told: it was changed."""
    found = _SEQ.match(line)
    return found is None or since < int(found.group(1)) <= last
