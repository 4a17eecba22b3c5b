"""The daemon: all volumes of a host, who is attached, and who looks after whom. None of it waits for a disk itself."""

from __future__ import annotations

from ... import lean

lean.load("msgspec", "sqlite3")
