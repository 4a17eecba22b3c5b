"""How an image of a sprite is run."""

from __future__ import annotations

import json

import pytest

from pilot import errors
from pilot.host.shipping import settings
from pilot.host.shipping.about import About

ORIGIN = settings.Origin("web", "v3")


def about(services: object = None, home: str = "/home/sprite") -> About:
    document = "" if services is None else json.dumps({"version": 1, "services": services})
    return About(home, document)


def entry(cmd: str, *args: str, stopped: bool = False, **more: object) -> dict[str, object]:
    return {"number": 1, "stopped": stopped, "wanted": {"cmd": cmd, "args": list(args), **more}}


def test_without_services_it_is_a_shell() -> None:
    planned = settings.plan(ORIGIN, {"COLOUR": "red", "API_KEY": "x"}, about())
    assert planned.left_out == ("API_KEY",)
    assert planned.config.cmd == ("/bin/bash",)
    assert (planned.config.user, planned.config.working_dir) == ("sprite", "/home/sprite")
    assert {"COLOUR=red", "HOME=/home/sprite"} <= {*(planned.config.env or ())}
    assert planned.config.labels == {"pilot.sprite": "web", "pilot.checkpoint": "v3"}


def test_a_world_without_the_user_is_roots() -> None:
    config = settings.plan(ORIGIN, {}, about(home="")).config
    assert (config.user, config.working_dir) == ("root", "/root")


def test_the_only_service_is_the_command() -> None:
    services = {"app": entry("sleep", "inf", dir="/srv"), "off": entry("x", stopped=True)}
    config = settings.plan(ORIGIN, {}, about(services)).config
    assert (config.cmd, config.working_dir, config.exposed_ports) == (("sleep", "inf"), "/srv", None)


def test_of_several_that_with_the_port() -> None:
    services = {"a": entry("a"), "web": entry("serve", http_port=8080, env={"MODE": "fast", "TOKEN": "t"})}
    planned = settings.plan(ORIGIN, {}, about(services))
    assert (planned.config.cmd, planned.config.exposed_ports) == (("serve",), {"8080/tcp": {}})
    assert (planned.left_out, "MODE=fast" in (planned.config.env or ())) == (("TOKEN",), True)
    told = json.loads((planned.config.labels or {})["pilot.services"])
    assert (sorted(told), told["web"]["env"]) == (["a", "web"], {"MODE": "fast"})


def test_several_without_a_port_are_a_shell() -> None:
    assert settings.plan(ORIGIN, {}, about({"a": entry("a"), "b": entry("b")})).config.cmd == ("/bin/bash",)


def test_services_that_are_none() -> None:
    with pytest.raises(errors.HostError, match="services"):
        settings.plan(ORIGIN, {}, About("", "{no json"))
