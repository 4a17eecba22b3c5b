"""`fork-to-sprite`: a sprite that begins on a fork of a Machine's root, without a copy."""

from __future__ import annotations

from .. import output
from .app import App

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..context import Context


def fork(context: Context) -> None:
    """The other way is `sprite ship --to machine:APP`."""
    app, said = App(context), context.said
    id = app.id_of(said.required("MACHINE"))
    body = {"name": said.required("NAME"), "from": {"machine": f"{app.name}/{id}"}}
    row = app.call("POST", "/v1/sprites", body)
    if context.wants_json:
        output.document(row)
    else:
        output.line(f"{row['name']}  {row['status']}  {row.get('url') or ''}".rstrip())
