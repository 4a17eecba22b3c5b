"""An agent that dies by itself when it is told to, for virtual machines: nobody outside can kill what runs in one.

It comes as an upgrade does (`PUT /v1/agent`) and is the agent of this checkout, but for a timer of the kernel's. A file
in the world has a byte for each death that is wanted. Each agent takes one at most, whenever it sees it, also while it
is starting, and ends by SIGALRM, which nobody handles, after a time that is drawn. As SIGKILL, that signal ends what
runs at any instruction. However slow the machine is, there are no more deaths than were wanted.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from pilot.machine.pilot_api import PilotApi
from pilot.wire import exec_frames, operations, schema
from tests.kernel.test_upgrade import lay_out

DEATHS = "/tmp/agent-dies"
ROOT = "/run/disk/rootfs"  # of the world, as the agent sees it
_MAIN = """\
import os, random, signal, sys, threading, time
from pilot import agent

def mortal():
    while not (left := os.path.exists("{path}") and os.path.getsize("{path}")):
        time.sleep(0.2)
    os.truncate("{path}", left - 1)
    signal.setitimer(signal.ITIMER_REAL, random.expovariate(1 / {mean_s}) + 0.001)

if sys.argv[1:] != ["--check"]:
    threading.Thread(target=mortal, daemon=True, name="mortal").start()
sys.exit(agent.main(sys.argv[1:]))
"""


def bring(sprite: Any, api: PilotApi, place: Path, version: str, mean_s: float) -> None:
    """Into the machine of that sprite; returns when it has been told to take over. `mean_s`: from the wish to death."""
    main = _MAIN.format(path=f"{ROOT}{DEATHS}", mean_s=mean_s)
    packed = _packed(Path(lay_out(place / "newer", version, main)))
    (sprite.filesystem("/") / "tmp/newer.tar.gz").write_bytes(packed)
    sprite.run("sudo", "sh", "-c", "mkdir /newer; tar -C /newer -xf /tmp/newer.tar.gz", check=True)
    answer = api.call(operations.UPGRADE_AGENT, schema.AgentRequest(directory=f"{ROOT}/newer"))
    assert answer.version == version


def want(api: PilotApi, deaths: int) -> None:
    """So many more: one agent after the other. At most two at once: of three that do not come up the last is given up.

    `PeerError` when none was there to be told.
    """
    _tell(api, f"printf {'x' * deaths} >>{DEATHS}")


def want_one(api: PilotApi) -> None:
    """One, however often it is said before it has been taken. `PeerError`: it may not have been heard."""
    _tell(api, f"printf x >{DEATHS}")


def _tell(api: PilotApi, script: str) -> None:
    answer = api.call(operations.EXECUTE, b"", query=[("cmd", word) for word in ("sh", "-c", script)])
    assert answer == bytes([exec_frames.Stream.EXIT, 0])


def _packed(place: Path) -> bytes:
    """Compiled, as an image has it: under TCG that takes a minute. For another Python than the guest's it is no use."""
    compiled = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", str(place)]
    subprocess.run(compiled, check=True)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        archive.add(place, arcname=".")
    return whole.getvalue()
