"""The processes that may wait for a disk: the zygote and what it forks: workers, freeze guards, errands."""

from __future__ import annotations

from ... import lean

lean.load("msgspec", "sqlite3")  # each worker has for ever what a zygote has imported
