"""The app that is meant, where its server is, and what is asked of its Machines.

-a, FLY_APP or FLY_APP_NAME              the app
--api, FLY_API_HOSTNAME or FLY_FLAPS_BASE_URL       the server; of these two as flyctl and scripts have them
--token, FLY_API_TOKEN or FLY_ACCESS_TOKEN          the token
else                                     SPRITE_TOKEN with SPRITES_API_URL, or that of `sprite login`, for its server
"""

from __future__ import annotations

import json
import os
import sys
import time

from ... import errors
from .. import account as accounts
from .. import http
from ..api import Api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from ..account import Account
    from ..context import Context

LOOK_S = 2  # between two looks at what it does meanwhile
# None of these becomes another one by itself.
_OVER = frozenset({"failed", "destroyed"})
_ID_DIGITS = 14
_NOT_FOUND, _NOT_IN_TIME = 404, 408
_PAUSE_S = 0.1


class NotReached(errors.PilotError):
    """A Machine has not come to the state that was waited for."""


def account(environment: Mapping[str, str], url: str | None, token: str | None, organisation: str | None) -> Account:
    """Of Fly's variables, else as of `sprite`. `HostError`: a token that is kept for one server goes to no other."""
    fly_url = url or environment.get("FLY_API_HOSTNAME") or environment.get("FLY_FLAPS_BASE_URL")
    fly_token = token or environment.get("FLY_API_TOKEN") or environment.get("FLY_ACCESS_TOKEN")
    if fly_token:
        default = environment.get("SPRITES_API_URL") or accounts.DEFAULT_URL
        return accounts.Account(fly_url or default, fly_token.strip())
    is_said = any(environment.get(name) for name in ("SPRITE_TOKEN", "SPRITES_TOKEN"))
    sprites_url = environment.get("SPRITES_API_URL")
    known = environment if is_said else {**environment, "SPRITES_API_URL": ""}  # a kept one has its own
    try:
        found = accounts.find(known, None, None, organisation)
    except errors.HostError as error:
        raise errors.HostError(str(error), hint="set FLY_API_TOKEN, give --token, or run 'sprite login'") from error
    wanted = (fly_url or sprites_url or found.url).rstrip("/")
    if wanted != found.url:
        raise errors.HostError(f"no token for {wanted}", hint="set FLY_API_TOKEN or give --token")
    return found


class App:
    """Of one command."""

    def __init__(self, context: Context, name: str | None = None) -> None:
        said = context.said
        self.api = Api(account(os.environ, said.option("api"), said.option("token"), said.option("org")))
        self._name = name or said.option("app") or os.environ.get("FLY_APP") or os.environ.get("FLY_APP_NAME")

    @property
    def name(self) -> str:
        if not self._name:
            raise errors.PilotError("which app?", hint="give -a NAME, or set FLY_APP; 'pilot machine app list' has all")
        return self._name

    def path(self, rest: str = "") -> str:
        """`/v1/apps/NAME/rest`; `rest` is quoted already."""
        return f"/v1/apps/{http.quoted(self.name)}" + (f"/{rest}" if rest else "")

    def machine_path(self, id: str, rest: str = "") -> str:
        return self.path(f"machines/{http.quoted(id)}" + (f"/{rest}" if rest else ""))

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Iterable[tuple[str, str]] = ()
    ) -> Any:
        """As `Api.call`."""
        try:
            return self.api.call(method, path, body, query)
        except errors.PilotError as error:
            raise _plain(error) from error

    def stream(self, path: str, query: Iterable[tuple[str, str]], patience_s: float) -> Iterator[dict[str, Any]]:
        """As `Api.stream`."""
        try:
            yield from self.api.stream("GET", path, query=query, patience_s=patience_s)
        except errors.PilotError as error:
            raise _plain(error) from error

    def machines(self, query: Iterable[tuple[str, str]] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", self.path("machines"), query=query)
        return found

    def machine(self, wanted: str) -> dict[str, Any]:
        """By its id or its name. `NotFound`."""
        if len(wanted) == _ID_DIGITS:
            try:
                found: dict[str, Any] = self.call("GET", self.machine_path(wanted))
            except errors.NotFound:
                pass  # it may be a name that long
            else:
                return found
        for row in self.machines():
            if wanted in (row["id"], row["name"]):
                return row
        raise errors.NotFound(f"app {self.name} has no machine {wanted}", hint="'pilot machine list' has all")

    def id_of(self, wanted: str) -> str:
        return str(self.machine(wanted)["id"])

    def wait(self, id: str, state: str, timeout_s: float, since: str, *, anew: bool = False) -> dict[str, Any]:
        """The Machine, in that state; `anew`: after something has happened to it. A terminal is shown how it goes on.

        `NotReached` says why it is in another, as soon as that is known: by what happened after event `since`. One
        that has started and ended when it is looked at is as its program has ended, whether it was seen to run or not.
        """
        end_s = time.monotonic() + timeout_s
        with Watching(id) as watching:
            while True:
                is_reached = self._is_reached(id, state, max(min(LOOK_S, int(end_s - time.monotonic())), 1))
                row = self._row(id, state)
                news = [each for each in row["events"] if each["id"] > since]
                if state == "started" and _has_ended(row, news):
                    return _ended_well(row, news)
                if is_reached and (news or not anew):
                    return row
                watching.show(row["state"], news)
                if news and row["state"] in _OVER:
                    raise _not_reached(row, news)
                if time.monotonic() >= end_s:
                    raise NotReached(
                        f"it is {row['state']}, and not {state}, after {timeout_s:g} s",
                        hint="it may still come to it: 'pilot machine status' tells",
                    )
                time.sleep(_PAUSE_S)  # the server may have answered at once

    def _is_reached(self, id: str, state: str, timeout_s: int) -> bool:
        path = http.target(self.machine_path(id, "wait"), [("state", state), ("timeout", str(timeout_s))])
        answer, _ = http.ask(self.api.account, "GET", path)
        try:
            body = answer.read()
        finally:
            answer.close()
        if answer.status == _NOT_IN_TIME:
            return False
        if answer.is_error and not (answer.status == _NOT_FOUND and state == "destroyed"):
            raise _plain(http.refusal(answer.status, body))
        return True

    def _row(self, id: str, state: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.call("GET", self.machine_path(id))
        except errors.NotFound:
            if state != "destroyed":
                raise
            return {"id": id, "name": "", "state": "destroyed", "events": []}
        return found


def _has_ended(row: Mapping[str, Any], news: list[dict[str, Any]]) -> bool:
    """It ran, and runs no more."""
    return row["state"] in ("stopped", "destroyed") and _exit(news) is not None


def _ended_well(row: dict[str, Any], news: list[dict[str, Any]]) -> dict[str, Any]:
    """The Machine, if its program has done what it was to do. `NotReached`."""
    told = _exit(news) or {}
    if told.get("exit_code") != 0 or told.get("requested_stop"):
        raise _not_reached(row, news)
    return row


def _exit(news: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last end of its program."""
    found = [_exit_event(each) for each in news if each["type"] == "exit"]
    return found[0] if found else None


def _exit_event(event: Mapping[str, Any]) -> Mapping[str, Any]:
    request = event.get("request") or {}
    found: Mapping[str, Any] = request.get("exit_event") or (request.get("MonitorEvent") or {}).get("exit_event") or {}
    return found


def _not_reached(row: Mapping[str, Any], news: list[dict[str, Any]]) -> NotReached:
    return NotReached(f"it is {row['state']}: {reason(news) or 'it does not say why'}")


def reason(events: Iterable[Mapping[str, Any]]) -> str:
    """Why it is as it is, in words: of the newest of these events that says anything."""
    for event in events:
        request = event.get("request") or {}
        if "error" in request:
            return str(request["error"])
        if told := _exit_event(event):
            return _ended(told)
    return ""


def _ended(told: Mapping[str, Any]) -> str:
    words = [f"exit code {told.get('exit_code', '?')}"]
    words += [f"signal {told['signal']}"] if told.get("signal", -1) > 0 else []
    words += ["out of memory"] if told.get("oom_killed") else []
    words += ["as it was asked to"] if told.get("requested_stop") else []
    return ", ".join(words)


def _plain(error: errors.PilotError) -> errors.PilotError:
    """The server's code before the reason is left out, which is for programs: `not_found: machine not found`."""
    code, separator, rest = str(error).partition(": ")
    if not separator or not code.isascii() or not code.replace("_", "").islower() or "_" not in code:
        return error
    return type(error)(rest, hint=error.hint)


class Watching:
    """A line of stderr, where that is a terminal: what the Machine does, and for how long already."""

    def __init__(self, id: str) -> None:
        self._id = id
        self._is_shown = os.isatty(2)
        self._since_s = time.monotonic()
        self._has_written = False

    def __enter__(self) -> Watching:
        self.show("", [])
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_written:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def show(self, state: str, news: list[dict[str, Any]]) -> None:
        if not self._is_shown:
            return
        why = reason(news)
        taken_s = time.monotonic() - self._since_s
        text = f"{self._id}  {state or '…'}  {taken_s:.0f} s" + (f"  {why}" if why else "")
        columns = os.get_terminal_size(2).columns or 80
        shown = "".join(each if each.isprintable() else "?" for each in text)
        sys.stderr.write(f"\r{shown[: columns - 1]}\x1b[K")
        sys.stderr.flush()
        self._has_written = True


def read_json(path: str) -> Any:
    """A file's document. `SpecError`."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise errors.SpecError("$", f"it is no JSON: {error}", file=path) from error
