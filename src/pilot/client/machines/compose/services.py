"""One service of a compose file as a container of a Machine, and what the Machine itself is to have for it."""

from __future__ import annotations

import posixpath
import re
import signal

from . import fields, keys
from .document import Item, is_text
from .files import Files
from .storage import Storage, slug

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    JSON = dict[str, Any]

_CONDITIONS = {
    "service_started": "started", "service_healthy": "healthy",
    "service_completed_successfully": "exited_successfully",
}  # fmt: skip
_RESTARTS = {"no": "no", "always": "always", "unless-stopped": "always", "on-failure": "on-failure"}
_CONTAINER = re.compile(r"[a-z0-9][a-z0-9-]{0,30}", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10}(:[0-9]{1,10})?", re.ASCII)
_NUMBER = r"\d{1,5}"
_PORT = re.compile(
    rf"(?:(?:(?P<ip>[\d.]+|\[[0-9a-fA-F:]+\]|[a-z]+):)?(?P<first>{_NUMBER})?(?:-(?P<last>{_NUMBER}))?:)?"
    rf"(?P<inside>{_NUMBER})(?:-(?P<inside_last>{_NUMBER}))?(?:/(?P<protocol>\w+))?",
    re.ASCII,
)
_MOST_PORTS = 1024
_SIGNALS = frozenset(each.name.removeprefix("SIG") for each in signal.Signals)
_HEALTH_S = 30  # interval and timeout, of the specification
_CHECK = frozenset(["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"])
_DEPENDS = frozenset(["condition", "restart", "required"])
_PUBLISHED = frozenset(["target", "published", "host_ip", "protocol", "mode", "app_protocol", "name"])
_GRANT = frozenset(["source", "target", "uid", "gid", "mode"])


class Service:
    """`name` is the container's; what the file calls it, and what else it is called by, are its `aliases`."""

    def __init__(self, item: Item, called: str) -> None:
        self.item = item
        self.called = called
        self.name = slug(called)
        self.keys = item.mapping()
        if not _CONTAINER.fullmatch(self.name) or self.name in ("world", "machine"):
            item.refuse(f"{called[:50]!r} is no name of a container", hint="31 of a-z, 0-9 and - at most")

    def get(self, key: str) -> Item | None:
        """None also for one that is said to be nothing."""
        found = self.keys.get(key)
        return None if found is None or found.is_nothing else found

    def check(self, notes: dict[str, str]) -> None:
        """Each key is known, and none would be missed. `notes` is told of each that is otherwise, once. `SpecError`."""
        for key, item in self.keys.items():
            if key.startswith("x-") or key in keys.PASSED or item.is_nothing:
                continue
            if key in keys.REFUSED:
                item.refuse("a container of a Machine has none", hint=keys.REFUSED[key])
            if key in keys.NOTED:
                notes.setdefault(key, f"{item.file}:{item.line}: {item.path}: {keys.NOTED[key]}")
            elif key not in keys.USED:
                item.refuse("there is no such key")
            if key in keys.ONLY and item.text() not in keys.ONLY[key]:
                item.refuse(f"only {' or '.join(keys.ONLY[key]) or 'nothing'} is possible")
        self._check_network()
        self._check_deploy()

    def _check_network(self) -> None:
        mode = self.get("network_mode")
        if mode is not None and mode.text() != "bridge" and not mode.text().startswith("service:"):
            mode.refuse("the containers of a Machine share one network, and the host's is not theirs")

    def _check_deploy(self) -> None:
        deploy = self.get("deploy")
        for key, item in deploy.mapping().items() if deploy else ():
            if key == "replicas" and item.text() == "1":
                continue
            if key not in ("labels", "endpoint_mode", "placement", "update_config", "rollback_config"):
                item.refuse("a container of a Machine has none", hint="size: --memory, --cpus; restart: beside it")

    @property
    def is_wanted(self) -> bool:
        """Not of a profile, none of which is active."""
        profiles = self.get("profiles")
        return profiles is None or not profiles.items()

    @property
    def aliases(self) -> list[str]:
        found = [self.called, self.name]
        found += [item.text() for key in ("container_name", "hostname") if (item := self.get(key)) is not None]
        networks = self.get("networks")
        if networks is not None and networks.is_mapping:
            for each in networks.mapping().values():
                names = each.mapping().get("aliases")
                found += [alias.text() for alias in names.items()] if names is not None else []
        links = self.get("links")
        return found + [alias for each in links.items() if (alias := each.text().partition(":")[2])] if links else found

    def image(self) -> str:
        item = self.get("image")
        if item is None:
            place = self.get("build") or self.item
            place.refuse("it has no image", hint="build and push one, and say it as image")
        text = item.text()
        if not text or any(each.isspace() for each in text):
            item.refuse(f"{text[:50]!r} is no image")
        return text

    def environment(self, files: Files) -> dict[str, str]:
        """Of files first, then what is said here."""
        found: dict[str, str] = {}
        for path, item in _env_files(self.get("env_file")):
            found |= _read_variables(path, item, files, found)
        said = self.get("environment")
        if said is not None:
            found |= fields.variables(said, files.environment)
        for name, value in found.items():
            if not name or "=" in name or not is_text(name + value):
                (said or self.item).refuse(f"{name[:50]!r}: a name has no = in it, and both are UTF-8 without NUL")
        return found

    def command(self, key: str) -> list[str] | None:
        item = self.get(key)
        if item is None:
            return None
        found = fields.words(item)
        if not found:
            item.refuse("is empty", hint="leave it out: the image's is taken")
        if not found[0] and (key == "entrypoint" or self.get("entrypoint") is None):
            item.refuse("the name of its program is empty")
        return found

    def depends_on(self, others: Mapping[str, Service]) -> list[JSON]:
        found: dict[str, str] = {}
        if (links := self.get("links")) is not None:
            found |= {self._other(each, each.text().partition(":")[0], others): "started" for each in links.items()}
        if (mode := self.get("network_mode")) is not None and mode.text().startswith("service:"):
            self._other(mode, mode.text().removeprefix("service:"), others)
        wanted = self.get("depends_on")
        if wanted is not None and wanted.is_list:
            found |= {self._other(each, each.text(), others): "started" for each in wanted.items()}
        elif wanted is not None:
            for name, each in wanted.mapping().items():
                said = each.check_keys(_DEPENDS)
                if name not in others and "required" in said and not said["required"].boolean():
                    continue
                found[self._other(each, name, others)] = condition = _condition(said.get("condition"))
                others[name].check_awaited(each, condition)
        return [{"name": name, "condition": condition} for name, condition in found.items()]

    def check_awaited(self, place: Item, condition: str) -> None:
        """It may come to what another one waits for. `SpecError` at that one's `place`."""
        if condition == "healthy" and self.healthcheck() is None:
            place.refuse(
                f"{self.called} has no healthcheck here, and never becomes healthy",
                hint="say one; the image's is not known",
            )
        if condition == "exited_successfully" and self.restart()["policy"] == "always":
            place.refuse(f"{self.called} is always started again")

    def user(self) -> str | None:
        item = self.get("user")
        if item is not None and not _USER.fullmatch(item.text()):
            item.refuse(f"{item.text()[:40]!r} is no user", hint="a name, or numbers: 1000:1000")
        return None if item is None else item.text()

    def _other(self, place: Item, name: str, others: Mapping[str, Service]) -> str:
        if name not in others:
            place.refuse(f"there is no service {name[:50]!r}", hint="or it has a profile, of which none is active")
        return others[name].name

    def healthcheck(self) -> JSON | None:
        item = self.get("healthcheck")
        if item is None:
            return None
        said = item.check_keys(_CHECK)
        if "disable" in said and said["disable"].boolean():
            return None
        test = said.get("test")
        if test is None:
            item.refuse("its test is that of the image, which is not known here", hint="say test")
        command = _test(test)
        if command is None:
            return None
        check: JSON = {"name": "healthcheck", "exec": {"command": command}, "kind": "readiness"}
        check["interval"] = fields.seconds(said["interval"]) if "interval" in said else _HEALTH_S
        check["timeout"] = fields.seconds(said["timeout"]) if "timeout" in said else _HEALTH_S
        check["failure_threshold"] = said["retries"].number(1, 1000) if "retries" in said else 3
        if "start_period" in said:
            check["grace_period"] = fields.seconds(said["start_period"])
        return check

    def restart(self) -> JSON:
        """As the specification has it: it is not, unless it is said."""
        item = self.get("restart")
        name, _, tries = ("no" if item is None else item.text()).partition(":")
        name = {"false": "no"}.get(name, name)
        if name not in _RESTARTS or (tries and name != "on-failure"):
            assert item is not None
            item.refuse(f"{item.text()[:30]!r} is none of {', '.join(_RESTARTS)}, on-failure:N")
        found: JSON = {"policy": _RESTARTS[name]}
        if tries:
            assert item is not None
            found["max_retries"] = Item(tries, item.path, item.line, item.file).number(0, 1 << 30)
        return found

    def stop(self) -> JSON | None:
        wanted, patience = self.get("stop_signal"), self.get("stop_grace_period")
        found: JSON = {} if wanted is None else {"signal": _signal(wanted)}
        found["timeout"] = "10s" if patience is None else f"{fields.duration_s(patience):g}s"
        return found

    def ports(self) -> list[tuple[int, str, JSON, Item]]:
        """Internal port, protocol, what is outside, and where it is said."""
        found: list[tuple[int, str, JSON, Item]] = []
        wanted = self.get("ports")
        for item in wanted.items() if wanted else ():
            found += _long_port(item) if item.is_mapping else _short_port(item)
            if len(found) > _MOST_PORTS:
                item.refuse(f"more than {_MOST_PORTS} ports")
        return found

    def grants(self, kind: str, declared: Mapping[str, JSON]) -> list[JSON]:
        """Files of `secrets` or `configs`, by what is declared of them (`secret_name` or `raw_value`)."""
        wanted, found = self.get(kind), []
        for item in wanted.items() if wanted else ():
            said = item.check_keys(_GRANT) if item.is_mapping else {"source": item}
            source = said.get("source")
            if source is None or source.text() not in declared:
                item.refuse(f"there is no {kind[:-1]} of that name at the top of the file")
            for key in ("uid", "gid"):
                if key in said and said[key].text() != "0":
                    said[key].refuse("a file of a Machine is root's")
            default = "/run/secrets" if kind == "secrets" else "/"
            target = said["target"].text() if "target" in said else source.text()
            mode = _mode(said["mode"]) if "mode" in said else 0o444
            found.append({"guest_path": posixpath.join(default, target), "mode": mode, **declared[source.text()]})
        return found


def container(
    service: Service, others: Mapping[str, Service], files: Files, storage: Storage, grants: Mapping[str, Any]
) -> JSON:
    """As the Machines API has it."""
    mounts, injected = storage.of(service.name, service.get("volumes"), service.get("tmpfs"), files)
    for kind in ("configs", "secrets"):
        injected += service.grants(kind, grants[kind])
    found: JSON = {"name": service.name, "image": service.image(), "restart": service.restart()}
    check = service.healthcheck()
    parts: JSON = {
        "entrypoint": service.command("entrypoint"), "cmd": service.command("command"),
        "user": service.user(), "env": service.environment(files) or None,
        "depends_on": service.depends_on(others) or None, "healthchecks": None if check is None else [check],
        "stop": service.stop(), "mounts": mounts or None, "files": injected or None,
        "secrets": [] if grants["declared"] else None,
    }  # fmt: skip
    return found | {name: value for name, value in parts.items() if value is not None}


def _condition(item: Item | None) -> str:
    if item is None:
        return "started"
    if item.text() not in _CONDITIONS:
        item.refuse(f"{item.text()[:40]!r} is none of {', '.join(_CONDITIONS)}")
    return _CONDITIONS[item.text()]


def _signal(item: Item) -> str:
    text = item.text().strip().upper()
    is_number = text.isascii() and text.isdecimal() and len(text) < 4
    if not (0 < int(text) < signal.NSIG if is_number else text.removeprefix("SIG") in _SIGNALS):
        item.refuse(f"{item.text()[:30]!r} is no signal", hint="SIGQUIT, or a number")
    return text


def _test(item: Item) -> list[str] | None:
    """The command; None for none. What is a line for a shell is given to one."""
    if not item.is_list:
        return ["/bin/sh", "-c", item.text()]
    kind, *rest = [each.text() for each in item.items()] or [""]
    if kind == "NONE":
        return None
    if kind == "CMD" and rest and rest[0]:
        return rest
    if kind != "CMD-SHELL" or len(rest) != 1:
        item.refuse("a test is a line for a shell, [CMD, …], [CMD-SHELL, LINE] or [NONE]")
    return ["/bin/sh", "-c", rest[0]]


def _env_files(item: Item | None) -> list[tuple[str, Item]]:
    if item is None:
        return []
    if not item.is_list:
        return [(item.text(), item)]
    found = []
    for each in item.items():
        if not each.is_mapping:
            found.append((each.text(), each))
            continue
        said = each.check_keys(frozenset({"path", "required", "format"}))
        if "path" not in said:
            each.refuse("path is missing")
        if "format" in said and said["format"].text() != "raw":
            said["format"].refuse("raw, or nothing")
        is_optional = "required" in said and not said["required"].boolean()
        found.append(("?" * is_optional + said["path"].text(), each))
    return found


def _read_variables(path: str, item: Item, files: Files, known: Mapping[str, str]) -> dict[str, str]:
    """`?` before a path: it may be that there is none."""
    import os

    from . import dotenv

    place = os.path.join(files.base, path.removeprefix("?"))
    if path.startswith("?") and not os.path.exists(place):
        return {}
    data, _ = files.read(place, item)
    text = data.decode(errors="surrogateescape")
    if item.is_mapping and "format" in item.mapping():
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return {name: value for name, separator, value in (line.partition("=") for line in lines) if separator}
    return dotenv.parse(text, {**known, **files.environment}, place)


def _short_port(item: Item) -> list[tuple[int, str, JSON, Item]]:
    text = item.text()
    match = _PORT.fullmatch(text)
    if match is None:
        item.refuse(f"{text[:50]!r} is no [[IP:]PORT:]PORT[/PROTOCOL]")
    _check_host(item, (match["ip"] or "").strip("[]"))
    inside = _range(item, match["inside"], match["inside_last"])
    outside = _range(item, match["first"], match["last"]) if match["first"] else inside
    return _pairs(item, inside, outside, match["protocol"] or "tcp", {})


def _long_port(item: Item) -> list[tuple[int, str, JSON, Item]]:
    said = item.check_keys(_PUBLISHED)
    if "target" not in said:
        item.refuse("target is missing")
    _check_host(item, said["host_ip"].text() if "host_ip" in said else "")
    target = said["target"].number(1, 65535)
    first, _, last = (said["published"].text() if "published" in said else str(target)).partition("-")
    inside, outside = [target], _range(said.get("published", item), first, last or None)
    handlers: JSON = {}
    if "app_protocol" in said and said["app_protocol"].text().lower() in ("http", "http2", "https"):
        if said["app_protocol"].text().lower() != "http":
            said["app_protocol"].refuse("only http is possible", hint="TLS ends before the Machine: --port …:http:tls")
        handlers = {"handlers": ["http"]}
    if len(outside) > 1:
        outside = outside[:1]  # the first of them that is free, and they all are
    return _pairs(item, inside, outside, said["protocol"].text() if "protocol" in said else "tcp", handlers)


def _pairs(
    item: Item, inside: list[int], outside: list[int], protocol: str, more: JSON
) -> list[tuple[int, str, JSON, Item]]:
    if protocol not in ("tcp", "udp"):
        item.refuse(f"{protocol[:20]!r} is neither tcp nor udp")
    if len(outside) != len(inside):
        if len(inside) != 1:
            item.refuse("the two ranges are not of the same length")
        outside = outside[:1]
    return [(port, protocol, {"port": there, **more}, item) for port, there in zip(inside, outside, strict=True)]


def _range(item: Item, first: str, last: str | None) -> list[int]:
    if not first.isdecimal() or not (last or "0").isdecimal():
        item.refuse(f"{first[:20]!r} is no port")
    found = range(int(first), int(last or first) + 1)
    if not found or not 1 <= found[0] <= found[-1] <= 65535 or len(found) > _MOST_PORTS:
        item.refuse(f"ports are from 1 to 65535, and {_MOST_PORTS} at most")
    return list(found)


def _check_host(item: Item, ip: str) -> None:
    if ip not in ("", "0.0.0.0", "127.0.0.1", "::", "::1", "localhost"):
        item.refuse(f"{ip[:40]} is no address of the app's", hint="leave it out: an app has an address of its own")


def _mode(item: Item) -> int:
    text = item.text().removeprefix("0o")
    if not re.fullmatch(r"0?[0-7]{1,4}", text):
        item.refuse(f"{text[:20]!r} is no mode")
    return int(text, 8)
