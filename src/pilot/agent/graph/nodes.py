"""What is known of each container, written down in init's store before it counts.

container/<name>/node     state.Node
"""

from __future__ import annotations

import os
from collections.abc import ItemsView

from .. import document
from ..containers import naming
from ..machine import Link
from ..output import Changed
from .state import Node


class Nodes:
    """By the container's name. Whoever waits for `changed` hears of each change that is written."""

    def __init__(self, link: Link, changed: Changed) -> None:
        self._link = link
        self._changed = changed
        self._known: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        return self._known[name]

    def items(self) -> ItemsView[str, Node]:
        return self._known.items()

    def find(self, name: str) -> Node | None:
        return self._known.get(name)

    def get(self, name: str) -> Node:
        """As one that never ran, when nothing is known of it."""
        return self._known.get(name, Node())

    def write(self, name: str, node: Node) -> None:
        document.write(self._link, naming.store_name(name, "node"), node)
        self._known[name] = node
        self._changed.notify()

    def remember(self, name: str, node: Node) -> None:
        """Without writing it down: the next agent finds it out anew."""
        self._known[name] = node

    def forget(self, name: str) -> None:
        del self._known[name]
        self._link.drop(naming.store_name(name, "node"))
        self._changed.notify()

    def restore(self) -> None:
        """Take over what a former agent knew."""
        for full_name in list(self._link.inherited):
            match naming.parse_store_name(full_name):
                case name, ("node",):
                    fd = self._link.take(full_name)
                    try:
                        self._known[name] = document.read(fd, Node)
                    finally:
                        os.close(fd)
