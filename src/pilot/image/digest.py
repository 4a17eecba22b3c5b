"""Names for artefacts: a digest over everything that decides what is in them, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def digest(parts: Iterable[tuple[str, str | bytes]]) -> str:
    """16 hexadecimal digits over (label, content) pairs; lengths count too, so `ab`+`c` is not `a`+`bc`."""
    state = hashlib.sha256()
    for label, content in parts:
        for piece in (label, content):
            data = piece.encode() if isinstance(piece, str) else piece
            state.update(len(data).to_bytes(8, "little"))
            state.update(data)
    return state.hexdigest()[:16]
