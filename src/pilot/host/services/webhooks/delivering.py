"""Deliveries, on a thread of their own, for as long as a block lasts.

    commits are told ──┐
    it is time again ──┼──► which webhooks are due ──► a task each: the next event → POST → its place, in the store
    a task has ended ──┘

Each webhook is told in order, one at a time, and again until it takes it: at least once, never fewer times. Nothing is
queued but one event per webhook; where it is stands in the store, so a pilotd that dies goes on there. What has been
forgotten meanwhile is told as a gap.

One that has failed for `GIVE_UP_S`, and `LEAST_ATTEMPTS` times (so that a pilotd that was down for long does not give
up at once), is disabled, which is an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import logging
import random
import threading
import weakref
from collections.abc import Callable, Iterator

from .... import errors
from ...network.destinations import Destinations
from ...store import events, webhooks
from ...store.database import Database
from ...store.events import Event
from ...store.journal import now_us
from ...store.webhooks import Webhook
from ..feed import Gap
from ..told import document
from . import sending, signature
from .names import Names

log = logging.getLogger(__name__)

AT_ONCE = 8
AT_ONCE_OF_ONE = 4  # organisation
FIRST_PAUSE_S = 1.0
MOST_PAUSE_S = 300.0
GIVE_UP_S = 24 * 3600.0
LEAST_ATTEMPTS = 10
LOOK_S = 60.0  # at clocks that have been set, when nothing else is due


@dataclasses.dataclass(frozen=True)
class Message:
    """Of a webhook; when it is delivered, all up to the event `seq` is."""

    id: str
    seq: int
    body: bytes


@dataclasses.dataclass(frozen=True)
class Patience:
    first_pause_s: float = FIRST_PAUSE_S
    most_pause_s: float = MOST_PAUSE_S
    give_up_s: float = GIVE_UP_S
    least_attempts: int = LEAST_ATTEMPTS

    def pause_s(self, attempts: int) -> float:
        """After so many failures: twice as long each time, and not all at the same moment."""
        exact = min(self.first_pause_s * 2.0 ** min(attempts, 30), self.most_pause_s)
        return exact * random.uniform(0.8, 1.2)

    def is_over(self, webhook: Webhook, now_us: int) -> bool:
        """Whether another failure is the last."""
        if webhook.failing_us is None or webhook.attempts + 1 < self.least_attempts:
            return False
        return now_us - webhook.failing_us >= self.give_up_s * 1e6


class _Rooms:
    """For attempts. Who waits for the room of their own organisation keeps none from others."""

    def __init__(self) -> None:
        self.all = asyncio.Semaphore(AT_ONCE)
        self._of_one: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()

    def of(self, organisation: str) -> asyncio.Semaphore:
        return self._of_one.setdefault(organisation, asyncio.Semaphore(AT_ONCE_OF_ONE))


class Deliveries:
    """`secret(webhook)`: what it is signed with."""

    def __init__(
        self,
        database: Database,
        secret: Callable[[Webhook], str],
        destinations: Destinations,
        patience: Patience | None = None,
    ) -> None:
        self._database = database
        self._secret = secret
        self._destinations = destinations
        self._patience = patience or Patience()
        self._names = Names()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A delivery that is broken off at the end is made again by the next pilotd."""
        loop = asyncio.new_event_loop()
        ended = asyncio.Event()
        thread = threading.Thread(target=self._run, args=(loop, ended), name="webhooks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._until(ended))

    async def _until(self, ended: asyncio.Event) -> None:
        working = asyncio.create_task(self._deliver())
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (working, waiting):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    async def _deliver(self) -> None:
        loop, told, rooms = asyncio.get_running_loop(), asyncio.Event(), _Rooms()
        busy: dict[str, asyncio.Task[None]] = {}

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody delivers any more
                loop.call_soon_threadsafe(told.set)

        def end(id: str, task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (defect := task.exception()) is not None:
                log.error("webhook is not served any more", extra={"webhook": id}, exc_info=defect)
                return  # it stays among those that are busy: the next one would end as this has
            del busy[id]
            told.set()

        stop = self._database.watch(tell)
        try:
            while True:
                told.clear()
                waits_s = {webhook: self._due_in_s(webhook) for webhook in await self._behind()}
                for webhook, wait_s in waits_s.items():
                    if wait_s <= 0 and webhook.id not in busy:
                        busy[webhook.id] = asyncio.create_task(self._serve(webhook, rooms))
                        busy[webhook.id].add_done_callback(functools.partial(end, webhook.id))
                pause_s = min((wait_s for wait_s in waits_s.values() if wait_s > 0), default=LOOK_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await told.wait()
        finally:
            stop()
            for task in (serving := tuple(busy.values())):
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _behind(self) -> list[Webhook]:
        """Those with something that they have not been told, or need not be."""
        try:
            latest = await asyncio.to_thread(events.latest, self._database)
            return [each for each in await asyncio.to_thread(webhooks.enabled, self._database) if each.seq < latest]
        except (errors.PilotError, OSError) as error:
            log.warning("webhooks not read", extra={"error": str(error)})
            return []

    def _due_in_s(self, webhook: Webhook) -> float:
        """0 also where a clock that was set back would have it wait for longer than ever."""
        wait_s = (webhook.next_us - now_us()) / 1e6
        return wait_s if wait_s <= 2 * self._patience.most_pause_s else 0

    async def _serve(self, webhook: Webhook, rooms: _Rooms) -> None:
        """All that there is for it, until one fails."""
        now: Webhook | None = webhook
        try:
            while now is not None and (message := await asyncio.to_thread(self._next, now)) is not None:
                async with rooms.of(now.organisation), rooms.all:
                    now = await self._attempt(now, message)
        except (errors.PilotError, OSError) as error:
            # Of the store: told, and tried again.
            log.warning("webhook not served", extra={"webhook": webhook.id, "error": str(error)})
            await asyncio.sleep(self._patience.pause_s(0))

    async def _attempt(self, webhook: Webhook, message: Message) -> Webhook | None:
        """What it is after the delivery; None when there is nothing more to do for it now."""
        try:
            await self.send(webhook, message)
        except sending.NotDelivered as error:
            await asyncio.to_thread(self._note_failure, webhook, error)
            return None
        return await asyncio.to_thread(self._note_delivery, webhook, message)

    async def send(self, webhook: Webhook, message: Message) -> None:
        """One attempt, of which nothing is noted. `NotDelivered`."""
        try:
            secret = self._secret(webhook)
        except errors.HostError as error:
            raise sending.NotDelivered(str(error)) from error
        headers = signature.headers(secret, message.id, now_us() // 1_000_000, message.body)
        resolve = functools.partial(self._names.addresses, webhook.organisation)
        await sending.post(webhook.url, message.body, headers, self._destinations, resolve)

    def _next(self, webhook: Webhook) -> Message | None:
        """The first that it wants of what happened since; what it does not want is passed."""
        if gap := gap_after(self._database, webhook.seq):
            return _message(webhook, gap, gap.last, f"gap-{gap.last}")
        seq = webhook.seq
        while found := events.since(self._database, seq):
            for event in found:
                if is_wanted(webhook, event):
                    return _message(webhook, event, event.seq, str(event.seq))
            seq = found[-1].seq
        if seq > webhook.seq:
            with self._database.transaction(durable=False) as tx:
                webhooks.passed(tx, webhook.id, seq)
        return None

    def _note_delivery(self, webhook: Webhook, message: Message) -> Webhook | None:
        with self._database.transaction(durable=False) as tx:
            return webhooks.delivered(tx, webhook.id, message.seq, now_us())

    def _note_failure(self, attempted: Webhook, error: sending.NotDelivered) -> None:
        """By what the webhook is now: it may have been enabled anew since the attempt began, or deleted."""
        now = now_us()
        log.info("webhook not delivered", extra={"webhook": attempted.id, "error": str(error)})
        with self._database.transaction(durable=False) as tx, contextlib.suppress(errors.NotFound):
            webhook = webhooks.find(tx, attempted.organisation, attempted.id)
            next_us = now + round(self._patience.pause_s(webhook.attempts) * 1e6)
            webhooks.failed(tx, webhook.id, str(error), now, next_us)
            if isinstance(error, sending.Unwanted):
                webhooks.disable(tx, webhook, str(error))
            elif self._patience.is_over(webhook, now):
                webhooks.disable(tx, webhook, f"{webhook.attempts + 1} attempts have failed, the last one: {error}")


def is_wanted(webhook: Webhook, event: Event) -> bool:
    """Of its own end nobody is told by itself."""
    is_ours = event.organisation == webhook.organisation
    is_meant = webhook.sprite is None or event.sprite == webhook.sprite
    is_kind = not webhook.kinds or any(_matches(kind, event.kind) for kind in webhook.kinds)
    return is_ours and is_meant and is_kind and event.subject != f"webhook/{webhook.id}"


def _matches(wanted: str, kind: str) -> bool:
    """`sprite.*` is all that begins with `sprite.`."""
    return kind == wanted or (wanted.endswith(".*") and kind.startswith(wanted[:-1]))


def gap_after(database: Database, seq: int) -> Gap | None:
    """What was forgotten of what comes after that event."""
    last = events.oldest(database) - 1  # where none is kept the next one says how many there were
    return Gap(seq + 1, last) if seq < last else None


def _message(webhook: Webhook, told: Event | Gap, seq: int, name: str) -> Message:
    return Message(f"msg_{webhook.id}-{name}", seq, json.dumps(document(told)).encode())
