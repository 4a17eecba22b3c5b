"""Calls on sprites themselves."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import JSONResponse, Response, StreamingResponse

from .... import errors
from ....wire.permissions import Permission
from ...operations.results import Forked
from ...relay import edge
from ...relay.crowd import Kind
from ...services import ending
from ...services.wanted import Forks, NewSprite, SpriteChanges
from ..call import Call
from ..streams import OPERATION_TIMEOUT_S, now
from . import resources, shapes
from .watch import Watch

CREATE_TIMEOUT_S = 110.0  # sprites-py and @fly/sprites give up after 120
MAX_PAGE = 50


async def create_sprite(call: Call) -> Response:
    wanted = await call.body(NewSprite)
    if wanted.origin and wanted.origin.sprite:
        assert call.principal is not None
        await call.access.sprite(call.principal, wanted.origin.sprite)  # who has a fork has the disk
    if wanted.origin and wanted.origin.machine:
        assert call.principal is not None
        call.principal.asking(Permission.EXEC).require_whole()  # as with an exec there, it can read all that is on it
    started = await asyncio.to_thread(call.sprites.create, call.organisation.id, wanted)
    await ending.finish(started, CREATE_TIMEOUT_S)
    row = await asyncio.to_thread(call.sprites.find, call.organisation.id, wanted.name)
    return _with_allowance(call, JSONResponse(await call.describe(row), 201))


def _with_allowance(call: Call, response: Response) -> Response:
    """How many more may be made, where there is a limit."""
    left = call.sprites.creation_rate.left(call.organisation.id)
    if left is not None:
        response.raw_headers += edge.rate_headers(left.limit, left.remaining, left.more_in_s, refused=False)
    return response


async def fork_sprites(call: Call) -> Response:
    """Several at once, all on one state. Those that could not be made are told; `Conflict` when none could."""
    wanted, row = await call.body(Forks), await call.sprite()
    started = await asyncio.to_thread(call.sprites.fork_many, row, wanted)
    failed = (await ending.finish(started, OPERATION_TIMEOUT_S)).result(Forked).failed
    if len(failed) == len(wanted.names):
        raise errors.Conflict(f"none was made: {next(iter(failed.values()))}")
    names = [name for name in wanted.names if name not in failed]
    made = [await asyncio.to_thread(call.sprites.find, call.organisation.id, name) for name in names]
    told = [{"name": name, "error": error} for name, error in failed.items()]
    document = {"sprites": [await call.describe(each) for each in made], "failed": told}
    return _with_allowance(call, JSONResponse(document, 201))


async def list_sprites(call: Call) -> Response:
    query = call.request.query_params
    if call.request.method == "GET" and "application/x-ndjson" in call.request.headers.get("accept", ""):
        call.hold(Kind.WATCH)
        organisation, prefix = call.organisation, query.get("prefix", "")
        watch = Watch(call.sprites, organisation.id, organisation.slug, prefix, call.shape, call.reaches)
        return StreamingResponse(watch.lines(), media_type="application/x-ndjson")
    entries = await asyncio.to_thread(_described, call)
    org = shapes.counts(
        call.organisation.slug, (entry["status"] for entry in entries), call.sprites.running_limit.limit
    )
    after = query.get("continuation_token", "")
    chosen = [entry for entry in entries if entry["name"].startswith(query.get("prefix", "")) and entry["name"] > after]
    size = _page_size(query.get("max_results"))
    token = chosen[size - 1]["name"] if len(chosen) > size else None
    return JSONResponse(shapes.page(chosen[:size], org, token))


def _described(call: Call) -> list[shapes.SpriteShape]:
    """Of store and kernel, so in a thread."""
    rows = call.sprites.every(call.organisation.id)
    return [call.shape(row) for row in rows if row.phase != "destroying" and call.reaches(row.id)]


def _page_size(text: str | None) -> int:
    """Clamped, not refused: clients ask for 100."""
    return (
        min(max(int(text), 1), MAX_PAGE)
        if text and text.isdecimal() and text.isascii() and len(text) < 10
        else MAX_PAGE
    )


async def get_sprite(call: Call) -> Response:
    return JSONResponse(await call.describe(await call.sprite()))


async def update_sprite(call: Call) -> Response:
    changes = await call.body(SpriteChanges)
    if changes.config is not None:
        await resources.resize(call, changes.config)
    row = await asyncio.to_thread(call.sprites.update, await call.sprite(), changes)
    return JSONResponse(await call.describe(row))


async def destroy_sprite(call: Call) -> Response:
    await ending.finish(await asyncio.to_thread(call.sprites.destroy, await call.sprite()), OPERATION_TIMEOUT_S)
    return Response(status_code=204)


async def restart_sprite(call: Call) -> Response:
    row = await call.sprite()
    await ending.finish(await asyncio.to_thread(call.sprites.restart, row), OPERATION_TIMEOUT_S)
    return JSONResponse({"sprite_name": row.name, "machine_id": row.machine, "message": "restarted"})


async def stop_sprite(call: Call) -> Response:
    row = await call.sprite()
    await ending.finish(await asyncio.to_thread(call.sprites.stop, row), OPERATION_TIMEOUT_S)
    return JSONResponse(await call.describe(await call.sprite()))


async def check_sprite(call: Call) -> Response:
    row, began = await call.sprite(), time.monotonic()
    status = (await call.describe(row))["status"]
    report = {"sprite_name": row.name, "sprite_id": row.id, "status": status, "reason": "", "checked_at": now()}
    return JSONResponse(report | {"elapsed": f"{(time.monotonic() - began) * 1000:.1f}ms"})


async def get_disk(call: Call) -> Response:
    """Our extension: where the disk is in the object store, and since when all of it is."""
    row = await call.sprite()
    found = await asyncio.to_thread(call.sprites.disk, row)
    return JSONResponse(shapes.disk(found, with_url=call.may(Permission.SPRITES_WRITE, row.id)))


async def get_organisation(call: Call) -> Response:
    return JSONResponse({"organization": call.organisation.slug, "resources": {}})


async def exec_version(call: Call) -> Response:
    """sprites-go asks for the version by HEAD; no reason to wake the sprite."""
    await call.sprite()
    return Response(status_code=200)
