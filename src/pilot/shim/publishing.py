"""Events, told to containerd in the order in which they happened.

One that cannot be told is told again; after ATTEMPTS it is given up, and those that came after it are told.
"""

from __future__ import annotations

import asyncio
import logging

from .. import errors
from . import messages, protobuf
from .messages import Any, Envelope, ForwardRequest
from .protobuf import Message
from .ttrpc import Client

SERVICE = "containerd.services.events.ttrpc.v1.Events"
ATTEMPTS = 6
TIMEOUT_S = 5.0
_PAUSE_S = 1.0
_MOST = 2048
_log = logging.getLogger(__name__)

TOPICS: dict[type[Message], str] = {
    messages.TaskCreate: "/tasks/create",
    messages.TaskStart: "/tasks/start",
    messages.TaskExit: "/tasks/exit",
    messages.TaskDelete: "/tasks/delete",
    messages.TaskExecAdded: "/tasks/exec-added",
    messages.TaskExecStarted: "/tasks/exec-started",
    messages.TaskPaused: "/tasks/paused",
    messages.TaskResumed: "/tasks/resumed",
}


class Publisher:
    """Of one shim. `path` is containerd's ttrpc socket."""

    def __init__(self, path: str, namespace: str) -> None:
        self._client = Client(path)
        self._namespace = namespace
        self._waiting: asyncio.Queue[Envelope] = asyncio.Queue(_MOST)

    def publish(self, event: Message) -> None:
        """It is told soon."""
        told = Any(type_url=f"containerd.events.{type(event).__name__}", value=protobuf.encode(event))
        envelope = Envelope(
            timestamp=messages.timestamp(), namespace=self._namespace, topic=TOPICS[type(event)], event=told
        )
        try:
            self._waiting.put_nowait(envelope)
        except asyncio.QueueFull:
            _log.error("event %s: containerd has not heard of %d before it", envelope.topic, _MOST)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._tell(await self._waiting.get())
                self._waiting.task_done()
        finally:
            self._client.close()

    async def told(self) -> None:
        """All that has been published is told, or given up."""
        await self._waiting.join()

    async def _tell(self, envelope: Envelope) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await self._client.call(SERVICE, "Forward", ForwardRequest(envelope=envelope), timeout_s=TIMEOUT_S)
            except errors.PeerError as error:
                _log.error("event %s: attempt %d: %s", envelope.topic, attempt + 1, error)
                await asyncio.sleep(_PAUSE_S)
            else:
                return
        _log.error("event %s: given up", envelope.topic)
