"""run.json of the old init, as containers: what it meant, and what it may not do to us."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from pilot import errors
from pilot.agent.containers.exits import Exit
from pilot.agent.legacy import life, planning
from pilot.wire.run_file import RunFile

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/web:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:web\nwww:x:44:\n"
PLACE = planning.Place("/run/legacy/root", ())


def parse(**more: Any) -> RunFile:
    document = {"Hostname": "walker", "ImageConfig": {"Entrypoint": ["/bin/app"], "Cmd": ["serve", "now"]}, **more}
    return msgspec.json.decode(msgspec.json.encode(document), type=RunFile)


def image(**more: Any) -> dict[str, Any]:
    return {"Entrypoint": ["/bin/app"], "Cmd": ["serve", "now"], **more}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, ["/bin/app", "serve", "now"]),
        ({"CmdOverride": "one word"}, ["/bin/app", "one word"]),
        ({"ExecOverride": ["/bin/sh", "-c", "x"], "CmdOverride": "never"}, ["/bin/sh", "-c", "x"]),
        ({"ImageConfig": {"Cmd": ["sh"]}}, ["sh"]),
        ({"ImageConfig": None, "ExecOverride": ["sh"]}, ["sh"]),
    ],
)
def test_the_command(document: dict[str, Any], words: list[str]) -> None:
    assert planning.argv(parse(**document)) == words


def test_the_environment_and_the_directory_of_the_main_process() -> None:
    run = parse(ImageConfig=image(Env=["A=1", "B=x=y", "C="], WorkingDir="/srv"), ExtraEnv={"A": "2"})
    app, main = planning.containers(run, PLACE, planning.person(run, PASSWD, GROUP), b"reaper")
    assert main.environment == {"HOME": "/root", "A": "2", "B": "x=y", "C": ""}
    assert (main.cwd, main.within, main.command) == ("/srv", "app", ["/bin/app", "serve", "now"])
    assert (app.hostname, app.command) == ("walker", [planning.REAPER, "--reaper"])
    assert {app.restart.policy, main.restart.policy} == {"no"}


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        (None, (0, 0, "/root")),
        ("web", (33, 44, "/srv/web")),
        ("web:staff", (33, 50, "/srv/web")),
        ("web:7", (33, 7, "/srv/web")),
        ("33", (33, 44, "/srv/web")),
        ("1234", (1234, 0, "/")),  # it was 1234:1234, which nothing else makes of it
        ("1234:99", (1234, 99, "/")),
    ],
)
def test_users(written: str | None, ids: tuple[int, int, str]) -> None:
    person = planning.person(parse(ImageConfig=image(User=written)), PASSWD, GROUP)
    assert (person.uid, person.gid, person.home) == ids


def test_the_users_override_is_before_the_images() -> None:
    assert planning.person(parse(UserOverride="web", ImageConfig=image(User="1")), PASSWD, GROUP).uid == 33
    for unknown in ("nobody", "web:nobody"):
        with pytest.raises(errors.HostError, match="nobody"):
            planning.person(parse(UserOverride=unknown), PASSWD, GROUP)


def test_addresses() -> None:
    run = parse(
        IPConfigs=[
            {"IP": "172.19.0.2/29", "Gateway": "172.19.0.1/29", "Mask": 29},
            {"IP": "172.19.1.2/30", "Gateway": "172.19.1.1/30", "Mask": 30},
            {"IP": "fdaa::2/112", "Gateway": "fdaa::1/112", "Mask": 112},
            {"IP": "2604::2/127", "Gateway": "2604::1/127", "Mask": 127},
        ]
    )
    network = planning.network(run)
    assert network is not None
    assert network.addresses == [
        "172.19.0.2/29", "172.19.0.3/29", "172.19.1.2/30", "fdaa::2/112", "2604::2/127",
    ]  # fmt: skip
    assert network.gateways == ["172.19.0.1", "172.19.1.1", "2604::1"]
    assert planning.network(parse()) is None


def test_hosts_and_resolver_are_made_anew_and_do_not_grow() -> None:
    run = parse(
        EtcHosts=[{"Host": "db", "IP": "fdaa::9", "Desc": "the database"}, {"Host": "x", "IP": "10.0.0.9"}],
        EtcResolv={"Nameservers": ["fdaa::3"]},
    )
    app, _ = planning.containers(run, PLACE, planning.person(run, PASSWD, GROUP), b"reaper")
    files = {file.path: base64.b64decode(file.content).decode() for file in app.files}
    assert files["/etc/resolv.conf"] == "nameserver\tfdaa::3\n"
    assert files["/etc/hosts"].endswith("127.0.1.1\twalker\n\n# the database\nfdaa::9\tdb\n\n10.0.0.9\tx\n")


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"ImageConfig": image(Env=["A=1", "NO_VALUE"])}, "$.ImageConfig.Env[1]"),
        ({"ImageConfig": image(Env=["=1"])}, "$.ImageConfig.Env[0]"),
        ({"ExtraEnv": {"A=B": "1"}}, "$.ExtraEnv.A=B"),
        ({"ExecOverride": []}, "$"),
        ({"ExecOverride": [""]}, "$"),
        ({"ImageConfig": None}, "$"),
        ({"Hostname": "no name"}, "$.Hostname"),
        ({"Mounts": [{"MountPath": "data", "DevicePath": "/dev/vdc"}]}, "$.Mounts[0].MountPath"),
        ({"RootDevice": "vdb"}, "$.RootDevice"),
        ({"IPConfigs": [{"IP": "nowhere", "Gateway": "10.0.0.1", "Mask": 24}]}, "$.IPConfigs[0]"),
        ({"IPConfigs": [{"IP": "10.0.0.2", "Gateway": "10.0.0.1", "Mask": 99}]}, "$.IPConfigs[0]"),
        ({"IPConfigs": [{"IP": "255.255.255.255", "Gateway": "10.0.0.1", "Mask": 8}]}, "$.IPConfigs[0]"),
    ],
)
def test_what_once_was_the_end_of_pid_1_is_refused_by_its_path(document: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.SpecError) as refused:
        planning.check(parse(**document))
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        ({"exit_code": 3}, "Main child exited normally with code: 3"),
        ({"exit_code": 137}, "Main child exited normally with code: 137"),
        (
            {"exit_code": 137, "signal": 9},
            "Main child exited with signal (with signal 'SIGKILL', core dumped? false)",
        ),
        (
            {"exit_code": 139, "signal": 11, "core_dumped": True},
            "Main child exited with signal (with signal 'SIGSEGV', core dumped? true)",
        ),
        ({"exit_code": 163, "signal": 35}, "Main child exited with signal (with signal 'SIG35', core dumped? false)"),
    ],
)
def test_how_it_ended_in_the_words_that_parsers_know(ended: dict[str, Any], line: str) -> None:
    assert life.how_it_ended(Exit(seq=1, pid=2, start_time=3, ended=4.0, **ended)) == line
