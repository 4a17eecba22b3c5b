"""What is told of an event, as JSON has it, whoever is told it and by whatever way. Pure."""

from __future__ import annotations

from ...wire import timestamps
from ..store.events import Event
from .feed import Beat, Gap

Told = Event | Gap | Beat


def document(told: Told) -> dict[str, object]:
    match told:
        case Event():
            kind, _, id = told.subject.partition("/")
            return {
                "id": told.seq,
                "type": told.kind,
                "time": timestamps.of_us(told.at_us),
                "sprite": {"id": id if kind == "sprite" else None, "name": told.sprite},
                "detail": dict(told.detail),
            } | ({} if kind == "sprite" else {kind: {"id": id}})
        case Gap():
            return {"type": "gap", "first": told.first, "last": told.last}
        case Beat():
            return {"type": "heartbeat", "id": told.seq}
