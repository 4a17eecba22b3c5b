"""The verb that makes an image of a sprite."""

from __future__ import annotations

import json

from . import files, http, output, words
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def ship(context: Context) -> None:
    kind, _, place = (context.said.option("to") or "").partition(":")
    if kind != "oci-archive" or not place:
        raise words.UsageError("--to: where is it to go?", hint="--to oci-archive:FILE")
    point = context.said.option("checkpoint") or _checkpoint(context)
    query = [("leave_out", each) for each in context.said.options("leave-out")]
    query += [("keep", each) for each in context.said.options("keep")]
    path = sprite_path(context.sprite, f"checkpoints/{http.quoted(point)}/image")
    answer = context.api.raw("GET", path, query, patience_s=None)
    try:
        if place == "-":
            for piece in answer.pieces():
                output.write_all(1, piece)
        else:
            files.save(place, output.Progress(place, answer.length).through(answer.pieces()))
    finally:
        answer.close()
    _tell(context, point, place, json.loads(answer.headers["sprite-shipped"]))


def _checkpoint(context: Context) -> str:
    """What is so now, made a checkpoint: it stays, for whoever wants to know what was shipped."""
    path = sprite_path(context.sprite, "checkpoint")
    *_, last = context.api.stream("POST", path, {"comment": "shipped"})
    _, id, _ = str(last["data"]).split()  # checkpoint ID created
    return id


def _tell(context: Context, point: str, place: str, told: dict[str, Any]) -> None:
    if place == "-":
        return
    if context.wants_json:
        output.document({"checkpoint": point, "file": place, **told})
        return
    output.line(f"{place}  {context.sprite}:{point}  {told['digest']}")
    output.tell(f"{told['entries']} paths added or changed, {told['whiteouts']} deleted since the standard base")
    for each in told["left_out"]:
        output.tell(f"left out ({each['kind']}): {each['path']}")
    if told["left_out_count"] > len(told["left_out"]):
        output.tell(f"left out: {told['left_out_count'] - len(told['left_out'])} more")
    if told["variables_left_out"]:
        output.tell(f"left out, variables that look like secrets: {', '.join(told['variables_left_out'])}")
