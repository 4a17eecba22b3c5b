"""How a person with a browser gets in: signs in at the API's own host, and is let into one sprite's.

    web-1a2b.localhost/x          not known ─► localhost/login?to=http://web-1a2b.localhost/x
    localhost/login               a token, once; remembered here alone
        ─► web-1a2b.localhost/.pilot/enter?code=…     sealed for this host, for a minute, and for one time
    web-1a2b.localhost/x          with a cookie of this host alone

The form is never shown at a sprite's own host: whatever is served there (and its service workers) is a stranger's, who
could show the same form to have a token typed into it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

from ... import errors
from ...wire import faults
from ..relay.edge import Exchange
from . import cookies, pages, visitors
from .sites import Site, Sites
from .visitors import Visitors

LOGIN_PATH = b"/login"
ENTER_PATH = b"/.pilot/enter"
MAX_FORM_BYTES = 16 << 10
MAX_TO = 2048


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Where a visitor was going: a page of a sprite."""

    site: Site
    origin: str
    rest: str


class Entrance:
    """Both ends of it. For one event loop."""

    def __init__(self, sites: Sites, those: Visitors, clock: Callable[[], float] = time.monotonic) -> None:
        self._sites = sites
        self._visitors = those
        self._clock = clock
        self._spent: dict[str, float] = {}

    # At a sprite's host

    def invitation(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """The headers that send a browser to sign in."""
        head = exchange.head
        authority = (head.first(b"host") or b"").decode("latin-1")
        _, _, port = authority.partition(":")
        here = self._sites.domain.name + (f":{port}" if port else "")
        to = f"{exchange.scheme}://{authority}{_shown(head.path, head.query)}"
        return [(b"location", f"{exchange.scheme}://{here}/login?to={quote(to[:MAX_TO], safe='')}".encode())]

    async def enter(self, exchange: Exchange, site: Site) -> None:
        """Take a code for a cookie."""
        code = _first(exchange.head.query, "code")
        opened = self._visitors.seals.opened(visitors.CODE, site.host, code)
        token, _, rest = (opened or "").partition("\n")
        if opened is None or not self._spend(code) or await self._visitors.member(site, token) is None:
            raise faults.PermissionDenied("this way in is over, or was used already", hint="open the address again")
        visit = self._visitors.seals.seal(visitors.VISIT, site.host, token, visitors.VISIT_S)
        cookie = cookies.made(
            cookies.VISIT, visit, secure=exchange.scheme == "https", lasts_s=visitors.VISIT_S
        )  # fmt: skip
        _send_on(exchange, rest, cookie)

    def _spend(self, code: str) -> bool:
        """Whether it is used for the first time."""
        now_s = self._clock()
        self._spent = {each: until_s for each, until_s in self._spent.items() if until_s > now_s}
        if code in self._spent:
            return False
        self._spent[code] = now_s + 2 * visitors.CODE_S
        return True

    # At the API's host

    async def serve_login(self, exchange: Exchange) -> None:
        """The facade of /login."""
        try:
            await self._login(exchange)
        except errors.PilotError as error:
            fault = faults.fault_of(error)
            headers, body = pages.of_error(exchange.head, fault.status, str(error), error.hint)
            exchange.answer.whole(fault.status, headers, body)

    async def _login(self, exchange: Exchange) -> None:
        match exchange.head.method:
            case "GET" | "HEAD":
                wanted = await self._wanted(_first(exchange.head.query, "to"))
                await self._greet(exchange, wanted)
            case "POST":
                form = await _form(exchange)
                wanted = await self._wanted(_first(form, "to"))
                await self._let_in(exchange, wanted, _first(form, "token").strip())
            case _:
                raise faults.MethodNotAllowed("method not allowed", allowed=["GET", "POST"])

    async def _greet(self, exchange: Exchange, wanted: Wanted) -> None:
        """Who has signed in here before goes on at once."""
        for sealed in cookies.values(exchange.head.headers, cookies.LOGIN):
            token = self._visitors.seals.opened(visitors.LOGIN, exchange.head.host, sealed)
            if token is not None and await self._visitors.member(wanted.site, token) is not None:
                _send_on(exchange, self._way_in(wanted, token), None)
                return
        self._show_form(exchange, wanted, 200, None)

    async def _let_in(self, exchange: Exchange, wanted: Wanted, token: str) -> None:
        if await self._visitors.member(wanted.site, token) is None:
            self._show_form(exchange, wanted, 401, "That is not a token of its organisation.")
            return
        login = self._visitors.seals.seal(visitors.LOGIN, exchange.head.host, token, visitors.VISIT_S)
        secure, path = exchange.scheme == "https", LOGIN_PATH.decode()
        cookie = cookies.made(cookies.LOGIN, login, secure=secure, lasts_s=visitors.VISIT_S, path=path)
        _send_on(exchange, self._way_in(wanted, token), cookie)

    def _way_in(self, wanted: Wanted, token: str) -> str:
        code = self._visitors.seals.seal(visitors.CODE, wanted.site.host, f"{token}\n{wanted.rest}", visitors.CODE_S)
        return f"{wanted.origin}{ENTER_PATH.decode()}?code={code}"

    async def _wanted(self, to: str) -> Wanted:
        """`InvalidRequest` for what is no page of a sprite: nobody is sent elsewhere from here."""
        try:
            parts = urlsplit(to)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        is_ours = parts.scheme in ("http", "https") and self._sites.domain.label(host) is not None
        site = await self._sites.find(host) if is_ours else None
        if site is None:
            raise faults.InvalidRequest("sign in: no sprite has that address", hint="open a sprite's own address")
        origin = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        return Wanted(site, origin, _shown(parts.path.encode(), parts.query.encode()))

    @staticmethod
    def _show_form(exchange: Exchange, wanted: Wanted, status: int, wrong: str | None) -> None:
        headers, body = pages.login(wanted.site.sprite.name, f"{wanted.origin}{wanted.rest}", wrong)
        exchange.answer.whole(status, headers, body)


def _send_on(exchange: Exchange, to: str, cookie: bytes | None) -> None:
    headers = [(b"location", to.encode()), (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]
    exchange.answer.whole(303, headers + ([(b"set-cookie", cookie)] if cookie else []), b"")


def _shown(path: bytes, query: bytes) -> str:
    """A path of the host that it is asked of, whatever it is made of: `//elsewhere` would be another host."""
    text = "/" + path.decode("latin-1").lstrip("/\\") + ("?" + query.decode("latin-1") if query else "")
    return quote(text, safe="/?%!$&'()*+,;=:@-._~")


def _first(query: bytes | str, name: str) -> str:
    text = query.decode("latin-1") if isinstance(query, bytes) else query
    try:
        return parse_qs(text, max_num_fields=16).get(name, [""])[0]
    except ValueError:
        return ""


async def _form(exchange: Exchange) -> str:
    exchange.go_on()
    data = b""
    while (piece := await exchange.body.piece()) is not None:
        data += piece
        if len(data) > MAX_FORM_BYTES:
            raise faults.TooLarge(f"sign in: more than {MAX_FORM_BYTES} bytes")
    return data.decode("latin-1")
