"""Base volumes of images that no Machine is made of any more, and that the operator does not keep either, are given up.

An image that the operator has in the store of images (`pilot image pull`, `import`) keeps its base until it is removed
there. What is not used is kept for a while (`keep_s`): the next Machine of it begins without a pull.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from ... import errors
from .. import periodic
from ..fsm.engine import Ended, Engine
from ..operations import image_base
from ..operations.context import Host
from ..operations.image_base import Collect
from ..store import fly

log = logging.getLogger(__name__)

PERIOD_S = 10.0
KEEP_S = 3600.0


class Bases:
    """`keep_s`: since when nobody has used it is known from when it was first seen so; a new pilotd begins anew."""

    def __init__(
        self, host: Host, engine: Engine, keep_s: float = KEEP_S, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._host = host
        self._engine = engine
        self._keep_s = keep_s
        self._now_s = now_s
        self._unused_since: dict[str, float] = {}

    def collect(self) -> list[Ended]:
        """One round: the runs that it begins. One that is refused finds the base in use again."""
        bases, wanted = fly.bases(self._host.database), fly.wanted_bases(self._host.database)
        unused = [digest for digest in bases if digest not in wanted and not self._is_kept(digest)]
        now_s = self._now_s()
        self._unused_since = {digest: self._unused_since.get(digest, now_s) for digest in unused}
        due = [digest for digest in unused if now_s - self._unused_since[digest] >= self._keep_s]
        return [self._engine.join(image_base.COLLECT, digest, Collect(bases[digest])) for digest in due]

    def _is_kept(self, digest: str) -> bool:
        images = self._host.images
        return images is not None and images.has(digest)


def watching(host: Host, engine: Engine, keep_s: float) -> AbstractContextManager[None]:
    """A round now and then, for as long as the block lasts."""
    bases = Bases(host, engine, keep_s)
    return periodic.every(PERIOD_S, "image-bases", lambda: _collect(bases))


def _collect(bases: Bases) -> None:
    try:
        bases.collect()
    except (errors.PilotError, OSError) as error:
        log.warning("bases of images not collected", extra={"error": str(error)})
