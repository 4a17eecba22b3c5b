"""Calls on what runs in a Machine: signals, processes, memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import JSONResponse, Response

from ....wire import faults
from ...services import ending
from ...services.fly_processes import Process
from . import bodies, shapes
from .call import Call, ok

DONE_S = 60.0
_ORDERS: dict[str, Callable[[Process], float | str]] = {
    "pid": lambda each: each.row.inner_pid,
    "rss": lambda each: each.row.memory_bytes,
    "cpu": lambda each: each.row.cpu_s,
    "command": lambda each: each.row.command,
}


async def send_signal(call: Call) -> Response:
    """By name or number, to the first process of each container, as init did."""
    body, row = await call.body(bodies.Signal), await call.machine()
    processes = call.machines.processes
    await processes.ask(row, lambda: processes.signal(row, call.nonce, str(body.signal)))
    return ok()


async def list_processes(call: Call) -> Response:
    query, row = call.request.query_params, await call.machine()
    sort_by, order = query.get("sort_by") or "pid", query.get("order") or "asc"
    if sort_by not in _ORDERS or order not in ("asc", "desc"):
        raise faults.InvalidRequest(f"sort_by: one of {', '.join(_ORDERS)}; order: asc or desc")
    processes = call.machines.processes
    found = await processes.ask(row, lambda: processes.every(row))
    found.sort(key=_ORDERS[sort_by], reverse=order == "desc")
    return JSONResponse([shapes.process(each.container, each.row) for each in found])


async def get_memory(call: Call) -> Response:
    row = await call.machine()
    memory = await asyncio.to_thread(call.machines.processes.memory, row)
    return JSONResponse({"limit_mb": memory.limit_bytes >> 20, "available_mb": memory.available_bytes >> 20})


async def set_memory(call: Call) -> Response:
    """Until its next start, which has what the config says."""
    body, row = await call.body(bodies.Memory), await call.machine()
    ended = await asyncio.to_thread(call.machines.processes.limit, row, call.nonce, body.limit_mb << 20)
    await ending.finish(ended, DONE_S)
    return await get_memory(call)
