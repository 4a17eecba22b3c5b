"""`sprite up`: a sprite as its `sprite.toml` says (`setup_file`), step by step; each step is told.

    create, labelled UNFINISHED ─► … setup … services … checkpoint ─► the label is taken away

Ended at any place in between, the next one finds the label, and begins the setup again.
"""

from __future__ import annotations

import os

from .. import errors
from . import execution, files, http, output, setup_file
from .api import sprite_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .context import Context
    from .setup_file import SetUp

FILE = "sprite.toml"
# A label of the sprite, from when it is made until its setup and the checkpoint are: on no disk, so in no checkpoint.
UNFINISHED = "setup-unfinished"
_USUAL: dict[str, object] = {"cmd": None, "args": [], "needs": [], "env": {}, "dir": None, "http_port": None}


def up(context: Context) -> int:
    """The exit code of a command of `setup` that failed, after which nothing more is done; else 0."""
    place = context.said.argument("FILE") or FILE
    wanted = setup_file.parse(_read(place))
    name = context.said.option("sprite") or wanted.name or context.sprite
    is_new = _make(context, name, wanted, anew=context.said.has("setup"))
    _settle(context, name, wanted)
    for there, here in wanted.files.items():
        output.tell(f"{name}: {there} is {here}")
        files.push_file(context, name, os.path.join(os.path.dirname(place), here), there)
    if is_new:
        for command in wanted.setup:
            output.tell(f"{name}: {command}")
            if code := _run(context, name, command):
                output.tell(f"sprite: it ended with {code}, the rest was not done; sprite up begins it again")
                return code
    elif wanted.setup:
        output.tell(f"{name}: it was there already, its setup is not done again (--setup does it)")
    for service, body in wanted.services.items():
        _serve(context, name, service, body)
    if is_new and wanted.checkpoint:
        _checkpoint(context, name, wanted.checkpoint)
    row = context.api.call("GET", sprite_path(name))
    if UNFINISHED in row["labels"]:
        _label(context, name, [each for each in row["labels"] if each != UNFINISHED])
    output.line(f"{row['name']}  {row['status']}  {row['url']}")
    return 0


def _read(place: str) -> str:
    try:
        with open(place, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise errors.HostError(f"read {place}: {reason}") from error


def _make(context: Context, name: str, wanted: SetUp, *, anew: bool) -> bool:
    """Whether it is to be set up: made now, left unfinished by an earlier `up`, or `anew`. What is there is changed."""
    try:
        labels = context.api.call("GET", sprite_path(name))["labels"]
    except errors.NotFound:
        output.tell(f"{name}: creating")
        context.api.call("POST", "/v1/sprites", {"name": name} | wanted.new | _changes(wanted, [], is_new=True))
        return True
    if is_unfinished := UNFINISHED in labels:
        output.tell(f"{name}: its setup was not finished, it is begun again")
    is_new = anew or is_unfinished
    if changes := _changes(wanted, labels, is_new=is_new):
        context.api.call("PUT", sprite_path(name), changes)
    return is_new


def _changes(wanted: SetUp, labels: Sequence[str], *, is_new: bool) -> dict[str, Any]:
    """With the label, of one that is to be set up and has these."""
    changes = dict(wanted.changes)
    if is_new and (wanted.setup or wanted.checkpoint):
        changes["labels"] = [*dict.fromkeys([*changes.get("labels", labels), UNFINISHED])]
    return changes


def _label(context: Context, name: str, labels: Sequence[str]) -> None:
    context.api.call("PUT", sprite_path(name), {"labels": list(labels)})


def _checkpoint(context: Context, name: str, called: str) -> None:
    """Of that name; an earlier one that has it keeps its id alone."""
    for row in context.api.call("GET", sprite_path(name, "checkpoints")):
        if row.get("name") == called:
            context.api.call("PUT", sprite_path(name, f"checkpoints/{http.quoted(row['id'])}"), {"name": None})
    for line in context.api.stream("POST", sprite_path(name, "checkpoint"), {"name": called}):
        output.tell(f"{name}: {line.get('data', '')}")


def _settle(context: Context, name: str, wanted: SetUp) -> None:
    """What it may reach and make, before anything of it runs."""
    for path, body in (("policy/network", wanted.policy), ("policy/spawn", wanted.spawn)):
        if body is not None:
            context.api.call("POST", sprite_path(name, path), body)


def _run(context: Context, name: str, command: str) -> int:
    """With nothing to read: our stdin is nobody's here."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return execution.run(context.account, name, execution.Command(("bash", "-lc", command)))


def _serve(context: Context, name: str, service: str, body: Mapping[str, object]) -> None:
    """Made, or replaced when it is another one; one that is as it was goes on."""
    place = sprite_path(name, f"services/{http.quoted(service)}")
    try:
        found = context.api.call("GET", place)
    except errors.NotFound:
        found = {}
    if found and all((found.get(key) or usual) == (body.get(key) or usual) for key, usual in _USUAL.items()):
        return
    output.tell(f"{name}: service {service}")
    for line in context.api.stream("PUT", place, body, [("duration", "0s")]):
        if line.get("type") == "error":
            raise errors.StateError(f"service {service}: {line.get('data') or 'it did not start'}")
