"""The verb on what root of a sprite may do."""

from __future__ import annotations

from . import output
from .api import sprite_path
from .words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context


def policy(context: Context) -> None:
    said, path = context.said, sprite_path(context.sprite, "policy/privileges")
    is_said = any(said.has(name) for name in ("profile", "device", "no-new-privileges"))
    if said.has("clear") and is_said:
        raise UsageError("--clear: not with others, of which it would leave nothing")
    if said.has("clear"):
        context.api.call("DELETE", path)
    elif is_said:
        wanted = {
            "profile": said.option("profile") or "",
            "devices": said.options("device"),
            "noNewPrivileges": said.has("no-new-privileges"),
        }
        context.api.call("POST", path, wanted)
    found = context.api.call("GET", path)
    if context.wants_json:
        output.document(found)
        return
    output.table(("PRIVILEGES", ""), _rows(found))
    if found["pending"]:
        output.tell(f"it runs with others yet: 'sprite restart {context.sprite}' has these in force")


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("profile", found["profile"] or "standard"),
        ("devices", ",".join(found["devices"])),
        ("no new privileges", "yes" if found["noNewPrivileges"] else "no"),
    ]
