"""Verbs on apps themselves."""

from __future__ import annotations

import os
import sys

from ... import errors
from .. import output
from .app import App

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..context import Context


def list_apps(context: Context) -> None:
    found = App(context).call("GET", "/v1/apps")
    if context.wants_json:
        output.document(found)
        return
    rows = [(row["name"], str(row["machine_count"]), str(row["volume_count"])) for row in found["apps"]]
    output.table(("NAME", "MACHINES", "VOLUMES"), rows)


def create(context: Context) -> None:
    name = context.said.required("NAME")
    made = App(context, name).call("POST", "/v1/apps", {"app_name": name, "org_slug": "personal"})
    if context.wants_json:
        output.document(made)
    else:
        output.line(made["name"])


def destroy(context: Context) -> None:
    app = App(context, context.said.required("NAME"))
    if not context.said.has("force"):
        _ask(app)
    app.call("DELETE", app.path())
    if context.wants_json:
        output.document({"name": app.name, "status": "destroyed"})


def _ask(app: App) -> None:
    """`PilotError` when it is not meant."""
    if not os.isatty(0):
        raise errors.PilotError(f"destroy {app.name}: nobody is there to be asked", hint="give --force")
    row = app.call("GET", app.path())
    many = f"{row['machine_count']} machines and {row['volume_count']} volumes"
    sys.stderr.write(f"Destroy {app.name} with {many}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise errors.PilotError(f"destroy {app.name}: not done")
