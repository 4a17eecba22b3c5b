"""The sockets that those inside have, and the files beside them.

    <run>/inside/api.sock       a sprite's, for whoever is in it: /.sprite/api.sock
    <run>/inside/fly.sock       each container's, for its root: /.fly/api, by a link of its own directory (fly_places)
    <run>/inside/bin/           sprite-env, sprite-agents, sprite-console
    <run>/inside/llm.txt  version.txt

The world has the files as bind mounts, read-only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import pilot

from ... import errors
from ...server.connection import ErrorAnswer
from ...server.routing import Route
from ..machine import Link
from . import console, fly_places, places, texts
from .listening import Listening

STORE_NAME = "agent/inside"
FLY_STORE_NAME = "agent/inside-fly"
# Programs of their own: what they import would be the agent's for good.
_PROGRAMS = {"sprite-env": "sprite_env.py", "sprite-agents": "sprite_agents.py"}
_log = logging.getLogger(__name__)


class Door:
    """One per machine. `directory` is the machine's; `routes` are what those in a sprite may ask, `fly_routes` what the
    root of a container may."""

    def __init__(
        self,
        link: Link,
        directory: str,
        routes: Sequence[Route],
        fly_routes: Sequence[Route],
        error_answer: ErrorAnswer,
    ) -> None:
        self._directory = directory
        sprite, fly = os.path.join(directory, places.SOCKET[0]), os.path.join(directory, fly_places.SOCKET)
        self._sockets = (
            Listening(link, STORE_NAME, sprite, 0o666, routes, error_answer),
            Listening(link, FLY_STORE_NAME, fly, 0o600, fly_routes, error_answer),
        )

    def open(self) -> None:
        """Be there, on the running loop; a former agent's sockets are gone on with. A world does without what fails."""
        try:
            self._open()
        except (OSError, errors.PilotError) as error:
            _log.error("nothing of ours is inside: %s", error)

    def _open(self) -> None:
        os.makedirs(f"{self._directory}/bin", mode=0o755, exist_ok=True)
        for name, file in _PROGRAMS.items():
            with open(os.path.join(os.path.dirname(__file__), file), "rb") as program:
                _put(f"{self._directory}/bin/{name}", program.read(), 0o755)
        _put(f"{self._directory}/bin/sprite-console", console.SCRIPT, 0o755)
        _put(f"{self._directory}/llm.txt", texts.LLM.encode(), 0o644)
        _put(f"{self._directory}/version.txt", f"{pilot.__version__}\n".encode(), 0o644)
        for each in self._sockets:
            each.open()

    async def close(self) -> None:
        """Leave the sockets to the next agent."""
        for each in self._sockets:
            await each.close()


def _put(path: str, content: bytes, mode: int) -> None:
    """In place: what is bound in a world stays the file that it is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.truncate(0)
        file.write(content)
        os.fchmod(fd, mode)
