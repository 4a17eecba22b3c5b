"""Our extension: what the containers of a Machine have written, line by line (upstream's logs are another service's).

?container=NAME   of that one alone
?since=SECONDS    of Unix time: nothing older
?follow=true      it goes on with what comes, until the Machine stops; with an empty line now and then
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from .... import errors
from ....wire import faults
from ...fly import config as configs
from ...fly import containers
from ...relay.crowd import Kind
from ...services import fly_logs
from ...services.fly_logs import Line, Wanted
from ...store.fly import Machine
from .call import Call

Lines = AsyncGenerator[Line, None] | AsyncGenerator[Line | None, None]
_TYPE = "application/x-ndjson"
_MOST_S = 2.5e11  # of what years a time is told


async def read_logs(call: Call) -> Response:
    """412 for one that is neither running nor stopped; of a stopped one what was kept, which ends."""
    row = await call.machine()
    wanted = _wanted(call, row)
    if row.state != "started":
        lines = await asyncio.to_thread(call.machines.processes.last_logs, row)
        body = b"".join(_line(line) for line in lines if wanted.has(line))
        return Response(body, media_type=_TYPE)
    dial_path = await asyncio.to_thread(call.machines.processes.dial_path, row)
    call.hold(Kind.WATCH)  # also of one that ends: a slow reader holds a connection to the machine
    read = fly_logs.reading(dial_path, wanted)
    found: Lines = fly_logs.followed(read, wanted) if wanted.follow else fly_logs.kept(read, wanted)
    first = await anext(found, None)  # what the machine refuses is an answer of its own still
    return StreamingResponse(_told(first, found), media_type=_TYPE)


def _wanted(call: Call, row: Machine) -> Wanted:
    query = call.request.query_params
    names = containers.names(configs.parse(row.config))
    name = query.get("container", "")
    if name and name not in names:
        raise errors.NotFound(f"logs: no container {name[:50]}; it has {', '.join(names)}")
    return Wanted((name,) if name else names, _since_s(query.get("since", "")), call.flag("follow"))


def _since_s(text: str) -> float | None:
    if not text:
        return None
    try:
        since_s = float(text)
    except ValueError:
        since_s = -1.0
    if not 0 <= since_s <= _MOST_S:
        raise faults.InvalidRequest(f"since: {text[:40]!r} is no time in seconds")
    return since_s


async def _told(first: Line | None, found: Lines) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(found):  # also when nobody reads any more
        yield _line(first)
        try:
            async for each in found:
                yield _line(each)
        except errors.PilotError as error:
            yield msgspec.json.encode({"type": "error", "error": str(error)}) + b"\n"


def _line(line: Line | None) -> bytes:
    if line is None:
        return b"\n"
    return msgspec.json.encode({"container": line.container, **msgspec.to_builtins(line.piece)}) + b"\n"
