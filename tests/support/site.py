"""A sprite of a HostUnderTest with an address on the web, and what its services would say."""

from __future__ import annotations

import threading
from typing import Literal

import httpx

from pilot.host.services.wanted import NewSprite, SpriteChanges
from pilot.host.store.sprites import Sprite, UrlSettings
from tests.support.backend import Backend
from tests.support.host import HostUnderTest


class Served:
    """A sprite that is public, until it is made otherwise."""

    def __init__(self, host: HostUnderTest, name: str) -> None:
        self.under_test = host
        self.name = name
        assert host.sprites.create(host.organisation.id, NewSprite(name)).result(60).done
        self.set_auth("public")

    @property
    def row(self) -> Sprite:
        return self.under_test.sprites.find(self.under_test.organisation.id, self.name)

    def set_auth(self, auth: Literal["sprite", "public"], access: str | None = None) -> None:
        """Who may see it."""
        self.under_test.sprites.update(self.row, SpriteChanges(UrlSettings(auth, access)))

    @property
    def host(self) -> str:
        return f"{self.row.name}-{self.row.suffix}.localhost"

    @property
    def url(self) -> str:
        return self.under_test.url

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"Host": self.host} | headers, follow_redirects=False, timeout=30)

    def raw(self, line: str = "GET / HTTP/1.1", *headers: str, body: bytes = b"", host: str = "") -> bytes:
        return "\r\n".join([line, f"Host: {host or self.host}", *headers]).encode() + b"\r\n\r\n" + body


class Front:
    """As services would say."""

    def __init__(self) -> None:
        self.web_port = 8080
        self.starting: Backend | None = None
        self.asked = 0

    async def port(self, sprite: Sprite) -> int:
        return self.web_port

    async def start(self, sprite: Sprite, port: int) -> bool:
        self.asked += 1
        if self.starting is None:
            return False
        threading.Timer(0.2, self.starting.start).start()
        return True
