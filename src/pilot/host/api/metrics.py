"""GET /metrics: what an operator watches, in Prometheus' text format. Counted when asked, nothing is kept."""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .access import Access


async def answer(entry: Access, request: Request) -> Response:
    """Sprites by status, members of the pool that are ready, active runs by action."""
    return PlainTextResponse(await asyncio.to_thread(_text, entry), media_type="text/plain; version=0.0.4")


def _text(entry: Access) -> str:
    rows = entry.sprites.every()
    statuses = Counter(entry.sprites.status(row) for row in rows)
    runs = Counter(run.action for run in entry.sprites.active_runs())
    lines = ["# TYPE pilotd_sprites gauge"]
    lines += [f'pilotd_sprites{{status="{status}"}} {statuses[status]}' for status in ("running", "warm", "cold")]
    lines += ["# TYPE pilotd_pool_ready gauge", f"pilotd_pool_ready {entry.sprites.pooled()}"]
    lines += ["# TYPE pilotd_active_runs gauge"]
    lines += [f'pilotd_active_runs{{action="{action}"}} {count}' for action, count in sorted(runs.items())]
    return "\n".join(lines) + "\n"
