"""Connectors that are taken away while the process that has them does not answer, or pilotd is killed."""

from __future__ import annotations

import pathlib
from unittest import mock

import pytest

from pilot import errors
from pilot.host.fly.vault import Vault
from pilot.host.network import control, zone
from pilot.host.network.connectors import authority, grants
from pilot.host.network.connectors.connector import Bearer, Connector
from pilot.host.network.connectors.grants import GRANTS
from pilot.host.network.plan import Settings
from pilot.host.network.service import Member, Networks
from pilot.ids import MachineId

MACHINE = MachineId("m1")
VAULT = Vault(b"k" * 32)
HELD = (Connector(name="api", hosts=("a.test",), attach=Bearer(), sealed=grants.seal(VAULT, MACHINE, "api", "secret")),)


class Process:
    """What the connectors' process knows: of each machine what its file said when it was asked last."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.serves: tuple[Connector, ...] = ()
        self.failing: list[BaseException | None] = []

    def ask(self, _directory: str, question: control.Question, who: str = control.RESOLVER) -> None:
        if who != control.CONNECTORS:
            return
        if self.failing and (failure := self.failing.pop(0)) is not None:
            raise failure
        given = GRANTS.read(self.directory, MachineId(question.machine))
        self.serves = () if given is None else given.connectors


class _Death(BaseException):
    pass


@pytest.fixture
def networks(tmp_path: pathlib.Path) -> Networks:
    made = Networks(Settings("0d0d0d0d"), str(tmp_path), key_path=str(tmp_path / "key"))
    made._directory = str(tmp_path / "run")
    made._connects = True  # the process below is in the place of theirs
    return made


@pytest.mark.parametrize("failure", [errors.PeerError("nobody answers"), _Death()])
@pytest.mark.parametrize("turn", [0, 1])
def test_who_has_let_go_of_nothing_is_asked_again(networks: Networks, turn: int, failure: BaseException) -> None:
    """Whichever question it is that has no answer: what was taken away is served by nobody when one is done."""
    process = Process(networks._directory)
    made = authority.make(VAULT, MACHINE, ["a.test"])
    with mock.patch.object(control, "ask", process.ask):
        networks.enforce(Member(MACHINE, 1, connectors=HELD, authority=made))
        assert process.serves == HELD
        bare = Member(MACHINE, 1, serial=2, authority=made)
        process.failing = [*[None] * turn, failure]
        with pytest.raises(type(failure)):
            networks.enforce(bare)
        networks.enforce(bare)
    assert not process.serves
    assert not GRANTS.has(networks._directory, MACHINE)
    found = zone.read(networks._directory, MACHINE)
    assert found is not None
    assert found.connected == ()
