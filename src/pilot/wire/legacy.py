"""The six routes of the init before this one, in its own words, so that a host that knew it need not know this one.

They are no part of the pilot API's contract: docs/reference/old-init.md is theirs.

    GET  /v1/status     {"ok":true}
    GET  /v1/sysinfo    as the pilot API's own
    POST /v1/signals    {"signal":15}         to the main process: {"ok":true}
    GET  /v1/exit_code  answered when that has ended: {"code":0,"oom_killed":false}
    POST /v1/exec       {"cmd":["id"]}        {"exit_code":0,"exit_signal":null,"stdout":[117,…],"stderr":[]}
    WS   /v1/ws/exec    {"command":["sh"],"tty":true}, then bytes both ways, {"cols":80,"rows":24}; {"Exit":{…}}
"""

from __future__ import annotations

from types import NoneType

import msgspec

from . import facts
from .operations import AnyOperation, Operation
from .permissions import Permission

VERSION_HEADER = "fly-init-version"
MOST_BODY_BYTES = 16 << 10


class Ok(msgspec.Struct, frozen=True):
    """As it was said."""

    ok: bool = True


class Message(msgspec.Struct, frozen=True):
    """An error."""

    message: str


class SignalNumber(msgspec.Struct, frozen=True):
    """POST /v1/signals."""

    signal: int


class ExitCode(msgspec.Struct, frozen=True):
    """GET /v1/exit_code. 128 + n for signal n; `oom_killed`: something of the container was, for lack of memory."""

    code: int
    oom_killed: bool


class ExecRequest(msgspec.Struct, frozen=True):
    """POST /v1/exec. `timeout_s` is ours: then it is killed."""

    cmd: list[str]
    timeout_s: float | None = None


class ExecResponse(msgspec.Struct, frozen=True):
    """Bytes are lists of numbers."""

    exit_code: int | None
    exit_signal: int | None
    stdout: list[int]
    stderr: list[int]


class ExecInit(msgspec.Struct, frozen=True):
    """The first frame of /v1/ws/exec."""

    command: list[str]
    tty: bool


class Resize(msgspec.Struct, frozen=True):
    """A later text frame."""

    cols: int
    rows: int


class HowItEnded(msgspec.Struct, frozen=True):
    """One of them is None."""

    code: int | None
    signal: int | None


class ExitFrame(msgspec.Struct, frozen=True, rename="pascal"):
    """{"Exit":{"code":0,"signal":null}}."""

    exit: HowItEnded


class ErrorFrame(msgspec.Struct, frozen=True, rename="pascal"):
    """{"Error":{"message":"…"}}."""

    error: Message


# By the names of what they are in the pilot API: its limits and the machine's policy are theirs, too.
_HOST, _EXEC = Permission.HOST, Permission.EXEC
STATUS = Operation("getStatus", "GET", "/v1/status", NoneType, Ok, _HOST)
SYSINFO = Operation("getSysinfo", "GET", "/v1/sysinfo", NoneType, facts.Sysinfo, _HOST)
SIGNALS = Operation("killContainer", "POST", "/v1/signals", SignalNumber, Ok, _HOST)
EXIT_CODE = Operation("waitContainer", "GET", "/v1/exit_code", NoneType, ExitCode, _HOST, None)
EXEC = Operation("execute", "POST", "/v1/exec", ExecRequest, ExecResponse, _EXEC, None)
WS_EXEC = Operation("openSession", "GET", "/v1/ws/exec", NoneType, ExitFrame, _EXEC, None, websocket=True)
ROUTES: tuple[AnyOperation, ...] = (STATUS, SYSINFO, SIGNALS, EXIT_CODE, EXEC, WS_EXEC)
