"""`exec`: a command in a Machine, with its output where it belongs and its exit status as ours."""

from __future__ import annotations

import sys

from .. import durations, http, output, words
from ..api import encoded
from .app import App
from .settings import MOST_BODY_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..context import Context

_TOO_MUCH = f"--stdin: with the command, as JSON, it is more than {MOST_BODY_BYTES >> 20} MiB"
_GRACE_S = 30.0


def execute(context: Context) -> int:
    said, app = context.said, App(context)
    body: dict[str, Any] = {"command": said.arguments("COMMAND")}
    if said.has("container"):
        body["container"] = said.option("container")
    timeout_s = durations.parse_s(said.option("timeout") or "60s")
    body["timeout"] = timeout_s
    if said.has("stdin"):
        body["stdin"] = _stdin()
        if len(encoded(body)) > MOST_BODY_BYTES:
            raise words.UsageError(_TOO_MUCH)
    id = app.id_of(said.required("MACHINE"))
    if timeout_s + _GRACE_S > http.ANSWER_S:
        raise words.UsageError(f"--timeout {timeout_s:g}s: at most {http.ANSWER_S - _GRACE_S:g}s")
    found = app.call("POST", app.machine_path(id, "exec"), body)
    if context.wants_json:
        output.document(found)
    else:
        output.write_all(1, found["stdout"].encode())
        output.write_all(2, found["stderr"].encode())
    return int(found["exit_code"]) & 0xFF


def _stdin() -> str:
    data = sys.stdin.buffer.read(MOST_BODY_BYTES + 1)
    if len(data) > MOST_BODY_BYTES:
        raise words.UsageError(_TOO_MUCH)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise words.UsageError("--stdin: the Machines API takes text alone, and this is no UTF-8") from error
