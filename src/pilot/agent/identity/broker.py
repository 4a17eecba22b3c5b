"""Tokens in files, for those who look for them there: written before the first process of a container is executed, and
another one when two thirds of a token's life have passed.

    a start, a session ──► before_use ─► not fresh? ─► ask the host ─► <run>/fly/<container>/<file>, by rename
    each LOOK_S, as long as something is wanted ─┘

Nothing is remembered but what was written when. A token is not fresh, too, when the wall clock and the time since the
boot have parted: a virtual machine that was stopped, or a clock that was set. A machine that goes on is told so
(`adopt`), and has fresh ones before that is answered: nothing that begins or is let in after a suspension meets the old
one, and what a process that runs on from before reads in the first moment may be.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from ... import errors
from ...kernel import files
from ...wire import outward
from ..events import Events
from ..inside import fly_places
from ..machine import Paths
from ..outward import Outward
from . import clouds
from .clouds import Credential, Environment

LOOK_S = 1.0
# For how long a start waits for its host; then it goes on without, and the token follows.
PATIENCE_S = 5.0
RETRY_S = 5.0
JUMP_S = 5.0
_USED = 2 / 3
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Moment:
    """`since_boot_s` goes on while the machine sleeps; `wall_s` is whatever somebody has set."""

    since_boot_s: float
    wall_s: float


def now() -> Moment:
    return Moment(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


@dataclasses.dataclass(frozen=True)
class Held:
    """A token that was written: for whom, when, how long it lives, and which documents beside it."""

    audience: str
    written: Moment
    life_s: float
    documents: frozenset[str] = frozenset()

    def is_fresh(self, moment: Moment) -> bool:
        age_s = moment.since_boot_s - self.written.since_boot_s
        parted_s = abs(moment.wall_s - self.written.wall_s - age_s)
        return 0 <= age_s < self.life_s * _USED and parted_s < JUMP_S


Wanted = Callable[[], Mapping[str, Sequence[Environment]]]


class Broker:
    """On the running loop. `wanted`: the environments that processes of each container have, of those that run."""

    def __init__(
        self, host: Outward, paths: Paths, events: Events, wanted: Wanted, clock: Callable[[], Moment] = now
    ) -> None:
        self._host = host
        self._paths = paths
        self._events = events
        self._wanted = wanted
        self._clock = clock
        self._held: dict[tuple[str, str], Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._told: dict[str, str] = {}
        self._looking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Keep fresh what there is, from now on."""
        if self._all_wanted() and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_on(), name="identity broker")

    async def close(self) -> None:
        """The next agent goes on."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def before_use(self, container: str, environment: Environment | None = None) -> None:
        """What processes of that container look for is there, and fresh; unless its host gives none for PATIENCE_S,
        which is told as an event. `environment`: of a process that is about to begin."""
        environments = [*self._wanted().get(container, ()), *([environment] if environment is not None else [])]
        if not clouds.credentials(*environments):
            return
        self.open()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._ensure(container, environments)
        except (errors.PilotError, OSError, TimeoutError) as error:
            self._tell(container, error)
        else:
            self._told.pop(container, None)

    async def freshen(self) -> None:
        """All that is wanted is fresh, as after a suspension: before the host says that the machine goes on."""
        await asyncio.gather(*map(self.before_use, self._all_wanted()))

    def _all_wanted(self) -> list[str]:
        """Containers that have something to be kept fresh."""
        found = self._wanted().items()
        return [name for name, environments in found if clouds.credentials(*environments)]

    async def _look_on(self) -> None:
        """As long as there is something; who wants the first thing begins it again."""
        while wanted := self._all_wanted():
            for container in wanted:
                await self.before_use(container)
            is_stale = any(self._stale(each, self._wanted().get(each, [])) for each in wanted)
            await asyncio.sleep(RETRY_S if is_stale else LOOK_S)

    def _stale(self, container: str, environments: Sequence[Environment]) -> list[Credential]:
        moment = self._clock()
        return [each for each in clouds.credentials(*environments) if not self._is_fresh(container, each, moment)]

    def _is_fresh(self, container: str, wanted: Credential, moment: Moment) -> bool:
        held = self._held.get((container, wanted.token))
        if held is None or held.audience != wanted.audience or not held.documents >= wanted.documents.keys():
            return False
        return held.is_fresh(moment) and os.path.exists(self._path(container, wanted.token))

    async def _ensure(self, container: str, environments: Sequence[Environment]) -> None:
        if not self._stale(container, environments):
            return
        refused: errors.PilotError | OSError | None = None
        async with self._locks.setdefault(container, asyncio.Lock()):
            for credential in self._stale(container, environments):  # another one may have come first
                try:
                    await self._renew(container, credential)
                except (errors.PilotError, OSError) as error:
                    refused = error  # of this one: the others are not kept from theirs
        if refused is not None:
            raise refused

    async def _renew(self, container: str, wanted: Credential) -> None:
        asked = outward.OidcRequest(aud=wanted.audience)
        began = self._clock()
        made = await self._host.call(outward.CREATE_OIDC_TOKEN, asked, PATIENCE_S)
        await asyncio.to_thread(self._write, container, {**wanted.documents, wanted.token: made.token})
        documents = frozenset(wanted.documents)
        self._held[container, wanted.token] = Held(wanted.audience, began, made.expires_s - made.issued_s, documents)

    def _write(self, container: str, texts: Mapping[str, str]) -> None:
        """For all who run in that container: each is what the container is."""
        fly_places.ensure(self._paths.run, self._paths.inside, container)
        for name, text in texts.items():
            files.replace(self._path(container, name), text.encode(), mode=0o444)

    def _path(self, container: str, name: str) -> str:
        return os.path.join(fly_places.directory(self._paths.run, container), name)

    def _tell(self, container: str, error: BaseException) -> None:
        """Once, though it is tried again and again."""
        why = str(error) or "its host does not answer"
        if self._told.get(container) == why:
            return
        self._told[container] = why
        _log.warning("credentials of %s: %s", container, why)
        self._events.add("credentials.stale", container, message=why)
