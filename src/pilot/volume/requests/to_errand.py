"""What an errand is sent for (`serving.errand` says what is done to which descriptors)."""

from __future__ import annotations

from .base import Answer, Kinds, Request


class OpenFile(Request[Answer], frozen=True, tag="open_file"):
    """The disk as a file: a descriptor."""


class Bound(Answer, frozen=True):
    """With the descriptor of loop device `number`."""

    number: int


class Bind(Request[Bound], frozen=True, tag="bind"):
    """A loop device called `device`; its node is made in `directory` where the host has none."""

    device: str
    directory: str


class Format(Request[Answer], frozen=True, tag="format"):
    """An ext4. `what` it is for, in errors."""

    what: str


class Mount(Request[Answer], frozen=True, tag="mount"):
    """The ext4 of loop device `number`, mounted: a descriptor."""

    what: str
    number: int


class Grow(Request[Answer], frozen=True, tag="grow"):
    """A mounted ext4, the loop device and the file below it have `size_bytes`, which the disk has already."""

    size_bytes: int


class Sync(Request[Answer], frozen=True, tag="sync"):
    """syncfs."""


class ReadOnly(Answer, frozen=True):
    """Whether it is."""

    read_only: bool


class IsReadOnly(Request[ReadOnly], frozen=True, tag="is_read_only"):
    """Whether a filesystem takes no writes any more."""


class ShutDown(Request[Answer], frozen=True, tag="shut_down"):
    """The end of a superblock."""


class Thawed(Answer, frozen=True):
    """Whether it was frozen."""

    thawed: bool


class Thaw(Request[Thawed], frozen=True, tag="thaw"):
    """Undo a freeze."""


KINDS = Kinds(OpenFile, Bind, Format, Mount, Grow, Sync, IsReadOnly, ShutDown, Thaw)
