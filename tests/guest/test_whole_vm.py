"""A virtual machine's life by the pilot API: containers of a Debian, another agent, and every promise of the contract.

As `tests/kernel/test_whole_machine.py`, which kills the agent as well: here nobody outside can.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.test_upgrade import lay_out
from tests.kernel.test_whole_machine import NAMES, NEWER, Told, in_terminal, settled, until_version, wanted
from tests.support.pilotd import Pilotd

from pilot.conformance import main
from pilot.machine.pilot_api import PilotApi
from pilot.wire import operations, schema

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "fuse", "space", "vm-tests")


@pytest.fixture
def pilotd() -> Iterator[Pilotd]:
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as directory:
        daemon = Pilotd(Path(directory, "s"), isolation="vm")
        daemon.stop_machines_on_exit = True
        daemon.start()
        yield daemon
        daemon.stop()


def test_the_whole_life_and_then_every_promise(
    pilotd: Pilotd, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("whole")
        sprite.run("true", check=True)
        (path,) = (pilotd.state / "machines").glob("*/dial.sock")
        dial, api = str(path), PilotApi(str(path))
        api.call(operations.APPLY_GRAPH, wanted("/run/disk/rootfs"))
        rows = settled(api)
        assert {name: row.restarts for name, row in rows.items()} == {"db": 0, "app": 1, "tail": 0}
        for name in NAMES:
            assert in_terminal(dial, name).split() == ["/dev/pts/0", "33", "99", "debian", name]
        told = Told(dial)
        told.until(20)
        newer = packed(Path(lay_out(tmp_path / "newer", NEWER, main=None)))
        (sprite.filesystem("/") / "tmp/newer.tar").write_bytes(newer)
        sprite.run("sudo", "sh", "-c", "mkdir /newer; tar -C /newer -xf /tmp/newer.tar", check=True)
        asked = schema.AgentRequest(directory="/run/disk/rootfs/newer")
        assert api.call(operations.UPGRADE_AGENT, asked).version == NEWER
        told.until(20)
        assert until_version(api, NEWER) == NEWER
        told.until(20)
        numbers = [int(line) for line in told.text.split(b"\n")[:-1]]
        assert numbers == list(range(len(numbers))), "no line was lost or told twice"
        assert [event.seq for event in told.events] == list(range(1, len(told.events) + 1))
        assert {row.name: row.pid for row in api.call(operations.GET_GRAPH, None).containers} == {
            name: row.pid for name, row in rows.items()
        }
        sprite.run("true", check=True)
        capfd.readouterr()
        status = main.main(["--dial", dial, "--name", "whole", "--complete", "--json", "--timeout", "120"])
        document = json.loads(capfd.readouterr().out)
        sprite.destroy()
    assert [row for row in document["results"] if row["outcome"] == "unmet"] == []
    assert (document["isolation"], document["score"], status) == ("vm", 100, 0)


def packed(place: Path) -> bytes:
    """Compiled, as an image has it: under TCG that takes a minute. For another Python than the guest's it is no use."""
    compiled = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", str(place)]
    subprocess.run(compiled, check=True)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        archive.add(place, arcname=".")
    return whole.getvalue()
