"""What is left of a machine's connections when its connectors go."""

from __future__ import annotations

import asyncio
import pathlib
import ssl
from typing import cast
from unittest import mock

import msgspec
import pytest

from pilot.host.fly.vault import Vault
from pilot.host.network import lines
from pilot.host.network.connectors import authority, desk
from pilot.host.network.connectors.desk import Desk, Places
from pilot.host.network.connectors.grants import Grants
from pilot.host.network.connectors.names import Names
from pilot.host.network.connectors.uses import Outcome, Uses, read_use

HOST = "api.test"


class Endless:
    """A `Passing` that writes down how it ended."""

    begun: asyncio.Event

    def __init__(self, _client: object, host: str, _grant: object, _connect: object, uses: Uses) -> None:
        self.host, self.uses = host, uses

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.uses.add(Outcome.BROKEN, "api", self.host, why="cut off")


def test_a_connection_that_is_cut_is_written_down_and_keeps_no_file_open(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "Passing", Endless)
    vault, log = Vault(b"k" * 32), str(tmp_path / "m1.uses.log")
    given = Grants(
        machine="m1", gateway=str(tmp_path), listen=(), serial=1, rules=None, log=log,
        authority=authority.make(vault, "m1", [HOST]), connectors=(),
    )  # fmt: skip

    async def cut() -> Desk:
        Endless.begun = asyncio.Event()
        made = Desk(given, vault, cast(Names, None), ssl.create_default_context(), Places(1))
        context = authority.bare_context()
        made._certificates._of[context] = HOST
        writer = mock.Mock()
        writer.get_extra_info.return_value.context = context
        serving = asyncio.create_task(made._accept(asyncio.StreamReader(), writer))
        await Endless.begun.wait()
        made.close()
        await serving
        return made

    made = asyncio.run(cut())
    assert [use.outcome for line in lines.read(log) if (use := read_use(line))] == ["broken"]
    assert made.uses._lines._fd is None


def test_half_a_line_is_no_use() -> None:
    assert read_use(b'{"at": "now", "conn') is None
    assert read_use(bytes(10)) is None
    assert read_use(msgspec.json.encode({"at": "", "connector": "api", "host": HOST, "outcome": "answered"}))
