"""The one rule for encoded paths: a path is split before it is decoded, and what is asked of a machine is made anew.

So that edge and agent never read one path as two: a segment that decodes to something with a slash, a backslash or a
control character in it, to `.` or to `..`, is nothing that is served here. `%65xec` is `exec`, to everybody.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ... import errors

_READ_OTHERWISE = re.compile(r"[/\\\x00-\x1f\x7f]")
_NOT_ENCODED = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def split(path: bytes) -> tuple[str, ...]:
    """The decoded segments of an encoded path; `NotFound` for one that could be read in two ways."""
    if not path.startswith(b"/") or _NOT_ENCODED.search(path):
        raise errors.NotFound("not found")
    try:
        segments = tuple(unquote_to_bytes(segment).decode() for segment in path[1:].split(b"/"))
    except UnicodeDecodeError:
        raise errors.NotFound("not found") from None
    if any(_READ_OTHERWISE.search(segment) or segment in (".", "..") for segment in segments):
        raise errors.NotFound("not found")
    return segments
