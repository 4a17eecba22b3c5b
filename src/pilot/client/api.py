"""The server's JSON calls, as the commands need them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from .. import errors
from .account import Account

TIMEOUT_S = 30.0
LONG_S = 300.0


class Api:
    """Close it. Errors: `NotFound`, `Conflict`, `PeerError` (no such server, or it failed), else `PilotError`."""

    def __init__(self, account: Account) -> None:
        self.account = account
        headers = {"Authorization": f"Bearer {account.token}"}
        self._http = httpx.Client(base_url=account.url, headers=headers, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """The answer's JSON; None when it has none."""
        try:
            answer = self._http.request(method, path, json=body, params=query, timeout=LONG_S)
        except httpx.HTTPError as error:
            raise _unreachable(self.account, error) from error
        _check(answer)
        return answer.json() if answer.content else None

    def stream(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The lines of an NDJSON answer; a line of type `error` is raised."""
        try:
            with self._http.stream(method, path, json=body, timeout=LONG_S) as answer:
                if answer.is_error:
                    answer.read()
                _check(answer)
                for line in answer.iter_lines():
                    if line.strip():
                        yield _checked_line(json.loads(line))
        except httpx.HTTPError as error:
            raise _unreachable(self.account, error) from error

    def every_sprite(self, prefix: str = "") -> Iterator[dict[str, Any]]:
        """All pages of the list."""
        query: dict[str, Any] = {"prefix": prefix, "max_results": 50}
        while True:
            page = self.call("GET", "/v1/sprites", **query)
            yield from page["sprites"]
            if not page.get("has_more"):
                return
            query["continuation_token"] = page["next_continuation_token"]


def _checked_line(line: dict[str, Any]) -> dict[str, Any]:
    if line.get("type") == "error":
        raise errors.PilotError(line.get("error") or "failed")
    return line


_KINDS: dict[int, type[errors.PilotError]] = {404: errors.NotFound, 409: errors.Conflict}


def _check(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    try:
        document = answer.json()
        text, hint = document["error"], document.get("message")
    except (ValueError, KeyError, TypeError):
        text, hint = answer.text.strip() or answer.reason_phrase.lower(), None
    kind = _KINDS.get(answer.status_code, errors.PeerError if answer.status_code >= 500 else errors.PilotError)
    raise kind(text, hint=hint)


def _unreachable(account: Account, error: Exception) -> errors.PeerError:
    return errors.PeerError(f"reach {account.url}: {error}", hint="is pilotd running there?")
