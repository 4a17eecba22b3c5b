"""What is said of a Machine on a command line, as its `config`. Pure, but for the files that are named."""

from __future__ import annotations

import base64
import re
import shlex

from ... import errors
from ..words import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..words import Words

    Config = dict[str, Any]

# Of a config: what a Machine of containers has no use for, or has by its compose file alone.
OF_CONTAINERS = frozenset(
    ["image", "containers", "processes", "init", "files", "restart", "stop_config", "services", "volumes", "mounts"]
)
_HANDLERS = ("http", "tls", "proxy_proto")
_PORT = re.compile(r"(?:(\d{1,5})(?:-(\d{1,5}))?:)?(\d{1,5})(?:/(tcp|udp))?((?::\w+)*)", re.ASCII)


def changed(config: Mapping[str, Any], said: Words, command: Sequence[str], volumes: Callable[[str], str]) -> Config:
    """`config` with all that was said put over it. `volumes` finds the id of one by its name. `UsageError`."""
    found = dict(config)
    _put_parts(found, "env", pairs(said.options("env"), "--env"))
    _put_parts(found, "metadata", pairs(said.options("metadata"), "--metadata"))
    guest = {"memory_mb": number(said, "memory"), "cpus": number(said, "cpus")}
    _put_parts(found, "guest", {name: value for name, value in guest.items() if value is not None})
    if said.has("restart"):
        found["restart"] = {"policy": said.option("restart")}
    if said.has("schedule"):
        found["schedule"] = said.option("schedule")
    if said.has("rm"):
        found["auto_destroy"] = True
    init = {"entrypoint": _entrypoint(said), "cmd": list(command) or None}
    _put_parts(found, "init", {name: value for name, value in init.items() if value is not None})
    if said.has("volume"):
        found["mounts"] = [_mount(text, volumes) for text in said.options("volume")]
    if said.has("file"):
        found["files"] = [*found.get("files", []), *(_file(text) for text in said.options("file"))]
    if said.has("port"):
        found["services"] = services(said.options("port"))
    if said.has("autostop"):
        found["services"] = [{**each, "autostop": said.option("autostop")} for each in found.get("services") or []]
        if not found["services"]:
            raise UsageError("--autostop: there is no service that could be used; say one with --port")
    _check_alone(found, said, command)
    return found


def check_image(config: Config, image: str | None) -> None:
    """`UsageError` for one that would be of no container."""
    if image is not None and config.get("containers"):
        raise UsageError(f"image {image}: of which of its containers? say all of them with --config or --compose")


def _check_alone(config: Config, said: Words, command: Sequence[str]) -> None:
    """Of a Machine of several containers each has what is one's own."""
    given = [f"--{name}" for name in ("entrypoint", "file", "volume", "restart") if said.has(name)]
    given += ["a command"] if command else []
    if config.get("containers") and given:
        raise UsageError(f"{given[0]}: of which of its containers? say it in the compose file")


def _put_parts(config: Config, name: str, parts: Mapping[str, Any]) -> None:
    if parts:
        config[name] = {**(config.get(name) or {}), **parts}


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE, each. `UsageError`."""
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise UsageError(f"{option} {text}: it is NAME=VALUE")
        found[name] = value
    return found


def number(said: Words, option: str) -> int | None:
    """`UsageError` when it is none."""
    text = said.option(option)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"--{option} {text}: it is a number")
    return int(text)


def _entrypoint(said: Words) -> list[str] | None:
    text = said.option("entrypoint")
    if text is None:
        return None
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--entrypoint: {str(error).lower()}") from error


def _mount(text: str, volumes: Callable[[str], str]) -> Config:
    volume, separator, path = text.partition(":")
    if not separator or not volume or not path.startswith("/"):
        raise UsageError(f"--volume {text}: it is VOLUME:PATH", hint="a volume of the app; PATH begins with /")
    return {"volume": volumes(volume), "path": path, "name": volume}


def _file(text: str) -> Config:
    path, separator, ours = text.partition("=")
    if not separator or not path.startswith("/") or not ours:
        raise UsageError(f"--file {text}: it is PATH=FILE, PATH in the Machine")
    return {"guest_path": path, "raw_value": encoded(ours)}


def encoded(path: str) -> str:
    """A file of ours as configs have them. `HostError` for one that is too large for one."""
    with open(path, "rb") as file:
        data = file.read(MOST_FILE_BYTES + 1)
    if len(data) > MOST_FILE_BYTES:
        raise errors.HostError(f"{path}: more than {MOST_FILE_BYTES} bytes", hint="put it in an image, or on a volume")
    return base64.b64encode(data).decode()


MOST_FILE_BYTES = 2 << 20
MOST_BODY_BYTES = 4 << 20  # of all that is asked at once, as the server has it


def services(texts: Sequence[str]) -> list[Config]:
    """One for each internal port and protocol, in their order."""
    found: dict[tuple[int, str], Config] = {}
    for text in texts:
        internal, protocol, port = parse_port(text)
        service = found.setdefault((internal, protocol), {"protocol": protocol, "internal_port": internal, "ports": []})
        service["ports"].append(port)
    return list(found.values())


def parse_port(text: str) -> tuple[int, str, Config]:
    """`80:8080/tcp:http` → 8080, tcp, what is outside. `UsageError`."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise UsageError(f"--port {text}: it is EXTERNAL:INTERNAL[/udp][:HANDLER…]", hint="80:8080:http, 53:53/udp")
    first, last, internal, protocol, tail = match.groups()
    handlers = [each for each in tail.split(":") if each]
    numbers = [int(each) for each in (first, last, internal) if each is not None]
    if not all(1 <= each <= 65535 for each in numbers):
        raise UsageError(f"--port {text}: ports are from 1 to 65535")
    if unknown := [each for each in handlers if each not in _HANDLERS]:
        raise UsageError(f"--port {text}: {unknown[0]} is not there; {', '.join(_HANDLERS)} are")
    if protocol == "udp" and handlers:
        raise UsageError(f"--port {text}: datagrams have no handlers")
    first = first or internal
    port: Config = {"port": int(first)} if last is None else {"start_port": int(first), "end_port": int(last)}
    if handlers:
        port["handlers"] = handlers
    return int(internal), protocol or "tcp", port
