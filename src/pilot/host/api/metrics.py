"""GET /metrics: what an operator watches, in Prometheus' text format. Counted when asked, nothing is kept."""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.responses import PlainTextResponse, Response

from ..services.sprites import Sprites
from .call import Call


async def answer(call: Call) -> Response:
    """Sprites by status, members of the pool that are ready, active runs by action."""
    return PlainTextResponse(await asyncio.to_thread(_text, call.sprites), media_type="text/plain; version=0.0.4")


def _text(sprites: Sprites) -> str:
    rows = sprites.every()
    statuses = Counter(sprites.status(row) for row in rows)
    runs = Counter(run.action for run in sprites.active_runs())
    lines = ["# TYPE pilotd_sprites gauge"]
    lines += [f'pilotd_sprites{{status="{status}"}} {statuses[status]}' for status in ("running", "warm", "cold")]
    lines += ["# TYPE pilotd_pool_ready gauge", f"pilotd_pool_ready {sprites.pooled()}"]
    lines += ["# TYPE pilotd_active_runs gauge"]
    lines += [f'pilotd_active_runs{{action="{action}"}} {count}' for action, count in sorted(runs.items())]
    return "\n".join(lines) + "\n"
