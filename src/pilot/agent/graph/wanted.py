"""What is wanted, as it is kept: one document, which the next agent finds where this one has put it."""

from __future__ import annotations

import os

import msgspec

from ... import errors
from ...wire import faults
from ...wire.graph import Container, Volume
from .. import document
from ..machine import Link

_NAME = "graph/wanted"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The document."""

    generation: int = 0
    containers: dict[str, Container] = {}
    volumes: tuple[Volume, ...] = ()

    def require(self, generation: int | None) -> None:
        """`StateError` when another one is wanted than the caller has seen; None: whichever it is."""
        if generation is not None and generation != self.generation:
            raise errors.StateError(f"generation {generation} is not wanted any more: {self.generation} is")

    def next(self, containers: dict[str, Container], volumes: tuple[Volume, ...]) -> Wanted:
        """`TooLarge` for one that cannot be kept."""
        wanted = Wanted(generation=self.generation + 1, containers=containers, volumes=volumes)
        if len(msgspec.json.encode(wanted)) > document.MAX_BYTES:
            raise faults.TooLarge(f"the graph is larger than {document.MAX_BYTES} bytes")
        return wanted


def write(link: Link, wanted: Wanted) -> None:
    document.write(link, _NAME, wanted)


def read(link: Link) -> Wanted:
    """Nothing when none was written."""
    if _NAME not in link.inherited:
        return Wanted()
    fd = link.take(_NAME)
    try:
        return document.read(fd, Wanted)
    finally:
        os.close(fd)
