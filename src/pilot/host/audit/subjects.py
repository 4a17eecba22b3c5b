"""Whose log it is: of a sprite, of a Machine of an app, of an organisation, or of this host."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ... import errors
from ...ids import MachineId
from ..store import fly, sprites
from ..store.database import Database

HOST = "host"


def of_sprite(id: str) -> str:
    return f"sprites/{id}"


def of_machine(id: str) -> str:
    return f"machines/{id}"


def of_organisation(id: str) -> str:
    return f"organisations/{id}"


class Subjects:
    """As the store has them now. It may block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def named(self, organisation: str, parameters: Mapping[str, str]) -> str:
        """What a path names, where there is such a thing; else its organisation."""
        try:
            if "app" in parameters and "machine" in parameters:
                app = fly.app(self._database, organisation, parameters["app"])
                return of_machine(fly.find(self._database, app.id, parameters["machine"]).id)
            if "name" in parameters:
                return of_sprite(sprites.by_name(self._database, organisation, parameters["name"]).id)
        except errors.NotFound:
            pass  # whoever asks for it is told; that it was asked for is the organisation's
        return of_organisation(organisation)

    def of_machine(self, machine: MachineId) -> str:
        """A sprite's, or a Machine of an app; of one that is nobody's yet, the host's."""
        sprite = sprites.of_machine(self._database, machine)
        if sprite is not None:
            return of_sprite(sprite.id)
        try:
            return of_machine(fly.by_id(self._database, machine).id)
        except errors.NotFound:
            return HOST

    def gone(self) -> Callable[[str], bool]:
        """Whether a log is of a sprite that was destroyed, or of such a Machine: as of now."""
        living = {of_sprite(each.id) for each in sprites.every(self._database)}
        living |= {of_machine(row.id) for row in fly.every(self._database)}
        return lambda subject: subject.startswith(("sprites/", "machines/")) and subject not in living
