"""Calls on what sprites take of the host: our extension."""

from __future__ import annotations

import asyncio
import base64

import msgspec
from starlette.responses import JSONResponse, Response

from ....wire import faults
from ...services.usage import Usages
from ...store.usage import MOST_DAYS, START, Day, Place
from ..call import Call
from . import shapes

DAYS = 31
PAGE = 5000  # rows of an answer


async def get_usage(call: Call) -> Response:
    """Now, and since its machine was started."""
    return JSONResponse(shapes.usage(await asyncio.to_thread(call.sprites.usages.now, await call.sprite())))


async def get_usage_by_day(call: Call) -> Response:
    """What it has used on each of the last days."""
    found = await asyncio.to_thread(call.sprites.usages.days_of, await call.sprite(), _days(call))
    return JSONResponse({"days": [shapes.usage_day(day) for day in found]})


async def get_usage_of_all(call: Call) -> Response:
    """What each sprite of the organisation has used, of those that were destroyed since, too; a page of it."""
    after = _after(call.request.query_params.get("continuation_token", ""))
    shown = await asyncio.to_thread(_shown, call.sprites.usages, call.organisation.id, _days(call), after)
    return Response(shown, media_type="application/json")


def _shown(usages: Usages, organisation: str, most: int, after: Place) -> bytes:
    found = usages.days_of_all(organisation, most, after, PAGE + 1)
    named = [{"sprite": {"id": day.sprite, "name": day.name}} | shapes.usage_day(day) for day in found[:PAGE]]
    token = _token(found[PAGE - 1]) if len(found) > PAGE else None
    return msgspec.json.encode({"days": named, "has_more": token is not None, "next_continuation_token": token})


def _token(last: Day) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((last.day, last.name, last.sprite))).decode()


def _after(token: str) -> Place:
    if not token:
        return START
    try:
        day, name, sprite = msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[str, str, str])
    except (ValueError, msgspec.MsgspecError) as error:
        raise faults.InvalidRequest(f"continuation_token: {token[:40]!r} is none of this call's") from error
    return day, name, sprite


def _days(call: Call) -> int:
    text = call.request.query_params.get("days", str(DAYS))
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MOST_DAYS):
        raise faults.InvalidRequest(f"days: {text[:40]!r} is no number of days from 1 to {MOST_DAYS}")
    return int(text)
