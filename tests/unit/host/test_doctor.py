"""What a host lacks is found, told with its remedy, and said by the exit status; so is what cannot be tried."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket

import pytest

from pilot import errors
from pilot.host import doctor, main
from pilot.host.doctor import Check
from pilot.kernel import files, netns
from pilot.kernel.hierarchies import Hierarchies
from pilot.plan.facts import CgroupMount


def _refuses() -> str | None:
    raise OSError(13, "Permission denied")


GOOD = Check("disk", "disks", lambda: None, "nothing")
WEAK = Check("kvm", "speed", lambda: "there is none", "get one", needed=False)
BAD = Check("fuse", "disks", _refuses, "modprobe fuse")


def test_findings() -> None:
    found = list(doctor.examine((GOOD, WEAK, BAD)))
    assert [result.finding for result in found] == ["ok", "weak", "lacks"]
    assert list(doctor.lines(found)) == [
        "ok     disk  disks",
        "weak   kvm   speed",
        "             there is none: get one",
        "lacks  fuse  disks",
        "             [Errno 13] Permission denied: modprobe fuse",
    ]


@pytest.mark.parametrize(("rows", "status"), [((GOOD, WEAK), 0), ((GOOD, BAD), 1)])
def test_only_what_is_needed_fails(rows: tuple[Check, ...], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(rows, as_json=True) == status
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [row.name for row in rows]


def test_a_port_in_use_is_found(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["doctor", "--state-dir", str(tmp_path / "not/yet"), "--listen", f"127.0.0.1:{port}", "--json"]
        assert main.main(words) == 1
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert f"listen on 127.0.0.1 port {port}: address already in use" in found["address"]["problem"]
    assert found["state directory"]["finding"] == "ok"
    assert not (tmp_path / "not").exists(), "nothing is left behind"


def test_the_port_of_who_serves_that_directory_is_no_lack(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lock").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["doctor", "--state-dir", str(tmp_path), "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--json"]
        findings = []
        for holds in (files.alone, lambda _: contextlib.nullcontext()):
            with holds(str(tmp_path / "lock")):
                main.main(words)
            rows = json.loads(capsys.readouterr().out)
            findings += [row["finding"] for row in rows if row["name"] == "address"]
    assert findings == ["ok", "lacks"]


@pytest.mark.parametrize("isolation", ["container", "vm"])
def test_every_row_can_be_asked_here(tmp_path: pathlib.Path, isolation: str) -> None:
    found = list(doctor.examine(doctor.checks(str(tmp_path), "127.0.0.1", 0, isolation)))
    assert len({result.name for result in found}) == len(found)
    assert all((result.problem is None) == (result.finding == "ok") for result in found)


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--listen", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("pilotd: invalid listen address 'nowhere'")


@pytest.mark.parametrize(
    ("v1", "v2", "missing"),
    [
        ("", "cpuset cpu io memory pids", []),
        ("cpu memory pids freezer", None, []),
        ("cpu memory freezer", "pids", []),
        ("cpu memory pids", None, ["freezer"]),
        ("", "io", ["cpu", "memory", "pids"]),
    ],
)
def test_the_freezer_is_part_of_a_v2_tree(v1: str, v2: str | None, missing: list[str]) -> None:
    mounts = [CgroupMount(f"/sys/fs/cgroup/{name}", (name,), 1) for name in v1.split()]
    if v2 is not None:
        mounts.append(CgroupMount("/sys/fs/cgroup", (), 2))
    assert doctor.missing_controllers(Hierarchies(tuple(mounts), frozenset((v2 or "").split()))) == missing


@pytest.mark.parametrize("isolation", ["container", "vm"])
def test_without_networks_no_pilotd_starts(
    tmp_path: pathlib.Path, isolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise errors.HostError("open a socket of nftables: protocol not supported")

    monkeypatch.setattr(netns, "in_new", refuse)
    rows = doctor.checks(str(tmp_path), "127.0.0.1", 0, isolation)
    [network] = [result for result in doctor.examine(rows) if result.name == "network"]
    assert (network.finding, network.problem) == ("lacks", "open a socket of nftables: protocol not supported")
