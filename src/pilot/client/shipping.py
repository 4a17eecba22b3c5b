"""The verb that makes an image of a sprite."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile

from .. import errors
from . import files, http, output, words
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context

# REGISTRY/NAME[:TAG], where the first part is a host: it has a dot or a port, or is localhost.
_REGISTRYS = re.compile(
    r"(localhost|[\w-]+(\.[\w-]+)+|[\w.-]+:\d+|\[[0-9a-f:]+\]:\d+)/[a-z0-9][a-z0-9._/-]*(:[\w][\w.-]*)?"
)


def ship(context: Context) -> None:
    wanted = context.said.option("to") or ""
    kind, _, place = wanted.partition(":")
    to = {"oci-archive": _to_archive, "machine": _to_machine}.get(kind)
    if to is not None and place:
        to(context, place)
    elif to is None and _REGISTRYS.fullmatch(wanted):
        _to_registry(context, wanted)
    else:
        hint = "--to oci-archive:FILE, --to machine:APP or --to REGISTRY/NAME:TAG"
        raise words.UsageError("--to: where is it to go?", hint=hint)


def _to_machine(context: Context, app: str) -> None:
    """It starts on a fork of the checkpoint: nothing is left out, and nothing is copied."""
    if context.said.has("leave-out") or context.said.has("keep"):
        raise words.UsageError("--leave-out, --keep: a Machine begins on the disk as it is")
    point = context.said.option("checkpoint") or _checkpoint(context)
    machines = f"/v1/apps/{http.quoted(app)}/machines"
    made = context.api.call("POST", machines, {"config": {"image": f"sprite://{context.sprite}/{point}"}})
    context.api.call("GET", f"{machines}/{http.quoted(made['id'])}/wait", query=[("timeout", "60")])
    row = context.api.call("GET", f"{machines}/{http.quoted(made['id'])}")
    if context.wants_json:
        output.document({"checkpoint": point, "app": app, "machine": row})
    else:
        output.line(f"{row['id']}  {row['name']}  {row['state']}  {context.sprite}:{point}")


def _to_archive(context: Context, place: str) -> None:
    point = context.said.option("checkpoint") or _checkpoint(context)
    _tell(context, point, place, _fetch(context, point, place))


def _to_registry(context: Context, reference: str) -> None:
    """By skopeo: logins, certificates and mirrors are as containers-auth.json(5) and registries.conf(5) say, and the
    layers are compressed on their way."""
    program = shutil.which("skopeo")
    if program is None:
        hint = "apt-get install skopeo, or --to oci-archive:FILE and push that"
        raise errors.HostError(f"ship to {reference}: skopeo is not here", hint=hint)
    point = context.said.option("checkpoint") or _checkpoint(context)
    with tempfile.TemporaryDirectory(prefix="sprite-ship-") as directory:
        archive = os.path.join(directory, "image.tar")
        told = _fetch(context, point, archive)
        command = [program, "copy", "--quiet", f"oci-archive:{archive}", f"docker://{reference}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise errors.PeerError(f"ship to {reference}: skopeo: {done.stderr.strip()[-500:]}")
    _tell(context, point, reference, told)


def _fetch(context: Context, point: str, place: str) -> dict[str, Any]:
    """Into that file (`-`: standard output); what the host says of it."""
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
    told: dict[str, Any] = json.loads(answer.headers["sprite-shipped"])
    return told


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
