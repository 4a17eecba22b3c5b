#!/usr/bin/python3
"""sprite-env: what a sprite can ask of its own machine, from a shell in it.

    sprite-env services list | get NAME | create NAME --cmd CMD [--args A,B] [--env K=V]… [--dir DIR] [--needs A,B]
                        [--http-port N] [--duration 5s] | start | stop | restart | delete NAME | signal NAME SIGNAL
                        | logs NAME [--lines N]
    sprite-env tasks    list | get NAME | create NAME --expire 10m | refresh NAME --expire 10m | delete NAME
    sprite-env checkpoints list | create [--comment TEXT] [--name NAME]
    sprite-env sprites  list | create [NAME] [--from image|self|SPRITE:CHECKPOINT] [--env K=V]… [--expire SECONDS]
                        | delete NAME
    sprite-env curl     [-X METHOD] [-d BODY] PATH

Answers are printed as they come. The exit status is 1 for what was refused, 2 for what cannot be meant.

Copied into worlds as it is: nothing but the standard library of whatever Python is there.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
from urllib.parse import quote, urlencode

SOCKET = os.environ.get("SPRITE_API_SOCKET", "/.sprite/api.sock")


class Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(SOCKET)


def ask(method: str, path: str, body: object = None) -> int:
    """Print the answer; the exit status."""
    connection = Connection("sprite")
    text = body if isinstance(body, str) else None if body is None else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
    answer = connection.getresponse()
    failed = answer.status >= 400
    out, ends = sys.stderr.buffer if failed else sys.stdout.buffer, True
    while piece := answer.read1(65536):
        out.write(piece)
        out.flush()
        ends = piece.endswith(b"\n")
    if not ends:
        out.write(b"\n")
    return 1 if failed else 0


def listed(text: str | None) -> list[str]:
    return text.split(",") if text else []


def services(said: argparse.Namespace) -> int:
    place = "/v1/services" if said.name is None else f"/v1/services/{quote(said.name, safe='')}"
    query = "?" + urlencode({"duration": said.duration}) if said.duration else ""
    match said.verb:
        case "list" | "get":
            return ask("GET", place)
        case "create":
            pairs = dict(each.partition("=")[::2] for each in said.env)
            body = {"cmd": said.cmd, "args": listed(said.args), "env": pairs, "needs": listed(said.needs)}
            optional = {"dir": said.dir, "http_port": said.http_port}
            return ask("PUT", place + query, body | {key: value for key, value in optional.items() if value})
        case "delete":
            return ask("DELETE", place)
        case "signal":
            return ask("POST", "/v1/services/signal", {"name": said.name, "signal": said.signal})
        case "logs":
            return ask("GET", f"{place}/logs" + ("?" + urlencode({"lines": said.lines}) if said.lines else ""))
    return ask("POST", f"{place}/{said.verb}{query}")


def tasks(said: argparse.Namespace) -> int:
    place = "/v1/tasks" if said.name is None else f"/v1/tasks/{quote(said.name, safe='')}"
    match said.verb:
        case "list" | "get":
            return ask("GET", place)
        case "create":
            return ask("POST", "/v1/tasks", {"name": said.name, "expire": said.expire})
        case "refresh":
            return ask("PUT", place, {"expire": said.expire})
    return ask("DELETE", place)


def checkpoints(said: argparse.Namespace) -> int:
    if said.verb == "list":
        return ask("GET", "/v1/checkpoints")
    return ask("POST", "/v1/checkpoint", {"comment": said.comment, "name": said.called})


def sprites(said: argparse.Namespace) -> int:
    """Of its own children."""
    match said.verb:
        case "list":
            return ask("GET", "/v1/sprites")
        case "delete":
            return ask("DELETE", f"/v1/sprites/{quote(said.name, safe='')}")
    body = {"from": said.origin, "environment": dict(each.partition("=")[::2] for each in said.env)}
    optional = {"name": said.name, "expires_in_s": said.expire}
    return ask("POST", "/v1/sprites", body | {key: value for key, value in optional.items() if value})


def bare(said: argparse.Namespace) -> int:
    method = said.method or ("POST" if said.data is not None else "GET")
    return ask(method, "/" + said.path.removeprefix("/"), said.data)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="sprite-env", description="what a sprite can ask of its own machine")
    rooms = whole.add_subparsers(required=True)
    verbs = rooms.add_parser("services", help="what runs by itself").add_subparsers(dest="verb", required=True)
    for name in ("list", "get", "create", "start", "stop", "restart", "delete", "signal", "logs"):
        verb = verbs.add_parser(name)
        verb.set_defaults(act=services, name=None, duration=None)
        if name != "list":
            verb.add_argument("name")
        if name in ("create", "start", "restart"):
            verb.add_argument("--duration", help="how long its output is shown")
        if name == "create":
            verb.add_argument("--cmd", required=True)
            verb.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
            verb.add_argument("--http-port", type=int)
            for option in ("--args", "--dir", "--needs"):
                verb.add_argument(option)
        if name == "signal":
            verb.add_argument("signal")
        if name == "logs":
            verb.add_argument("--lines", type=int)
    verbs = rooms.add_parser("tasks", help="why it stays awake").add_subparsers(dest="verb", required=True)
    for name in ("list", "get", "create", "refresh", "delete"):
        verb = verbs.add_parser(name)
        verb.set_defaults(act=tasks, name=None)
        if name != "list":
            verb.add_argument("name")
        if name in ("create", "refresh"):
            verb.add_argument("--expire", required=True, help="seconds, or as in 30m; an hour at most")
    verbs = rooms.add_parser("checkpoints", help="of this sprite's disk").add_subparsers(dest="verb", required=True)
    verbs.add_parser("list").set_defaults(act=checkpoints)
    verb = verbs.add_parser("create")
    verb.set_defaults(act=checkpoints)
    verb.add_argument("--comment")
    verb.add_argument("--name", dest="called", help="by which it can be asked for, as by its id")
    verbs = rooms.add_parser("sprites", help="made by this one").add_subparsers(dest="verb", required=True)
    verbs.add_parser("list").set_defaults(act=sprites)
    verb = verbs.add_parser("create")
    verb.set_defaults(act=sprites)
    verb.add_argument("name", nargs="?", help="follows this one's own name")
    verb.add_argument("--from", dest="origin", default="image", metavar="image|self|SPRITE:CHECKPOINT")
    verb.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    verb.add_argument("--expire", type=float, help="seconds")
    verb = verbs.add_parser("delete")
    verb.set_defaults(act=sprites)
    verb.add_argument("name")
    asked = rooms.add_parser("curl", help="the bare call")
    asked.set_defaults(act=bare)
    asked.add_argument("-X", dest="method")
    asked.add_argument("-d", dest="data")
    asked.add_argument("path")
    return whole


def main() -> int:
    said = parser().parse_args()
    try:
        return int(said.act(said))
    except OSError as error:
        print(f"sprite-env: {SOCKET}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
