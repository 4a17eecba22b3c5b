"""What an endpoint answers: a status, headers and a body that is whole or comes piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from .. import errors
from ..wire import faults

_encode = msgspec.json.Encoder().encode
JSON = "application/json"
NDJSON = "application/x-ndjson"
BYTES = "application/octet-stream"
RETRY_AFTER_S = 1
_LATER = frozenset({429, 503})


class Response:
    """An answer. A body that is an iterator is sent one chunk per item, each flushed, and closed in any case."""

    def __init__(
        self,
        status: int,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        content_type: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        length_bytes: int | None = None,
    ) -> None:
        self.status = status
        self.body = body
        length = len(body) if isinstance(body, bytes) else length_bytes
        self.headers = [
            *headers,
            *([("Content-Type", content_type)] if content_type else []),
            *([("Content-Length", str(length))] if length is not None and status != 204 else []),
        ]


def json(value: object, status: int = 200) -> Response:
    """The JSON of a struct."""
    return Response(status, _encode(value), content_type=JSON)


def ndjson(events: AsyncIterator[object]) -> Response:
    """A line of JSON for each event, when it happens."""
    return Response(200, _lines(events), content_type=NDJSON)


async def _lines(events: AsyncIterator[object]) -> AsyncIterator[bytes]:
    async for event in events:
        yield _encode(event) + b"\n"


def of_error(error: BaseException) -> Response:
    """The JSON shape of an error. What is not ours is an internal error, told in a line."""
    fault = faults.fault_of(error)
    return refusal(fault, faults.ErrorBody(errors.told(error), fault.code, getattr(error, "hint", None)), allow(error))


def allow(error: BaseException) -> Sequence[tuple[str, str]]:
    """The header that a 405 must have (RFC 9110, 15.5.6)."""
    return [("Allow", ", ".join(error.allowed))] if isinstance(error, faults.MethodNotAllowed) else []


def refusal(fault: faults.Fault, body: faults.ErrorBody, more: Sequence[tuple[str, str]] = ()) -> Response:
    """A fault as an answer; the header tells it also where the body's `code` speaks another language (fs calls)."""
    headers = [(faults.HEADER, fault.code), *more]
    if fault.status in _LATER:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    return Response(fault.status, _encode(body), content_type=JSON, headers=headers)
