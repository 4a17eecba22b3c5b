"""Our extension: what was asked of a Machine, as its log has it."""

from __future__ import annotations

from starlette.responses import Response

from ...audit import subjects
from .. import logs
from .call import Call


async def read_machine_log(call: Call) -> Response:
    row = await call.machine()
    return await logs.answer(call.auditing, subjects.of_machine(row.id), call.request, call.hold)
