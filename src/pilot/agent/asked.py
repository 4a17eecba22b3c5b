"""Requests of a mount of ours that are answered on the event loop: what they want may have to be asked for.

the mount's thread ─ take ─► the loop ─ serve ─► the answer, or the errno that is heard
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable, Mapping

from .. import errors
from ..kernel.fuse import Op
from .mounted import Mounted, Request, not_implemented

Serve = Callable[[Request], Awaitable[bytes]]
_log = logging.getLogger(__name__)


class Asked:
    """Make it on the running loop. `place`: what the log calls the mount; `serve`: by operation; `heard`: the errno of
    an error of ours."""

    def __init__(
        self, mounted: Mounted, place: str, serve: Mapping[Op, Serve], heard: Callable[[errors.PilotError], int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._mounted = mounted
        self._place = place
        self._serving: Mapping[int, Serve] = {int(op): each for op, each in serve.items()}
        self._heard = heard

    def take(self, request: Request) -> None:
        """On the mount's thread. `OSError` for what is not there, and for our own threads, which would wait for
        themselves."""
        serve = self._serving.get(request.op)
        if serve is None:
            raise not_implemented()
        if request.is_ours:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        asyncio.run_coroutine_threadsafe(self._serve(request, serve), self._loop)

    async def _serve(self, request: Request, serve: Serve) -> None:
        try:
            said, code = await serve(request), 0
        except errors.PilotError as error:
            said, code = b"", self._heard(error)
        except OSError as error:
            said, code = b"", error.errno or errno.EIO
        except Exception:  # noqa: BLE001 - the edge of this mount: whoever asks must hear of it, and hear EIO
            _log.exception("serve %s", self._place)
            said, code = b"", errno.EIO
        self._mounted.answer(request.unique, said, code)
