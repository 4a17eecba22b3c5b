"""Whose ids a user of an image is, by its own /etc/passwd and /etc/group (image-spec, conversion.md).

    user := ( NAME | UID ) [ ":" ( NAME | GID ) ]

A number need not be known to anybody: its group is then 0. Groups beside the first are those of the user, unless a
group was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ... import errors

_MOST = 1 << 32


@dataclass(frozen=True)
class Person:
    """Ids, and where home is."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def find(user: str | None, passwd: str, group: str) -> Person:
    """`SpecError` for a name that is not known there."""
    name, colon, group_name = (user or "0").partition(":")
    person = _person(name, passwd, group)
    if not colon:
        return person
    gid = _number(group_name)
    if gid is None:
        rows = _rows(group, 3)
        gid = next((found for row in rows if row[0] == group_name and (found := _number(row[2])) is not None), None)
    if gid is None:
        raise errors.SpecError("user", f"/etc/group of the image has no {group_name[:100]!r}")
    return Person(person.uid, gid, (), person.home)


def _person(name: str, passwd: str, group: str) -> Person:
    wanted = _number(name)
    for row in _rows(passwd, 6):
        uid, gid = _number(row[2]), _number(row[3])
        if uid is not None and gid is not None and (uid == wanted if wanted is not None else row[0] == name):
            return Person(uid, gid, _groups(row[0], group), row[5] or "/")
    if wanted is None:
        raise errors.SpecError("user", f"/etc/passwd of the image has no {name[:100]!r}")
    return Person(wanted, 0, (), "/root" if wanted == 0 else "/")


def _groups(name: str, group: str) -> tuple[int, ...]:
    found = (_number(row[2]) for row in _rows(group, 4) if name in row[3].split(","))
    return tuple(gid for gid in found if gid is not None)


def _rows(text: str, least: int) -> Sequence[list[str]]:
    return [fields for line in text.splitlines() if len(fields := line.split(":")) >= least]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) < _MOST else None
