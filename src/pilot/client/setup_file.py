"""`sprite.toml`: what a sprite is to be, as a file beside the code that runs in it. Pure.

    name = "shop"                       without it -s, SPRITE or .sprite say which
    from = "base:ready"                 a template; at creation alone, as `environment`
    environment = { STAGE = "test" }
    labels = ["demo"]
    setup = ["pip install flask"]       each by `bash -lc` in the home: when the sprite has just been made (or --setup)
    checkpoint = "ready"                the name of the checkpoint that is taken after that

    [config]  [lifecycle]  [url]        as the API has them: ram_mb, cpus, warm_after_s, expires_in_s, auth, …
    [network]                           allow = ["*.pypi.org"], deny = [], defaults = true
    [spawn]                             children = 2, from = ["self"], expires_in_s = 3600
    [files]                             "/home/sprite/app.py" = "app.py"     there = here, beside this file
    [services.web]                      cmd, args, needs, env, dir, http_port

What is said of one that there is already is made so: `up` may be repeated, and a service that is as it was goes on.
"""

from __future__ import annotations

import math

from .. import errors
from . import network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_TABLES = ("environment", "config", "lifecycle", "url", "network", "spawn", "files", "services")
_TEXTS = ("name", "from", "checkpoint")
_LISTS = ("labels", "setup")
_SERVICE = ("cmd", "args", "needs", "env", "dir", "http_port")
# What each table may say; those but `network` are the server's words, which passes over what it does not know.
KEYS = {
    "config": ("ram_mb", "cpus", "region", "storage_gb", "pids"),
    "lifecycle": (
        "warm_after_s",
        "cold_after_s",
        "terminal_idle_s",
        "expires_at",
        "expires_in_s",
        "on_expiry",
        "protected",
    ),
    "url": ("auth", "private_access"),
    "network": ("allow", "deny", "defaults"),
    "spawn": ("children", "from", "expires_in_s"),
}


class SetUp:
    """What a file says. Each property is the body of a call, or None when it says nothing of it."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said

    @property
    def name(self) -> str | None:
        return self._said.get("name")

    @property
    def new(self) -> dict[str, Any]:
        """Of what is true of a new sprite alone, beside `changes`."""
        named = {"environment": "environment", "template": "from"}
        return {key: self._said[word] for key, word in named.items() if word in self._said}

    @property
    def changes(self) -> dict[str, Any]:
        named = {"labels": "labels", "config": "config", "lifecycle": "lifecycle", "url_settings": "url"}
        return {key: self._said[word] for key, word in named.items() if word in self._said}

    @property
    def policy(self) -> dict[str, Any] | None:
        rules = self._said.get("network")
        if rules is None:
            return None
        return network.rules(rules.get("allow", ()), rules.get("deny", ()), rules.get("defaults", False))

    @property
    def spawn(self) -> dict[str, Any] | None:
        return self._said.get("spawn")

    @property
    def files(self) -> dict[str, str]:
        """Path there → path here."""
        return dict(self._said.get("files", {}))

    @property
    def setup(self) -> list[str]:
        return list(self._said.get("setup", ()))

    @property
    def checkpoint(self) -> str | None:
        return self._said.get("checkpoint")

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """In an order in which each comes after what it needs."""
        return dict(self._said.get("services", {}))


def _ordered(wanted: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`SpecError` for services that need each other."""
    ordered: dict[str, dict[str, Any]] = {}
    while len(ordered) < len(wanted):
        ready = [name for name in wanted if name not in ordered and _is_ready(wanted[name], wanted, ordered)]
        if not ready:
            circle = ", ".join(sorted(wanted.keys() - ordered.keys()))
            raise errors.SpecError("$.services", f"these need each other: {circle}")
        ordered |= {name: wanted[name] for name in ready}
    return ordered


def _is_ready(service: Mapping[str, Any], wanted: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Of those that it needs all that the file has are there; others may be in the sprite already."""
    return all(need in before for need in service.get("needs", ()) if need in wanted)


def parse(text: str) -> SetUp:
    """`SpecError` with the place of what is wrong; values of the API are the server's to judge."""
    import tomllib  # what most verbs never need

    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.SpecError("$", f"no TOML: {error}") from error
    except RecursionError as error:
        raise errors.SpecError("$", "no TOML that anybody means: too deep") from error
    _check_sendable("$", said)
    _check("$", said, (*_TEXTS, *_LISTS, *_TABLES))
    for key, kind, what in (
        *((key, str, "a text") for key in _TEXTS),
        *((key, list, "a list of texts") for key in _LISTS),
        *((key, dict, "a table") for key in _TABLES),
    ):
        if not isinstance(said.get(key, kind()), kind):
            raise errors.SpecError(f"$.{key}", f"not {what}")
    for key in _LISTS:
        _check_texts(f"$.{key}", said.get(key, []))
    for key, known in KEYS.items():
        _check(f"$.{key}", said.get(key, {}), known)
    _check_network(said.get("network"))
    for place, here in said.get("files", {}).items():
        if not isinstance(here, str) or not place.startswith("/"):
            raise errors.SpecError(f"$.files.{place}", 'not "/path/there" = "path here"')
    for name, service in said.get("services", {}).items():
        if not isinstance(service, dict) or not isinstance(service.get("cmd"), str):
            raise errors.SpecError(f"$.services.{name}", "no table with a cmd")
        _check(f"$.services.{name}", service, _SERVICE)
        _check_texts(f"$.services.{name}.needs", service.get("needs", []))
    return SetUp(said | {"services": _ordered(said.get("services", {}))})


def _check(place: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise errors.SpecError(f"{place}.{key}", f"unknown; there are {', '.join(known)}")


def _check_network(rules: Mapping[str, Any] | None) -> None:
    """A list that has become empty opens nothing: who means all says so."""
    if rules is None:
        return
    for key in ("allow", "deny"):
        _check_texts(f"$.network.{key}", rules.get(key, []))
    if not isinstance(rules.get("defaults", False), bool):
        raise errors.SpecError("$.network.defaults", "neither true nor false")
    if not any(rules.values()):
        raise errors.SpecError("$.network", 'no rule; deny = ["*"] closes it, allow = ["*"] opens it')


def _check_sendable(place: str, value: object) -> None:
    """TOML has dates, and numbers that are none; JSON, in which the server is told, has not."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_sendable(f"{place}.{key}", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _check_sendable(f"{place}[{index}]", each)
    elif isinstance(value, float) and not math.isfinite(value):
        raise errors.SpecError(place, "no number")
    elif not isinstance(value, str | int | float):
        raise errors.SpecError(place, "a date or a time; say it as a text")


def _check_texts(place: str, found: object) -> None:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise errors.SpecError(place, "not a list of texts")
