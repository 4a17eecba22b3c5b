"""A log read back: its lines as they were written, and the head that seals them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ... import errors
from ...wire import chain
from .writer import Part, subjects_in

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


def of_directory(state_dir: str, subject: str) -> Iterator[bytes]:
    """As `pieces`, without a pilotd: with the head that is there, which is not checked here. `NotFound`."""
    directory = os.path.join(state_dir, "audit", subject)
    if subject not in subjects_of(state_dir):
        raise errors.NotFound(f"no log of {subject} in {state_dir}")
    try:
        with open(os.path.join(directory, "head"), "rb") as file:
            head = file.read()
        last = chain.read_head(head, lambda _document, _signature: True).last.seq
        names = sorted(name for name in os.listdir(directory) if name.endswith(".ndjson"))
    except (OSError, chain.Broken) as error:
        raise errors.HostError(f"read the log of {subject} in {state_dir}: its head: {error}") from error
    yield from pieces(Part(tuple(os.path.join(directory, name) for name in names), last, head), 0)


def subjects_of(state_dir: str) -> list[str]:
    """All that it has a log of; none where no pilotd has served it."""
    try:
        return sorted(subjects_in(os.path.join(state_dir, "audit")))
    except FileNotFoundError:
        return []
