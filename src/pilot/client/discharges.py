"""What third parties' caveats of a macaroon demand, asked for: `POST <location>/.well-known/macfly/3p`.

    {"ticket": base64} ─► 201 {"discharge": …}
                              {"poll_url": …}                          asked until it is there
                              {"user_interactive": {"user_url", "poll_url"}}   the same, when somebody has been there
    GET poll_url ─► 202: not yet; 200 {"discharge": …} or {"error": …}

Of the pilotd that `sprite` talks to it is asked with the key of `sprite`; nobody else is shown that.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request

from .. import errors
from ..wire.macaroons import header, macaroon, packing
from ..wire.macaroons.macaroon import Macaroon
from . import http, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context

WELL_KNOWN = "/.well-known/macfly/3p"
PATIENCE_S, POLL_S, ANSWER_S = 600.0, 1.0, 30.0
_MOST_BYTES = 1 << 20


def of(context: Context, location: str, ticket: bytes) -> list[Macaroon]:
    """The discharge, or several. `PilotError` for a third party that has none for us."""
    asked = {"ticket": base64.b64encode(ticket).decode()}
    place = f"/oidc/{http.quoted(context.api.call('GET', '/v1/organization')['organization'])}"
    if location == context.api.call("GET", f"{place}/.well-known/openid-configuration")["issuer"]:
        return _read(location, context.api.call("POST", f"{place}{WELL_KNOWN}", asked))
    return _Elsewhere(location).discharge(asked)


def _read(location: str, answer: Any) -> list[Macaroon]:
    shown = answer.get("discharge") if isinstance(answer, dict) else None
    if not isinstance(shown, str):
        why = answer.get("error", "no discharge") if isinstance(answer, dict) else "no discharge"
        raise errors.PilotError(f"third party {location}: {why}")
    try:
        return [macaroon.decode(data) for data in header.parse_tokens(shown)]
    except packing.Malformed as error:
        raise errors.PeerError(f"third party {location}: its discharge is none: {error}") from error


class _Elsewhere:
    """A third party that is not this pilotd; its cookies are kept from one request to the next."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        _check(location, location)

    def discharge(self, asked: dict[str, str]) -> list[Macaroon]:
        status, answer = self._ask(f"{self._location.rstrip('/')}{WELL_KNOWN}", asked)
        if status != 201 or not isinstance(answer, dict):
            return _read(self._location, answer)
        interactive = answer.get("user_interactive")
        if isinstance(interactive, dict):
            output.tell(f"open {interactive.get('user_url')}")
            answer = interactive
        return self._poll(answer["poll_url"]) if "poll_url" in answer else _read(self._location, answer)

    def _poll(self, url: str) -> list[Macaroon]:
        _check(self._location, url)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, answer = self._ask(url)
            if status != 202:
                return _read(self._location, answer)
            if time.monotonic() > deadline:
                raise errors.PilotError(f"third party {self._location}: nothing within {PATIENCE_S:g} s")
            time.sleep(POLL_S)

    def _ask(self, url: str, body: dict[str, str] | None = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
        try:
            with self._opener.open(request, timeout=ANSWER_S) as answer:
                content = answer.read(_MOST_BYTES)
                return answer.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            raise errors.PilotError(f"third party {self._location}: {error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            raise errors.PeerError(f"third party {self._location}: {error}") from error


def _check(location: str, url: object) -> None:
    """`PilotError` for what is no address of the web."""
    if not isinstance(url, str) or urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise errors.PilotError(f"third party {location}: {url!r} is no address of the web")
