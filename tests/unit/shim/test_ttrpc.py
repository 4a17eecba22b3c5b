"""ttrpc over a socket: calls at a time, refusals, and what nobody may send."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import struct
from collections.abc import AsyncIterator

import pytest

from pilot import errors
from pilot.shim import messages, protobuf, ttrpc
from pilot.shim.ttrpc import Bound, Code, Method, Response

SERVICE = "a.Service"


class Double:
    """Answers with twice the signal; waits for `go` when it is 7; refuses 0."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def kill(self, asked: messages.KillRequest) -> messages.PidResponse:
        if not asked.signal:
            raise errors.NotFound("no signal")
        if asked.signal == 7:
            await self.go.wait()
        return messages.PidResponse(pid=2 * asked.signal)


@contextlib.asynccontextmanager
async def serving(path: str, double: Double) -> AsyncIterator[None]:
    methods: dict[str, Bound] = {"Kill": Method(messages.KillRequest, double.kill)}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ttrpc.Connection({SERVICE: methods}, writer).serve(reader)

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def _request(stream: int, number: int, method: str = "Kill") -> bytes:
    payload = protobuf.encode(messages.KillRequest(signal=number))
    return ttrpc.frame(stream, ttrpc.REQUEST, ttrpc.Request(service=SERVICE, method=method, payload=payload))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Response]:
    found = await ttrpc.read_frame(reader)
    assert found is not None
    assert found[1] == ttrpc.RESPONSE
    return found[0], protobuf.decode(found[2], Response)


def test_calls_are_answered_as_they_are_done(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        double, path = Double(), os.fspath(tmp_path / "socket")
        async with serving(path, double):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(_request(1, 7) + _request(3, 5))
            stream, response = await _answer(reader)
            assert (stream, protobuf.decode(response.payload, messages.PidResponse).pid) == (3, 10)
            double.go.set()
            stream, response = await _answer(reader)
            assert (stream, protobuf.decode(response.payload, messages.PidResponse).pid) == (1, 14)
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize(("number", "method", "code"), [(0, "Kill", Code.NOT_FOUND), (1, "Other", Code.UNIMPLEMENTED)])
def test_a_refusal_says_why(tmp_path: pathlib.Path, number: int, method: str, code: Code) -> None:
    async def main() -> None:
        path = os.fspath(tmp_path / "socket")
        async with serving(path, Double()):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(_request(1, number, method))
            _, response = await _answer(reader)
            assert response.status is not None
            assert response.status.code is code
            assert response.status.message
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">IIBB", ttrpc.MOST_BYTES + 1, 1, ttrpc.REQUEST, 0),
        struct.pack(">IIBB", 0, 1, ttrpc.RESPONSE, 0),
        struct.pack(">IIBB", 10, 1, ttrpc.REQUEST, 0),
    ],
)
def test_a_connection_that_is_none_ends(tmp_path: pathlib.Path, data: bytes) -> None:
    async def main() -> None:
        path = os.fspath(tmp_path / "socket")
        async with serving(path, Double()):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


def test_a_client_connects_again(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = os.fspath(tmp_path / "socket")
        client = ttrpc.Client(path)
        with pytest.raises(errors.PeerError, match="Kill"):
            await client.call(SERVICE, "Kill", messages.KillRequest(signal=1), timeout_s=60)
        async with serving(path, Double()):
            for number in (2, 3):
                payload = await client.call(SERVICE, "Kill", messages.KillRequest(signal=number), timeout_s=60)
                assert protobuf.decode(payload, messages.PidResponse).pid == 2 * number
            with pytest.raises(errors.PeerError, match="no signal"):
                await client.call(SERVICE, "Kill", messages.KillRequest(), timeout_s=60)
            client.close()

    asyncio.run(main())
