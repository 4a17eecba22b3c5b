"""What the resolver and connectors write of a machine comes into its log: each line once, no secret."""

from __future__ import annotations

import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from pilot.host.audit import egress, reading
from pilot.host.audit.egress import Follower
from pilot.host.audit.signing import Signer
from pilot.host.audit.writer import Writer
from pilot.host.network import lines
from pilot.host.network.connectors import uses
from pilot.host.network.connectors.uses import Uses
from pilot.host.network.resolver import log
from pilot.host.network.resolver.log import Log
from pilot.host.store import networks
from pilot.host.store.database import Database
from pilot.ids import MachineId

ONE, OTHER = MachineId("0123456789abcd"), MachineId("0123456789abce")


class Host:
    """Where a machine's lines are, and what its log says."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.writer = Writer(str(root / "audit"), Signer(str(root / "identity"), bytes(32)))
        self.subjects = mock.Mock(of_machine=lambda machine: f"machines/{machine}")
        self.follower = Follower(self, self.names_of, self.uses_of)

    def names_of(self, machine: MachineId) -> str:
        return str(self.root / f"{machine}.names")

    def uses_of(self, machine: MachineId) -> str:
        return str(self.root / f"{machine}.uses")

    def names(self, machine: MachineId = ONE) -> Log:
        return Log(self.names_of(machine))

    def uses(self, machine: MachineId = ONE) -> Uses:
        return Uses(self.uses_of(machine))

    def told(self, machine: MachineId = ONE) -> list[dict[str, Any]]:
        part = self.writer.part(f"machines/{machine}")
        found = [json.loads(line) for piece in reading.pieces(part, 0) for line in piece.splitlines()]
        return [each for each in found if each.get("kind") == "egress"]

    def names_told(self, machine: MachineId = ONE) -> list[str]:
        return [each["detail"]["name"] for each in self.told(machine)]


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[Host]:
    made = Host(tmp_path)
    made.follower.follow([ONE])
    yield made
    made.writer.close()


def test_what_was_asked_with_a_connector(host: Host) -> None:
    with_secrets = b"/v1/x?token=ghp_012345678901234567890123"
    used = host.uses()
    used.add(uses.Outcome.ANSWERED, "api", "api.example", (b"POST", with_secrets), status=201)
    used.add(uses.Outcome.REFUSED, "api", "api.example", (b"GET", b"/"), status=421, why="it asks for another host")
    used.add(uses.Outcome.UNREACHED, "api", "api.example", (b"GET", b"/ghp_012345678901234567890123"), why="nobody")
    used.add(uses.Outcome.ECHOED, "api", "api.example")
    used.close()
    host.follower.follow([ONE])
    answered, refused, unreached, echoed = host.told()
    assert (answered["what"], answered["decision"], answered["status"]) == ("useConnector", "allowed", 201)
    assert answered["who"] == {"machine": ONE}
    assert answered["detail"] == {
        "connector": "api", "host": "api.example", "method": "POST", "path": "/v1/x", "outcome": "answered"
    }  # fmt: skip
    assert (refused["decision"], refused["status"], refused["why"]) == ("denied", 421, "it asks for another host")
    assert (unreached["decision"], unreached["why"], unreached["detail"]["path"]) == ("failed", "nobody", "/[hidden]")
    assert (echoed["decision"], echoed["detail"]["outcome"]) == ("failed", "echoed")


def test_a_name_that_is_let_through_is_told_once_and_one_that_is_refused_each_time(host: Host) -> None:
    names = host.names()
    for _ in range(2):
        names.add(log.Outcome.ALLOW, "a.example", "A", "a.example")
        names.add(log.Outcome.DENY, "b.example", "A")
    names.close()
    host.follower.follow([ONE])
    told = [(each["what"], each["detail"]["name"], each["decision"], each.get("why")) for each in host.told()]
    a, b = ("resolve", "a.example", "allowed", None), ("resolve", "b.example", "denied", "deny")
    assert told == [a, b, b]


def test_of_machines_that_were_there_what_comes_and_of_others_all(host: Host, tmp_path: pathlib.Path) -> None:
    for machine in (ONE, OTHER):
        names = host.names(machine)
        names.add(log.Outcome.DENY, "before.example", "A")
        names.close()
    follower = Follower(host, host.names_of, host.uses_of)
    follower.follow([ONE])
    follower.follow([ONE, OTHER])
    assert (host.names_told(ONE), host.names_told(OTHER)) == ([], ["before.example"])
    names = host.names()
    names.add(log.Outcome.DENY, "after.example", "A")
    names.close()
    for _ in range(2):
        follower.follow([ONE, OTHER])
    assert (host.names_told(ONE), host.names_told(OTHER)) == (["after.example"], ["before.example"])


def test_each_line_once_when_files_are_renamed(host: Host) -> None:
    names, wanted = host.names(), [f"{number}.example" for number in range(60)]
    with mock.patch.object(lines, "MOST_BYTES", 1500):
        for number, name in enumerate(wanted):
            names.add(log.Outcome.DENY, name, "A")
            if number % 7 == 6:
                host.follower.follow([ONE])
    names.close()
    host.follower.follow([ONE])
    assert pathlib.Path(host.names_of(ONE) + ".1").exists()
    assert host.names_told() == wanted


def test_half_a_line_is_told_when_it_is_whole_and_what_is_none_holds_up_nothing(host: Host) -> None:
    line = b'{"at":"x","name":"a.example","type":"A","decision":"deny"}\n'
    with open(host.names_of(ONE), "ab", buffering=0) as file:
        file.write(b'no line\n{"name":7}\n' + line + line[:20])
        host.follower.follow([ONE])
        assert len(host.told()) == 1
        file.write(line[20:])
        host.follower.follow([ONE])
    assert len(host.told()) == 2


def test_it_is_followed_to_the_end_of_pilotd(host: Host) -> None:
    """Also of a machine that is not there when it begins."""
    has_begun, is_there = threading.Event(), threading.Event()

    def every(_database: Database) -> list[mock.Mock]:
        has_begun.set()
        return [mock.Mock(machine=ONE)] if is_there.is_set() else []

    with (
        mock.patch.object(networks, "every", every),
        egress.watching(host, mock.Mock(), host.names_of, host.uses_of),
    ):
        assert has_begun.wait(60)
        used = host.uses()
        used.add(uses.Outcome.ANSWERED, "api", "api.example", (b"GET", b"/"), status=200)
        used.close()
        is_there.set()
    assert [each["what"] for each in host.told()] == ["useConnector"]
