"""Volumes of an app, for who makes a Machine of them."""

from __future__ import annotations

from ... import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .app import App


class Volumes:
    """Of the app, asked for once it matters; for that Machine, or a new one."""

    def __init__(self, app: App, machine: str = "") -> None:
        self._app = app
        self._machine = machine
        self._rows: list[dict[str, Any]] | None = None

    def named(self, wanted: str) -> list[dict[str, Any]]:
        if self._rows is None:
            self._rows = self._app.call("GET", self._app.path("volumes"))
        return [row for row in self._rows if wanted in (row["id"], row["name"])]

    def id_of(self, wanted: str) -> str:
        """By name that one which the Machine has, else one that none has. `NotFound`."""
        found = self.named(wanted)
        ours = [row for row in found if self._machine and row["attached_machine_id"] == self._machine]
        free = [row for row in found if not row["attached_machine_id"]]
        by_id = [row for row in found if row["id"] == wanted]
        if not (best := by_id or ours or free):
            why = "none that is free" if found else "no volume"
            raise errors.NotFound(f"app {self._app.name} has {why}: {wanted}")
        return str(best[0]["id"])

    def made(self, name: str, size_gb: int) -> str:
        """Another one of that name."""
        row = self._app.call("POST", self._app.path("volumes"), {"name": name, "size_gb": size_gb})
        self._rows = None
        return str(row["id"])
