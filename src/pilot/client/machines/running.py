"""Verbs that make Machines, and new versions of them."""

from __future__ import annotations

from ... import errors
from .. import output, words
from . import app as apps
from . import changing, settings
from .app import App
from .volumes import Volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..context import Context


def run(context: Context) -> None:
    """It is told also when it has not come to run: it is there."""
    said, app = context.said, App(context)
    image = said.argument("IMAGE")
    config = _wanted(app, context, _begun(image), "")
    if not config.get("image") and not config.get("containers"):
        raise words.UsageError("IMAGE is missing", hint="or --compose FILE, or --config FILE with one")
    body: dict[str, Any] = {"config": config}
    if said.has("name"):
        body["name"] = said.option("name")
    if said.has("no-start"):
        body["skip_launch"] = True
    made = _made(app, body)
    is_awaited = not said.has("no-start") and not said.has("detach")
    try:
        row = app.wait(str(made["id"]), "started", changing.patience_s(context), "") if is_awaited else made
    except apps.NotReached as error:
        raise apps.NotReached(f"machine {made['id']}: {error}", hint=error.hint) from error
    _show(context, {**made, **row})


def _begun(image: str | None) -> dict[str, Any]:
    return {"image": image} if image else {}


def _made(app: App, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        made: dict[str, Any] = app.call("POST", app.path("machines"), body)
    except errors.NotFound as error:
        raise _hinted(app, error) from error
    return made


def _hinted(app: App, error: errors.NotFound) -> errors.NotFound:
    """The same; of an app that is not there with what makes it."""
    if "app" not in str(error) or app.name not in str(error):
        return error
    return errors.NotFound(str(error), hint=f"'pilot machine app create {app.name}' makes it")


def update(context: Context) -> None:
    said, app = context.said, App(context)
    known = app.machine(said.required("MACHINE"))
    config = _wanted(app, context, {**known["config"], **_begun(said.option("image"))}, str(known["id"]))
    body: dict[str, Any] = {"config": config, "current_version": known["instance_id"]}
    if said.has("no-start"):
        body["skip_launch"] = True
    row = app.call("POST", app.machine_path(known["id"]), body)
    if row["state"] == "failed":
        raise apps.NotReached(f"machine {row['id']} is failed: {apps.reason(row['events'])}")
    _show(context, row)


def _show(context: Context, row: Mapping[str, Any]) -> None:
    if context.wants_json:
        output.document(row)
    else:
        output.line(f"{row['id']}  {row['name']}  {row['state']}")


def _wanted(app: App, context: Context, begun: Mapping[str, Any], machine: str) -> dict[str, Any]:
    """`begun`, what files say, and what the command line does, in this order; of that Machine, or a new one."""
    said, volumes = context.said, Volumes(app, machine)
    if said.has("compose"):
        return _composed(app, context, begun, volumes)
    config = {**begun, **_document(said.option("config"))}
    settings.check_image(config, said.argument("IMAGE") or said.option("image"))
    return settings.changed(config, said, said.arguments("COMMAND"), volumes.id_of)


def _composed(app: App, context: Context, begun: Mapping[str, Any], volumes: Volumes) -> dict[str, Any]:
    """Nothing of before is left of what a compose file speaks of: what is in it no more is gone."""
    from . import composing

    said, path = context.said, context.said.option("compose") or ""
    if said.argument("IMAGE") or said.has("image"):
        raise words.UsageError("--compose: the images are those of its services; no other is said beside it")
    plan = composing.plan(path)
    config = {name: value for name, value in begun.items() if name not in settings.OF_CONTAINERS}
    config |= _document(said.option("config"))
    config.pop("image", None)
    config = settings.changed({**config, **plan.config}, said, said.arguments("COMMAND"), volumes.id_of)
    composing.check(path, config)
    _check_there(app, said.option("name"))
    if mounts := composing.provide(app, plan, volumes):
        config["mounts"] = mounts
    return config


def _check_there(app: App, name: str | None) -> None:
    """The app is, and none of its Machines has that name."""
    try:
        rows = app.machines()
    except errors.NotFound as error:
        raise _hinted(app, error) from error
    if name is not None and any(row["name"] == name for row in rows):
        raise errors.Conflict(f"app {app.name} has a machine {name} already", hint="'pilot machine update' changes it")


def _document(path: str | None) -> dict[str, Any]:
    """A config, or all of a body that has one; without a path nothing."""
    if path is None:
        return {}
    found = apps.read_json(path)
    if isinstance(found, dict) and isinstance(found.get("config"), dict):
        found = found["config"]
    if not isinstance(found, dict):
        raise errors.SpecError("$", "a Machine's config is an object", file=path)
    return dict(found)
