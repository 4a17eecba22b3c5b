"""The logs of the graph's containers, by name: made with the first start, kept until the container is forgotten."""

from __future__ import annotations

from collections.abc import Mapping

from ...wire.graph import Container
from ..containers import naming
from ..machine import Link
from ..record_budget import RecordBudget
from .log import Log

_UNWANTED_BYTES = 1 << 20


class Logs:
    """On the running loop."""

    def __init__(self, link: Link, budget: RecordBudget) -> None:
        self._link = link
        self._budget = budget
        self._kept: dict[str, Log] = {}
        self._wanted: Mapping[str, Container] = {}

    def restore(self) -> None:
        """Take over those of a former agent."""
        found: dict[str, dict[str, int]] = {}
        for full_name in list(self._link.inherited):
            match naming.parse_store_name(full_name):
                case name, ("log", part):
                    found.setdefault(name, {})[part] = self._link.take(full_name)
        for name, descriptors in found.items():
            self._add(name, descriptors)

    def resize(self, wanted: Mapping[str, Container]) -> None:
        """Each may be as large as is wanted now."""
        self._wanted = wanted
        for name, log in self._kept.items():
            log.log_bytes = self._bytes_of(name)

    def find(self, name: str) -> Log | None:
        return self._kept.get(name)

    def of(self, name: str) -> Log:
        return self._kept.get(name) or self._add(name, {})

    def drain(self, name: str) -> None:
        """All that it has written is in its log."""
        if (log := self._kept.get(name)) is not None:
            log.drain()

    def forget(self, name: str) -> None:
        if (log := self._kept.pop(name, None)) is not None:
            log.forget()

    def close(self) -> None:
        """Leave them to the next agent."""
        for log in self._kept.values():
            log.close()

    def _add(self, name: str, descriptors: Mapping[str, int]) -> Log:
        log = self._kept[name] = Log(self._link, name, self._budget, descriptors)
        log.log_bytes = self._bytes_of(name)
        return log

    def _bytes_of(self, name: str) -> int:
        wanted = self._wanted.get(name)
        return _UNWANTED_BYTES if wanted is None else wanted.log_bytes
