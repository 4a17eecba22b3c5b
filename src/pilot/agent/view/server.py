"""Serves the texts as files of one FUSE mount (`agent.mounted`): <run>/view/NAME, read-only.

Stateless but for the texts that are being read: node numbers follow from names.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from ...kernel import fuse as proto
from ...kernel import mounts
from ...kernel.fuse import Node, Op
from ..machine import Link
from ..mounted import Mounted, Place, Request, not_implemented
from . import places
from .readings import Readings

STORE_NAME = "agent/view"
_FIRST = 2
_ATTRIBUTES = mounts.Attribute.NOSUID | mounts.Attribute.NODEV | mounts.Attribute.NOEXEC | mounts.Attribute.RDONLY
Text = Callable[[str], str]


class Server:
    """`text(NAME)` is called in the thread; OSError is what the reader hears. Where it cannot be served worlds are
    shown the host's numbers."""

    def __init__(self, link: Link, run: str, text: Text) -> None:
        directory = os.path.join(run, places.DIRECTORY)
        place = Place("view", STORE_NAME, directory, "worlds are shown the host's numbers", _ATTRIBUTES)
        self._mounted = Mounted(link, place, self._answer)
        self.open, self.close = self._mounted.open, self._mounted.close
        self._readings = Readings(text)
        self._nodes = {
            name: Node(number, 0, False, False, is_public=True) for number, name in enumerate(places.FILES, _FIRST)
        }
        self._names = {node.number: name for name, node in self._nodes.items()}

    def _answer(self, request: Request) -> bytes:
        node, body = request.node, request.body
        match request.op:
            case Op.LOOKUP:
                return proto.entry_answer(_known(self._nodes.get(proto.parse_name(body))))
            case Op.GETATTR:
                return proto.attributes_answer(self._node(node))
            case Op.OPEN:
                return proto.open_answer(direct=True, handle=self._readings.open())
            case Op.READ:
                name = self._names[self._node(node).number]
                return self._readings.read(proto.parse_handle(body), name, *proto.parse_io(body))
            case Op.RELEASE:
                self._readings.close(proto.parse_handle(body))
                return b""
            case Op.READDIR:
                return proto.directory_entries(list(self._nodes.items()), *proto.parse_io(body))
        raise not_implemented()

    def _node(self, number: int) -> Node:
        if number == proto.ROOT:
            return Node(proto.ROOT, 0, True, False)
        return _known(self._nodes.get(self._names.get(number, "")))


def _known(node: Node | None) -> Node:
    if node is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return node
