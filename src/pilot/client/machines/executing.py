"""`exec`: a command in a Machine, with its output where it belongs and its exit status as ours."""

from __future__ import annotations

import sys

from .. import durations, http, output, words
from .app import App

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..context import Context

MOST_BYTES = 3 << 20  # of stdin: a body of the server's is no larger
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
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise words.UsageError(f"--stdin: more than {MOST_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise words.UsageError("--stdin: the Machines API takes text alone, and this is no UTF-8") from error
