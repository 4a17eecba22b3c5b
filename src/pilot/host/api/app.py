"""The Sprites API as a starlette application: JSON from the store, NDJSON of long operations, relayed calls.

WebSocket upgrades never come here: `upgrade.Upgrade` takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ... import errors
from ...wire import faults
from ..fsm.engine import Ended
from ..fsm.outcome import Outcome
from ..operations.results import Reserved
from ..services import ending
from ..services.sprites import Sprites
from ..store.sprites import Sprite
from ..store.tokens import Organisation
from . import bodies, metrics, reach, relay, shapes
from .access import Access

log = logging.getLogger(__name__)

CREATE_TIMEOUT_S = 110.0  # sprites-py and @fly/sprites give up after 120
OPERATION_TIMEOUT_S = 290.0
STREAM_NOTE_S = 10.0
WATCH_PERIOD_S = 1.0
HEARTBEAT_S = 15.0
MAX_PAGE = 50
HEADERS = {"Sprite-Version": shapes.VERSION}

Answer = Callable[["Call"], Awaitable[Response]]


class Call:
    """One authenticated request, and what all answers need."""

    def __init__(self, request: Request, entry: Access, organisation: Organisation) -> None:
        self.request = request
        self.entry = entry
        self.organisation = organisation

    @property
    def sprites(self) -> Sprites:
        return self.entry.sprites

    def sprite(self) -> Sprite:
        return self.entry.sprite(self.organisation, self.request.path_params["name"])

    async def body(self, kind: type[bodies._T]) -> bodies._T:
        return bodies.parse(kind, await bodies.read(self.request))

    async def describe(self, row: Sprite) -> dict[str, Any]:
        """The status is asked of the kernel, so in a thread."""
        return await asyncio.to_thread(self.shape, row)

    def shape(self, row: Sprite) -> dict[str, Any]:
        base = self.request.base_url
        url = f"{base.scheme}://{row.name}-{row.suffix}.{base.hostname}" + (f":{base.port}" if base.port else "")
        return shapes.sprite(row, self.organisation.slug, self.sprites.status(row), url, self.sprites.isolation(row))


# Sprites


async def create_sprite(call: Call) -> Response:
    wanted = await call.body(bodies.CreateSprite)
    started = await asyncio.to_thread(call.sprites.create, call.organisation.id, bodies.as_json(wanted))
    await ending.finish(started, CREATE_TIMEOUT_S)
    row = call.sprites.find(call.organisation.id, wanted.name)
    return JSONResponse(await call.describe(row), 201)


async def list_sprites(call: Call) -> Response:
    query = call.request.query_params
    if "application/x-ndjson" in call.request.headers.get("accept", ""):
        return StreamingResponse(_watch(call, query.get("prefix", "")), media_type="application/x-ndjson")
    rows = _shown(call)
    entries = await asyncio.to_thread(lambda: [call.shape(row) for row in rows])
    org = shapes.counts(call.organisation.slug, (entry["status"] for entry in entries))
    after = query.get("continuation_token", "")
    chosen = [entry for entry in entries if entry["name"].startswith(query.get("prefix", "")) and entry["name"] > after]
    size = _page_size(query.get("max_results"))
    token = chosen[size - 1]["name"] if len(chosen) > size else None
    return JSONResponse(shapes.page(chosen[:size], org, token))


def _shown(call: Call) -> list[Sprite]:
    return [row for row in call.sprites.every(call.organisation.id) if row.phase != "destroying"]


def _page_size(text: str | None) -> int:
    """Clamped, not refused: clients ask for 100."""
    return (
        min(max(int(text), 1), MAX_PAGE)
        if text and text.isdecimal() and text.isascii() and len(text) < 10
        else MAX_PAGE
    )


async def _watch(call: Call, prefix: str) -> AsyncIterator[bytes]:
    """The sprites as they are, then each change, with heartbeats between."""
    known: dict[str, dict[str, Any]] = {}
    silent_s = HEARTBEAT_S
    while True:
        rows = [row for row in call.sprites.every(call.organisation.id) if row.name.startswith(prefix)]
        now: dict[str, dict[str, Any]] = {
            row.name: await call.describe(row) for row in rows if row.phase != "destroying"
        }
        org = shapes.counts(call.organisation.slug, (entry["status"] for entry in now.values()))
        changed = [entry for name, entry in now.items() if known.get(name) != entry]
        for entry in changed:
            yield _json_line(_watch_line(entry) | {"org": org})
        silent_s = 0 if changed else silent_s + WATCH_PERIOD_S
        if silent_s >= HEARTBEAT_S:
            silent_s = 0
            yield _json_line({"type": "heartbeat", "timestamp": _now(), "org": org})
        known = now
        await asyncio.sleep(WATCH_PERIOD_S)


def _watch_line(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {key: entry[key] for key in ("name", "status", "last_running_at", "last_warming_at")}
    return kept | {"running_version": entry["version"], "timestamp": _now()}


async def get_sprite(call: Call) -> Response:
    return JSONResponse(await call.describe(call.sprite()))


async def update_sprite(call: Call) -> Response:
    changes = await call.body(bodies.UpdateSprite)
    row = await asyncio.to_thread(call.sprites.update, call.sprite(), bodies.as_json(changes))
    return JSONResponse(await call.describe(row))


async def destroy_sprite(call: Call) -> Response:
    await ending.finish(await asyncio.to_thread(call.sprites.destroy, call.sprite()), OPERATION_TIMEOUT_S)
    return Response(status_code=204)


async def restart_sprite(call: Call) -> Response:
    row = call.sprite()
    await ending.finish(await asyncio.to_thread(call.sprites.restart, row), OPERATION_TIMEOUT_S)
    return JSONResponse({"sprite_name": row.name, "machine_id": row.machine, "message": "restarted"})


async def stop_sprite(call: Call) -> Response:
    row = call.sprite()
    await ending.finish(await asyncio.to_thread(call.sprites.stop, row), OPERATION_TIMEOUT_S)
    return JSONResponse(await call.describe(call.sprites.find(call.organisation.id, row.name)))


async def check_sprite(call: Call) -> Response:
    row, began = call.sprite(), time.monotonic()
    status = (await call.describe(row))["status"]
    report = {"sprite_name": row.name, "sprite_id": row.id, "status": status, "reason": "", "checked_at": _now()}
    return JSONResponse(report | {"elapsed": f"{(time.monotonic() - began) * 1000:.1f}ms"})


async def get_disk(call: Call) -> Response:
    """Our extension: where the disk is in the object store, and since when all of it is."""
    return JSONResponse(shapes.disk(await asyncio.to_thread(call.sprites.disk, call.sprite())))


async def get_network_policy(call: Call) -> Response:
    return JSONResponse((await asyncio.to_thread(call.sprites.network_policy, call.sprite())).as_json())


async def set_network_policy(call: Call) -> Response:
    """In force when it is answered."""
    wanted = bodies.parse_policy(await bodies.read(call.request, bodies.MAX_POLICY_BYTES))
    await asyncio.to_thread(call.sprites.set_network_policy, call.sprite(), wanted)
    return Response(status_code=204)


async def get_network(call: Call) -> Response:
    """Our extension: what the sprite's network has let through, and what not."""
    report = await asyncio.to_thread(call.sprites.network_report, call.sprite())
    return Response(msgspec.json.encode(report), media_type="application/json")


async def get_organisation(call: Call) -> Response:
    return JSONResponse({"organization": call.organisation.slug, "resources": {}})


# Checkpoints


async def create_checkpoint(call: Call) -> Response:
    wanted = await call.body(bodies.CreateCheckpoint)
    ended = await asyncio.to_thread(call.sprites.make_checkpoint, call.sprite(), wanted.comment or "")
    return _stream(ended, "creating checkpoint", lambda done: f"checkpoint {done.result(Reserved).id} created")


async def restore_checkpoint(call: Call) -> Response:
    checkpoint = call.request.path_params["checkpoint"]
    ended = await asyncio.to_thread(call.sprites.restore, call.sprite(), checkpoint)
    return _stream(ended, f"restoring checkpoint {checkpoint}", lambda _: f"restored {checkpoint}")


async def list_checkpoints(call: Call) -> Response:
    row = call.sprite()
    points = call.sprites.checkpoints(row)
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
    row = call.sprite()
    sources: dict[str, str | None] = {point.id: point.source for point in call.sprites.checkpoints(row)}
    if call.request.path_params["checkpoint"] == "Current":
        now = time.time_ns() // 1000
        return JSONResponse(shapes.current(row, now, shapes.history(row.current_source, sources)))
    point = call.sprites.checkpoint(row, call.request.path_params["checkpoint"])
    return JSONResponse(shapes.checkpoint(point, shapes.history(point.source, sources)))


async def delete_checkpoint(call: Call) -> Response:
    checkpoint = call.request.path_params["checkpoint"]
    if checkpoint == "Current":
        raise faults.InvalidRequest("the current state cannot be deleted")
    ended = await asyncio.to_thread(call.sprites.delete_checkpoint, call.sprite(), checkpoint)
    await ending.finish(ended, OPERATION_TIMEOUT_S)
    return Response(status_code=204)


def _stream(ended: Ended, begin: str, end: Callable[[Outcome], str]) -> Response:
    return StreamingResponse(_lines(ended, begin, end), media_type="application/x-ndjson")


async def _lines(ended: Ended, begin: str, end: Callable[[Outcome], str]) -> AsyncIterator[bytes]:
    """`info`, a blank line now and then (clients have read timeouts), then `complete` or `error`."""
    yield _json_line(shapes.line("info", begin, time.time_ns() // 1000))
    waiting = asyncio.ensure_future(ending.finish(ended, OPERATION_TIMEOUT_S))
    try:
        while not (await asyncio.wait({waiting}, timeout=STREAM_NOTE_S))[0]:
            yield b"\n"
        kind, text = "complete", end(waiting.result())
    except errors.PilotError as error:
        kind, text = "error", str(error)
    yield _json_line(shapes.line(kind, text, time.time_ns() // 1000))


def _json_line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _now() -> str:
    return shapes.timestamp(time.time_ns() // 1000)


# What the machine answers


async def relay_call(call: Call) -> Response:
    """/v1/sprites/{name}/<rest> is the machine's /v1/<rest>, query and body as they are."""
    row = call.sprite()
    target = _target(call.request)
    with contextlib.ExitStack() as stack:
        stack.enter_context(call.entry.activity.using(row.id))
        stream = await call.entry.open(row)
        # The answer outlives this function: from here on it is what ends the use.
        answer = await relay.relay(call.request, stream, target, stack.pop_all().close)
    if answer.fault == faults.fault_of(faults.WorldNotRunning("")).code:
        call.sprites.mark_lost(row)  # the next call wakes it
    return answer


def _target(request: Request) -> str:
    """What the machine is asked: the path of the row that the request fits, and the query as it came."""
    method = "GET" if request.method == "HEAD" else request.method
    found = reach.find(method, request.scope["raw_path"].decode("latin-1"), upgrade=False)
    query = request.scope["query_string"].decode("latin-1")
    return found.path + (f"?{query}" if query else "")


async def exec_version(call: Call) -> Response:
    """sprites-go asks for the version by HEAD; no reason to wake the sprite."""
    call.sprite()
    return Response(status_code=200)


# Without a token


async def healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


# (method, path below /v1) → answer. What may be asked of a machine stands in `reach`.
CALLS: tuple[tuple[str, str, Answer], ...] = (
    ("GET", "/organization", get_organisation),
    ("POST", "/sprites", create_sprite),
    ("GET", "/sprites", list_sprites),
    ("GET", "/sprites/{name}", get_sprite),
    ("PUT", "/sprites/{name}", update_sprite),
    ("DELETE", "/sprites/{name}", destroy_sprite),
    ("POST", "/sprites/{name}/upgrade", restart_sprite),
    ("POST", "/sprites/{name}/restart", restart_sprite),
    ("POST", "/sprites/{name}/stop", stop_sprite),
    ("GET", "/sprites/{name}/check", check_sprite),
    ("GET", "/sprites/{name}/disk", get_disk),
    ("GET", "/sprites/{name}/policy/network", get_network_policy),
    ("POST", "/sprites/{name}/policy/network", set_network_policy),
    ("GET", "/sprites/{name}/network", get_network),
    ("POST", "/sprites/{name}/checkpoint", create_checkpoint),
    ("GET", "/sprites/{name}/checkpoints", list_checkpoints),
    ("GET", "/sprites/{name}/checkpoints/{checkpoint}", get_checkpoint),
    ("DELETE", "/sprites/{name}/checkpoints/{checkpoint}", delete_checkpoint),
    ("POST", "/sprites/{name}/checkpoints/{checkpoint}/restore", restore_checkpoint),
    ("HEAD", "/sprites/{name}/exec", exec_version),
    *((row.method, f"/sprites/{{name}}/{row.path}", relay_call) for row in reach.ROWS if not row.upgrade),
)


def application(entry: Access) -> Starlette:
    """The application; `entry` leads to everything else."""
    routes = [_route(entry, path, answers) for path, answers in _by_path().items()]
    routes += [Route("/healthz", healthz), Route("/metrics", functools.partial(metrics.answer, entry))]
    handlers: dict[Any, Any] = {errors.PilotError: _refuse, HTTPException: _refuse_http, Exception: _refuse_bug}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # no client follows redirects
    return app


def _by_path() -> dict[str, dict[str, Answer]]:
    found: dict[str, dict[str, Answer]] = {}
    for method, path, answer in CALLS:
        found.setdefault(path, {})[method] = answer
    return found


def _route(entry: Access, path: str, answers: dict[str, Answer]) -> Route:
    async def serve(request: Request) -> Response:
        organisation = entry.organisation(request.headers.get("authorization"))
        answer = answers.get(request.method) or answers["GET"]
        response = await answer(Call(request, entry, organisation))
        response.headers.update(HEADERS)
        return response

    return Route(f"/v1{path}", serve, methods=list(answers))


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.PilotError)
    status = faults.fault_of(error).status
    document = {"error": str(error)} | ({"message": error.hint} if error.hint else {})
    return JSONResponse(document, status, headers=HEADERS)


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = "not found" if error.status_code == 404 else str(error.detail).lower()
    return JSONResponse({"error": text}, error.status_code, headers=HEADERS)


async def _refuse_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", extra={"path": request.url.path}, exc_info=error)
    return JSONResponse({"error": "internal error"}, 500, headers=HEADERS)
