"""Verbs that bring Machines from one state to another. Of several each is asked, whatever becomes of the others."""

from __future__ import annotations

from ... import errors
from .. import durations, output
from .app import App

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..context import Context

WAIT_S = 300.0


def start(context: Context) -> int:
    return _each(context, "started", lambda app, id: app.call("POST", app.machine_path(id, "start"), {}))


def stop(context: Context) -> int:
    how = _halt(context)
    return _each(context, "stopped", lambda app, id: app.call("POST", app.machine_path(id, "stop"), how))


def restart(context: Context) -> int:
    query = list(_halt(context).items())
    query += [("force_stop", "true")] if context.said.has("force") else []
    return _each(
        context, "started", lambda app, id: app.call("POST", app.machine_path(id, "restart"), {}, query), anew=True
    )


def suspend(context: Context) -> int:
    return _each(context, "suspended", lambda app, id: app.call("POST", app.machine_path(id, "suspend"), {}))


def destroy(context: Context) -> int:
    query = [("force", "true")] if context.said.has("force") else []
    return _each(context, "destroyed", lambda app, id: app.call("DELETE", app.machine_path(id), query=query))


def patience_s(context: Context) -> float:
    return durations.parse_s(context.said.option("wait") or f"{WAIT_S:g}")


def _halt(context: Context) -> dict[str, str]:
    timeout = context.said.option("timeout")
    found = {"signal": context.said.option("signal")}
    found["timeout"] = None if timeout is None else f"{durations.parse_s(timeout):g}s"
    return {name: value for name, value in found.items() if value is not None}


def _each(context: Context, state: str, ask: Callable[[App, str], object], *, anew: bool = False) -> int:
    """1 when any of them has failed; each failure is told where it belongs."""
    app, timeout_s = App(context), patience_s(context)
    told, code = [], 0
    for wanted in dict.fromkeys(context.said.arguments("MACHINE")):
        try:
            known = app.machine(wanted)
            ask(app, str(known["id"]))
            row = (
                known
                if context.said.has("detach")
                else app.wait(str(known["id"]), state, timeout_s, since(known), anew=anew)
            )
        except errors.PilotError as error:
            hint = f" ({error.hint})" if error.hint else ""
            output.tell(f"pilot machine: {wanted}: {error}{hint}")
            code = 1
            continue
        shown = {"id": known["id"], "name": known["name"], "state": row["state"]}
        told.append(shown)
        if not context.wants_json:
            output.line("  ".join(shown.values()))
    if context.wants_json:
        output.document(told)
    return code


def since(row: Mapping[str, Any]) -> str:
    """The id of the last that happened to it."""
    return str(row["events"][0]["id"]) if row["events"] else ""
