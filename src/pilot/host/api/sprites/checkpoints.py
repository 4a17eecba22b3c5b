"""Calls on a sprite's checkpoints."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import IO

from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from .... import errors
from ....wire import faults
from ...operations.results import Reserved
from ...services import ending, putting_back
from ...store.sprites import Sprite
from ..call import Call
from ..streams import OPERATION_TIMEOUT_S, STREAM_NOTE_S, Deadline, json_line, stream, tell
from . import bodies, shapes

_PIECE_BYTES = 64 << 10


async def create_checkpoint(call: Call) -> Response:
    wanted = await call.body(bodies.CreateCheckpoint)
    row = await call.sprite()
    ended = await asyncio.to_thread(call.sprites.make_checkpoint, row, wanted.comment or "", wanted.name)
    return stream(ended, "creating checkpoint", lambda done: f"checkpoint {done.result(Reserved).id} created")


async def restore_checkpoint(call: Call) -> Response:
    wanted, checkpoint = await call.body(bodies.RestoreCheckpoint), call.parameters["checkpoint"]
    row = await call.sprite()
    if wanted.path is not None:
        return await _restore_path(call, row, putting_back.parse(wanted.path))
    ended = await asyncio.to_thread(call.sprites.restore, row, checkpoint)
    return stream(ended, f"restoring checkpoint {checkpoint}", lambda _: f"restored {checkpoint}")


async def _restore_path(call: Call, row: Sprite, path: str) -> Response:
    point = await asyncio.to_thread(call.sprites.checkpoint, row, call.parameters["checkpoint"])

    async def put() -> str:
        with call.access.activity.using(row.id):
            (await call.access.open(row)).close()  # woken, if it slept
            found = await asyncio.to_thread(call.sprites.find, row.organisation, row.name)
            await call.sprites.putting_back.run(found, point.id, path)
        return f"restored {path} of {point.id}"

    return tell(put(), f"restoring {path} of checkpoint {point.id}")


async def list_checkpoints(call: Call) -> Response:
    row = await call.sprite()
    points = await asyncio.to_thread(call.sprites.checkpoints, row)
    sources: dict[str, str | None] = {point.id: point.source for point in points}
    shown = [shapes.current(row, time.time_ns() // 1000, shapes.history(row.current_source, sources))]
    automatic = call.request.query_params.get("includeAuto") == "true"
    listed = [point for point in points if automatic or not point.is_auto]
    shown += [shapes.checkpoint(point, shapes.history(point.source, sources)) for point in listed]
    wanted = call.request.query_params.get("history")
    if wanted is None:
        return JSONResponse(shown)
    return PlainTextResponse("".join(f"{point['id']}\n" for point in shown if wanted in point["history"]))


async def get_checkpoint(call: Call) -> Response:
    return await _told(call, await call.sprite(), call.parameters["checkpoint"])


async def _told(call: Call, row: Sprite, checkpoint: str) -> Response:
    points = await asyncio.to_thread(call.sprites.checkpoints, row)
    sources: dict[str, str | None] = {point.id: point.source for point in points}
    if checkpoint == "Current":
        now = time.time_ns() // 1000
        return JSONResponse(shapes.current(row, now, shapes.history(row.current_source, sources)))
    point = await asyncio.to_thread(call.sprites.checkpoint, row, checkpoint)
    return JSONResponse(shapes.checkpoint(point, shapes.history(point.source, sources)))


async def rename_checkpoint(call: Call) -> Response:
    """It is called so from now on, and another one that was is not."""
    row, wanted = await call.sprite(), await call.body(bodies.RenameCheckpoint)
    point = await asyncio.to_thread(call.sprites.rename_checkpoint, row, call.parameters["checkpoint"], wanted.name)
    return await _told(call, row, point.id)


async def list_files(call: Call) -> Response:
    """What is in a directory of it, in the shape of the machines' own `fs/list`."""
    row, path = await call.sprite(), _path_in(call)
    point = await asyncio.to_thread(call.sprites.checkpoint, row, call.parameters["checkpoint"])
    found = await asyncio.to_thread(call.sprites.browsing.entries, row.volume, point.id, path)
    return Response(json_line(shapes.listing(path, found)), media_type="application/json")


async def read_file(call: Call) -> Response:
    row, path = await call.sprite(), _path_in(call)
    point = await asyncio.to_thread(call.sprites.checkpoint, row, call.parameters["checkpoint"])
    browsing, media_type = call.sprites.browsing, "application/octet-stream"
    if call.request.method == "HEAD":
        size_bytes = await asyncio.to_thread(browsing.size, row.volume, point.id, path)
        return Response(headers={"content-length": str(size_bytes)}, media_type=media_type)
    file, size_bytes = await asyncio.to_thread(browsing.file, row.organisation, row.volume, point.id, path)
    headers = {"content-length": str(size_bytes)}
    return StreamingResponse(_pieces(file), media_type=media_type, headers=headers)


def _path_in(call: Call) -> str:
    path = call.request.query_params.get("path", "")
    if not path.startswith("/") or "\0" in path:
        raise faults.InvalidRequest(f"path: {path[:80]!r} is none that begins at /")
    return path


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    deadline = Deadline(os.fstat(file.fileno()).st_size)
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
            yield piece
            deadline.check()


async def compare_checkpoint(call: Call) -> Response:
    """NDJSON: what has changed from the checkpoint to another one (`to`), or to what the disk is now."""
    row, before = await call.sprite(), call.parameters["checkpoint"]
    wanted = call.request.query_params.get("to", "Current")
    after = None if wanted == "Current" else wanted
    for name in (before, *([after] if after else [])):
        await asyncio.to_thread(call.sprites.checkpoint, row, name)  # a wrong name is an answer, not a line of one
    work = asyncio.to_thread(call.sprites.difference, row, before, after)
    return StreamingResponse(_difference(asyncio.ensure_future(work)), media_type="application/x-ndjson")


async def _difference(working: asyncio.Future[IO[bytes]]) -> AsyncIterator[bytes]:
    """Blank lines until it is there, as other streams have them."""
    while not (await asyncio.wait({working}, timeout=STREAM_NOTE_S))[0]:
        yield b"\n"
    try:
        found = working.result()
    except errors.PilotError as error:
        yield json_line(shapes.line("error", str(error), time.time_ns() // 1000))
        return
    async for piece in _pieces(found):
        yield piece


async def delete_checkpoint(call: Call) -> Response:
    checkpoint = call.parameters["checkpoint"]
    if checkpoint == "Current":
        raise faults.InvalidRequest("the current state cannot be deleted")
    ended = await asyncio.to_thread(call.sprites.delete_checkpoint, await call.sprite(), checkpoint)
    await ending.finish(ended, OPERATION_TIMEOUT_S)
    return Response(status_code=204)
