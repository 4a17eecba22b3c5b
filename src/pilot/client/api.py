"""The server's JSON calls, as the commands need them."""

from __future__ import annotations

import json

from .. import errors
from . import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from .account import Account


class Api:
    """Errors: `NotFound`, `Conflict`, `PeerError` (no such server, or it failed), else `PilotError`."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Iterable[tuple[str, str]] = (),
    ) -> Any:
        """The answer's JSON; None when it has none."""
        answer = self._ask(method, path, body, query)
        try:
            content = answer.read()
        finally:
            answer.close()
        try:
            return json.loads(content) if content else None
        except (ValueError, RecursionError) as error:
            raise errors.PeerError(f"{method} {path}: the server's answer is not JSON") from error

    def stream(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Iterable[tuple[str, str]] = (),
        *,
        patience_s: float | None = http.ANSWER_S,
    ) -> Iterator[dict[str, Any]]:
        """The lines of an NDJSON answer; a line of type `error` with an `error` is raised."""
        answer = self._ask(method, path, body, query, {"Accept": "application/x-ndjson"}, patience_s)
        try:
            for text in answer.lines():
                line = json.loads(text)
                if line.get("type") == "error" and "error" in line:
                    raise errors.PilotError(line["error"] or "failed")
                yield line
        finally:
            answer.close()

    def every_sprite(self, prefix: str = "") -> Iterator[dict[str, Any]]:
        """All pages of the list."""
        query = [("prefix", prefix), ("max_results", "50")]
        while True:
            page = self.call("GET", "/v1/sprites", query=query)
            yield from page["sprites"]
            if not page.get("has_more"):
                return
            query = [*query[:2], ("continuation_token", page["next_continuation_token"])]

    def raw(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        *,
        patience_s: float | None = http.ANSWER_S,
    ) -> http.Answer:
        """The bytes of the answer; the caller closes it."""
        answer, _ = http.ask(self.account, method, http.target(path, query), timeout_s=patience_s)
        return _checked(answer)

    def upload(self, path: str, query: Iterable[tuple[str, str]], pieces: Iterable[bytes], length: int | None) -> None:
        """PUT what comes, of `length` bytes or as many as there are."""
        body = pieces if length is not None else http.chunked(pieces)
        headers = {} if length is not None else {"Transfer-Encoding": "chunked"}
        answer, _ = http.ask(
            self.account, "PUT", http.target(path, query), headers=headers, body=body, length=length, timeout_s=None
        )
        _checked(answer).close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Iterable[tuple[str, str]],
        headers: Mapping[str, str] | None = None,
        patience_s: float | None = http.ANSWER_S,
    ) -> http.Answer:
        content = b"" if body is None else encoded(body)
        given = dict(headers or {}) | ({"Content-Type": "application/json"} if content else {})
        length = len(content) if method in ("POST", "PUT") else None
        answer, _ = http.ask(
            self.account,
            method,
            http.target(path, query),
            headers=given,
            body=(content,) if content else (),
            length=length,
            timeout_s=patience_s,
        )
        return _checked(answer)


def encoded(body: Mapping[str, Any]) -> bytes:
    """As it is sent: what is no text (a word of a command line may be any bytes) is left to the server to refuse."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def _checked(answer: http.Answer) -> http.Answer:
    if answer.is_error:
        try:
            raise http.refusal(answer.status, answer.read())
        finally:
            answer.close()
    return answer


def sprite_path(name: str, rest: str = "") -> str:
    """`/v1/sprites/NAME/rest`; `rest` is quoted already."""
    return f"/v1/sprites/{http.quoted(name)}" + (f"/{rest}" if rest else "")
