"""Machines that are told of their secrets: tried again until they are, and complained of once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from pilot import errors
from pilot.host.operations import fly
from pilot.host.operations.context import Host
from pilot.host.services.fly_secret_files import SecretFiles
from pilot.host.store import fly_secrets
from pilot.ids import MachineId

DEAF, FINE = MachineId("deaf"), MachineId("fine")


def test_one_that_cannot_be_told_is_complained_of_once_until_that_changes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[MachineId] = []
    why: list[str] = []
    started = {DEAF: 1, FINE: 1}

    def renew(host: Host, machine: MachineId) -> None:
        told.append(machine)
        if machine == DEAF and why:
            raise errors.PeerError(why[0])

    def warnings() -> list[str]:
        found = [str(getattr(record, "error", "")) for record in caplog.records]
        caplog.clear()
        return found

    monkeypatch.setattr(fly, "renew_files", renew)
    monkeypatch.setattr(fly_secrets, "of_started", lambda _: dict(started))
    files = SecretFiles(cast(Host, SimpleNamespace(database=None)))
    why[:] = ["no answer"]
    for _ in range(3):
        files.round()
    assert warnings() == ["no answer"]
    assert (told.count(DEAF), told.count(FINE)) == (3, 1), "tried again each time"
    why[:] = ["refused"]
    files.round()
    files.round()
    assert warnings() == ["refused"]
    why.clear()
    files.round()
    files.round()
    assert (warnings(), told.count(DEAF)) == ([], 6)
    why[:] = ["refused"]
    started[DEAF] = 2
    files.round()
    assert warnings() == ["refused"], "it had been told since"
