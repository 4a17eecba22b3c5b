"""`pilot machine`: its words, what they make of a config, and which of them are another program's."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Any

import pytest

from pilot import errors
from pilot.client import account as accounts
from pilot.client import words
from pilot.client.machines import app, main, settings, verbs

_PROGRAM = verbs.PROGRAM
_EXAMPLES = [(verb, example) for verb in _PROGRAM.verbs for example in verb.examples]
_URL = "https://machines.test"


@pytest.mark.parametrize(("verb", "example"), _EXAMPLES, ids=[example for _, example in _EXAMPLES])
def test_an_example_is_understood_as_it_stands(verb: words.Verb, example: str) -> None:
    command = shlex.split(example.rpartition("| ")[2])
    assert command[:2] == ["pilot", "machine"]
    assert _PROGRAM.parse(command[2:]).verb is verb


@pytest.mark.parametrize(
    ("said", "is_of_bare"),
    [
        ("--dial /run/dial.sock status", True),
        ("--dial=/run/dial.sock exec -- ls", True),
        ("start /var/lib/bare", True),
        ("start ./bare --root debian=/x", True),
        ("start bare --root debian=/x", True),
        ("start --memory 64 ./bare", True),
        ("start --memory=64 ./bare", True),
        ("exec --container=one web grep --dial log", False),
        ("stop ./bare", True),
        ("start 0123456789abcd", False),
        ("stop web --timeout 10s", False),
        ("start web --api http://127.0.0.1:1", False),
        ("exec web -- ls --dial", False),
        ("exec web chroot --root=/x", False),
        ("exec web grep --dial log", False),
        ("exec --stdin --container one web grep --dial log", False),
        ("-a shop run --rm -e A=1 image sh --root /x", False),
        ("exec web --dial=/run/dial.sock", True),
        ("run ./image", False),
        ("status", False),
        ("", False),
    ],
)
def test_which_machine_is_meant(said: str, is_of_bare: bool) -> None:
    assert main.is_of_bare(said.split()) is is_of_bare


def _changed(said: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    found = _PROGRAM.parse(["run", *shlex.split(said)])
    return settings.changed(config or {}, found, found.arguments("COMMAND"), lambda name: f"vol_{name}")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("", {}),
        ("-e A=1 -e B=x=y", {"env": {"A": "1", "B": "x=y"}}),
        ("--memory 512 --cpus 2", {"guest": {"memory_mb": 512, "cpus": 2}}),
        ("--restart no --rm", {"restart": {"policy": "no"}, "auto_destroy": True}),
        ("--schedule daily", {"schedule": "daily"}),
        ("image -- sh -c 'a b'", {"init": {"cmd": ["sh", "-c", "a b"]}}),
        ("image sh -c x", {"init": {"cmd": ["sh", "-c", "x"]}}),
        ("--entrypoint 'sh -c \"a b\"'", {"init": {"entrypoint": ["sh", "-c", "a b"]}}),
        ("-v data:/data", {"mounts": [{"volume": "vol_data", "path": "/data", "name": "data"}]}),
        ("-p 80:8080/tcp:http -p 443:8080:tls:http -p 53:53/udp -p 9-10:7", {"services": [
            {"protocol": "tcp", "internal_port": 8080, "ports": [
                {"port": 80, "handlers": ["http"]}, {"port": 443, "handlers": ["tls", "http"]}]},
            {"protocol": "udp", "internal_port": 53, "ports": [{"port": 53}]},
            {"protocol": "tcp", "internal_port": 7, "ports": [{"start_port": 9, "end_port": 10}]},
        ]}),
        ("-p 8080 --autostop suspend", {"services": [
            {"protocol": "tcp", "internal_port": 8080, "ports": [{"port": 8080}], "autostop": "suspend"}]}),
    ],
)  # fmt: skip
def test_what_is_said_becomes_a_config(said: str, wanted: dict[str, Any]) -> None:
    assert _changed(said) == wanted


def test_what_is_not_said_stays() -> None:
    before = {"env": {"A": "1"}, "guest": {"cpus": 2}, "odd": [1]}
    assert _changed("-e B=2 --memory 300", before) == {
        "env": {"A": "1", "B": "2"}, "guest": {"cpus": 2, "memory_mb": 300}, "odd": [1],
    }  # fmt: skip
    assert before["env"] == {"A": "1"}


@pytest.mark.parametrize(
    "said",
    [
        "-e A", "-e =1", "--memory much", "--memory -1", "-p x", "-p 80:99999", "-p 0:1", "-p 80:80:smtp",
        "-p 5:5/udp:tls", "-v data", "-v data:data", "--file x=y", "--entrypoint \"'\"", "--autostop stop",
        "--restart perhaps", "--nothing", "--schedule never",
    ],
)  # fmt: skip
def test_what_cannot_be_meant(said: str) -> None:
    with pytest.raises(words.UsageError):
        _changed(said)


def test_of_several_containers_each_has_its_own() -> None:
    with pytest.raises(words.UsageError, match="which of its containers"):
        _changed("-v data:/data", {"containers": [{}]})
    assert _changed("--memory 300", {"containers": [{}]})["guest"] == {"memory_mb": 300}


def test_where_and_with_which_token(tmp_path: Any) -> None:
    home = {"HOME": str(tmp_path)}
    found = app.account({**home, "FLY_API_HOSTNAME": _URL, "FLY_API_TOKEN": "a"}, None, None, None)
    assert (found.url, found.token) == (_URL, "a")
    found = app.account({**home, "FLY_API_TOKEN": "a", "SPRITE_TOKEN": "b"}, f"{_URL}:1", "c", None)
    assert (found.url, found.token) == (f"{_URL}:1", "c")
    found = app.account({**home, "SPRITE_TOKEN": "b", "SPRITES_API_URL": _URL}, None, None, None)
    assert (found.url, found.token) == (_URL, "b")
    with pytest.raises(errors.HostError, match=f"no token for {_URL}"):
        app.account({**home, "SPRITE_TOKEN": "b", "FLY_API_HOSTNAME": _URL}, None, None, None)
    with pytest.raises(errors.HostError, match="no token"):
        app.account(home, None, None, None)


def test_a_kept_token_is_its_own_servers(tmp_path: Any) -> None:
    """Whatever variable says another one."""
    home, elsewhere = {"HOME": str(tmp_path)}, "https://elsewhere.test"
    accounts.save(home, accounts.Account(_URL, "kept", "org"))
    for said in ({}, {"SPRITES_API_URL": _URL}, {"FLY_API_HOSTNAME": f"{_URL}/"}):
        found = app.account({**home, **said}, None, None, None)
        assert (found.url, found.token) == (_URL, "kept")
    for said in ({"SPRITES_API_URL": elsewhere}, {"SPRITES_API_URL": elsewhere, "FLY_API_HOSTNAME": elsewhere}):
        with pytest.raises(errors.HostError, match=f"no token for {elsewhere}"):
            app.account({**home, **said}, None, None, None)
    found = app.account({**home, "SPRITES_API_URL": elsewhere, "FLY_API_HOSTNAME": _URL}, None, None, None)
    assert (found.url, found.token) == (_URL, "kept")


def test_why_it_is_as_it_is() -> None:
    exit_event = {"exit_code": 137, "signal": 9, "oom_killed": True, "requested_stop": False}
    assert app.reason([{}, {"request": {"exit_event": exit_event}}]) == "exit code 137, signal 9, out of memory"
    assert app.reason([{"request": {"error": "no such image"}}]) == "no such image"
    assert app.reason([]) == ""


def test_what_starts_a_command_is_light() -> None:
    """As of `sprite`; `typing` alone is there already, by `pilot` itself."""
    program = "import sys; import pilot.command, pilot.client.machines.main, pilot.client.machines.looking; "
    done = subprocess.run(
        [sys.executable, "-c", f"{program}print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    heavy = {
        "dataclasses",
        "asyncio",
        "ssl",
        "email",
        "urllib",
        "argparse",
        "logging",
        "inspect",
        "yaml",
        "msgspec",
        "h11",
    }
    assert set(done.stdout.split()) & heavy == set()
