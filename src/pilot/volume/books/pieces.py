"""A request in terms of chunks: the pieces it falls into, and which of them one read or write of the slab covers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from .. import layout
from . import delta
from .ledger import Target

_CHUNK = layout.CHUNK_BYTES
_ZERO_CHUNK = bytes(_CHUNK)


class Piece(msgspec.Struct, frozen=True):
    """The part of a request that lies in one chunk."""

    chunk: int
    offset: int
    start: int
    length: int

    @property
    def whole(self) -> bool:
        """Whether it is all of the chunk."""
        return self.length == _CHUNK


def split(offset: int, length: int) -> list[Piece]:
    """A request as pieces; `start` is where in the request's buffer the piece lies."""
    pieces = []
    done = 0
    while done < length:
        chunk, inside = divmod(offset + done, _CHUNK)
        take = min(_CHUNK - inside, length - done)
        pieces.append(Piece(chunk, inside, done, take))
        done += take
    return pieces


def is_zero(view: memoryview) -> bool:
    """Whether a whole chunk is nothing but zeros."""
    return view[0] == 0 and view[-1] == 0 and bytes(view) == _ZERO_CHUNK


def runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last) index of each run of places that one slab read covers: consecutive slots, or holes."""
    first = 0
    for n in range(1, len(places) + 1):
        step = 1 if places[first] else 0
        if n == len(places) or places[n] != places[n - 1] + step:
            yield first, n - 1
            first = n


def slot_runs(pieces: Sequence[Piece], targets: Sequence[Target]) -> Iterator[tuple[int, int]]:
    """(first, last) index of each run of pieces that one slab write covers."""
    first = 0
    for n in range(1, len(pieces) + 1):
        if n == len(pieces) or not _joins(pieces[n - 1], targets[n - 1], pieces[n], targets[n]):
            yield first, n - 1
            first = n


def _joins(before: Piece, before_target: Target, piece: Piece, target: Target) -> bool:
    """Whether the piece can be written together with the one before it: next slot, and neither needs merging."""
    simple = (before.whole or not before_target.source) and (piece.whole or not target.source)
    return simple and target.slot == before_target.slot + 1


def changes(pieces: Sequence[Piece], targets: Sequence[Target], depth: int) -> Iterator[delta.Change]:
    """The map changes of a write, consecutive ones as one."""
    moved = [
        (piece.chunk, target.slot) for piece, target in zip(pieces, targets, strict=True) if target.source is not None
    ]
    for _, group in itertools.groupby(enumerate(moved), key=lambda pair: (pair[1][0] - pair[0], pair[1][1] - pair[0])):
        run = [entry for _, entry in group]
        yield delta.Change(run[0][0], len(run), layout.place(depth, run[0][1]))


def contiguous(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of each run in sorted numbers."""
    for _, group in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield run[0], len(run)
