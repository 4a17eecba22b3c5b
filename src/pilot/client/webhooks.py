"""Verbs on webhooks."""

from __future__ import annotations

from .. import errors
from . import http, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def create(context: Context) -> None:
    """The secret alone, on stdout: it is told once."""
    said = context.said
    wanted: dict[str, Any] = {"url": said.required("URL"), "events": said.options("event")}
    wanted |= {"sprite": said.option("of"), "description": said.option("description") or ""}
    made = context.api.call("POST", "/v1/webhooks", wanted)
    if context.wants_json:
        output.document(made)
    else:
        output.line(made["secret"])


def list_all(context: Context) -> None:
    found = context.api.call("GET", "/v1/webhooks")["webhooks"]
    if context.wants_json:
        output.document(found)
    else:
        output.table(("WEBHOOK", "URL", "EVENTS", "STATE"), [_row(each) for each in found])


def _row(hook: dict[str, Any]) -> tuple[str, ...]:
    events = ",".join(hook["events"]) or "all"
    return hook["id"], hook["url"], f"{events} of {hook['sprite']}" if hook["sprite"] else events, _state(hook)


def _state(hook: dict[str, Any]) -> str:
    if not hook["enabled"]:
        return f"disabled: {hook['disabled_reason']}"
    if failing := hook["failing"]:
        return f"failing {output.moment(failing['since'])}, {failing['attempts']} times: {failing['error']}"
    return "enabled"


def delete(context: Context) -> None:
    context.api.call("DELETE", _path(context))


def enable(context: Context) -> None:
    context.api.call("PUT", _path(context), {"enabled": True})


def disable(context: Context) -> None:
    context.api.call("PUT", _path(context), {"enabled": False})


def ping(context: Context) -> None:
    answer = context.api.call("POST", _path(context) + "/ping")
    if not answer["delivered"]:
        raise errors.PilotError(f"not delivered: {answer['error']}")


def _path(context: Context) -> str:
    return f"/v1/webhooks/{http.quoted(context.said.required('WEBHOOK'))}"
