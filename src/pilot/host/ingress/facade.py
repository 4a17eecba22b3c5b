"""The facade of addresses below the domain. Of a sprite's: whose, may they, awake, then what listens there answers;
apps have their own (`apps`).

A visitor who gets no answer from the sprite is told which sprite, and why: 404 no such, 401 and 403 not yours, 502 it
does not answer, 503 not awake or too much at once, 504 not in time.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable

from ... import errors
from ...machine import dial
from ...wire import faults
from ..operations.uses import Uses
from ..relay.crowd import Kind
from ..relay.edge import Exchange
from ..services.sprites import Sprites
from ..store.sprites import Sprite
from . import asked, pages, telling
from .apps.facade import Apps
from .awake import Waker
from .entrance import ENTER_PATH, Entrance
from .forwarding import Forwarding
from .front import Front
from .pool import NothingListens, Pool
from .sites import Site, Sites
from .upstream import Upstream
from .visitors import NotKnown, Visitors

log = logging.getLogger(__name__)

# Requests to one sprite at a time; a WebSocket is one for as long as it lasts.
MAX_AT_ONCE = 512
_NO_METHODS = frozenset({"CONNECT", "TRACE"})


class _Named:
    """As `pool.Named`."""

    def title(self, sprite: Sprite) -> str:
        return f"sprite {sprite.name}"

    def key(self, sprite: Sprite) -> Hashable:
        return sprite.id, sprite.machine


class Ingress:
    """`serve` is the facade. For one event loop."""

    def __init__(
        self, sprites: Sprites, activity: Uses, sites: Sites, visitors: Visitors, entrance: Entrance, front: Front,
        apps: Apps, https_port: int | None = None,
    ) -> None:  # fmt: skip
        self._sprites = sprites
        self._activity = activity
        self._sites = sites
        self._visitors = visitors
        self._entrance = entrance
        self._front = front
        self._apps = apps
        self._https_port = https_port
        self._pool = Pool(sprites, _Named())
        self._waker = Waker(sprites, front)

    async def serve(self, exchange: Exchange) -> None:
        """Answers in any case; an error after the answer has begun leaves it without its end."""
        site: Site | None = None
        try:
            host = exchange.head.host
            site = self._sites.known(host) or await self._sites.find(host)
            await self._serve(exchange, site)
        except errors.PilotError as error:
            self._tell(exchange, site, error)
        except Exception as error:
            log.exception("request failed", extra={"host": exchange.head.host})
            self._tell(exchange, site, error)

    async def _serve(self, exchange: Exchange, site: Site | None) -> None:
        head = exchange.head
        if site is None:
            await self._serve_app(exchange)
            return
        if head.method in _NO_METHODS:
            raise faults.MethodNotAllowed(f"sprites are not asked with {head.method}")
        if head.path == ENTER_PATH:
            await self._entrance.enter(exchange, site)
            return
        admitted = await self._visitors.admit(site, head)
        exchange.hold(Kind.VISITOR)
        self._check_room(site.sprite)
        with self._visitors.holding(admitted, exchange.cut), self._activity.using(site.sprite.id, exchange.cut):
            await self._forward(exchange, site, consumed=admitted.consumed)

    async def _serve_app(self, exchange: Exchange) -> None:
        """Where a sprite and an app could be meant, the sprite was."""
        way = await self._apps.find(exchange.head.host, exchange.scheme)
        if way is None:
            raise errors.NotFound(f"no sprite and no app has the address {exchange.head.host}")
        await self._apps.serve(exchange, way, self._https_port)

    async def _forward(self, exchange: Exchange, site: Site, *, consumed: bool) -> None:
        sprite = site.sprite
        if not self._sprites.is_ready(sprite):
            await self._waker.wake(sprite)
        port = await self._front.port(sprite) if site.port is None else site.port
        head = asked.rendered(exchange.head, exchange.peer, exchange.scheme.encode(), consumed=consumed)
        forwarding = Forwarding(exchange, head, lambda upstream: self._pool.give(sprite, port, upstream))
        is_plain = asked.is_repeatable(exchange.head) and not exchange.head.wants_upgrade
        used = self._pool.taken(sprite, port) if is_plain else None
        try:
            await forwarding.run(used, lambda: self._connect(sprite, port))
        except NothingListens:
            raise  # it says where
        except (errors.PeerError, faults.DeadlineExceeded) as error:
            raise type(error)(f"sprite {sprite.name}, port {port}: {error}", hint=error.hint) from error

    async def _connect(self, sprite: Sprite, port: int) -> Upstream:
        """Woken once more when its machine turns out to be gone."""
        try:
            return await self._waker.connect(self._pool, sprite, port)
        except NothingListens:
            raise
        except dial.Busy as error:
            raise faults.Unavailable(f"sprite {sprite.name} is busy: {error}", hint="try again") from error
        except (errors.PeerError, errors.StateError, errors.NotFound) as error:
            log.info("sprite is gone from where it was", extra={"sprite": sprite.name, "error": str(error)})
        self._sprites.mark_lost(sprite)
        await self._waker.wake(sprite)
        return await self._waker.connect(self._pool, sprite, port)

    def _check_room(self, sprite: Sprite) -> None:
        if self._activity.open_connections(sprite.id) >= MAX_AT_ONCE:
            raise faults.Unavailable(f"sprite {sprite.name} has {MAX_AT_ONCE} requests open already")

    def _tell(self, exchange: Exchange, site: Site | None, error: Exception) -> None:
        if isinstance(error, NotKnown) and _is_navigation(exchange) and not exchange.answer.has_begun:
            headers = self._entrance.invitation(exchange)
            exchange.answer.whole(302, [*headers, (b"cache-control", b"no-store")], b"")
            return
        more = ((b"www-authenticate", b"Bearer"),) if isinstance(error, NotKnown) else ()
        telling.tell(exchange, error, site.sprite.name if site else None, more)


def _is_navigation(exchange: Exchange) -> bool:
    """Whether a person's browser asks for a page, and so would follow to another one."""
    head = exchange.head
    kind = head.first(b"sec-fetch-dest")
    wants = head.method in ("GET", "HEAD") and pages.wants_html(head) and not head.wants_upgrade
    return wants and kind in (None, b"document", b"iframe", b"frame")
