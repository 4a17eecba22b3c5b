"""An agent that dies by itself, for virtual machines: nobody outside can kill what runs in one.

It comes as an upgrade does (`PUT /v1/agent`) and is the agent of this checkout, but for a timer of the kernel's: while
the file ARMED is in the world, it ends by SIGALRM, which nobody handles, after a time that is drawn for each one: when
it listens, or in its start. As SIGKILL, that signal ends a process at any instruction.
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

ARMED = "/tmp/agent-dies"
ROOT = "/run/disk/rootfs"  # of the world, as the agent sees it
_MAIN = """\
import os, random, signal, sys, threading, time
from pilot import agent

TRIES = "/run/pilot-agent/tries"  # there until it listens (agent/upgrade.py): after three of them it would be given up

def mortal():
    early = open(TRIES).read() == "1" and random.random() < 0.3 if os.path.exists(TRIES) else False
    armed = False
    while True:
        ready = os.path.exists("{root}{armed}") and (early or not os.path.exists(TRIES))
        if armed is not (armed := ready):
            signal.setitimer(signal.ITIMER_REAL, random.expovariate(1 / {mean_s}) + 0.001 if armed else 0)
        time.sleep(0.2)

if sys.argv[1:] != ["--check"]:
    threading.Thread(target=mortal, daemon=True, name="mortal").start()
sys.exit(agent.main(sys.argv[1:]))
"""


def bring(sprite: Any, api: PilotApi, place: Path, version: str, mean_s: float) -> None:
    """Into the machine of that sprite; returns when it has been told to take over. Armed, it lives about `mean_s`."""
    main = _MAIN.format(root=ROOT, armed=ARMED, mean_s=mean_s)
    packed = _packed(Path(lay_out(place / "newer", version, main)))
    (sprite.filesystem("/") / "tmp/newer.tar").write_bytes(packed)
    sprite.run("sudo", "sh", "-c", "mkdir /newer; tar -C /newer -xf /tmp/newer.tar", check=True)
    answer = api.call(operations.UPGRADE_AGENT, schema.AgentRequest(directory=f"{ROOT}/newer"))
    assert answer.version == version


def arm(api: PilotApi, armed: bool) -> None:
    """From now on it dies again and again, or does not. `PeerError` when it died meanwhile: ask again."""
    words = ("touch", ARMED) if armed else ("rm", "-f", ARMED)
    answer = api.call(operations.EXECUTE, b"", query=[("cmd", word) for word in words])
    assert answer == bytes([exec_frames.Stream.EXIT, 0])


def _packed(place: Path) -> bytes:
    """Compiled, as an image has it: under TCG that takes a minute. For another Python than the guest's it is no use."""
    compiled = [sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", str(place)]
    subprocess.run(compiled, check=True)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        archive.add(place, arcname=".")
    return whole.getvalue()
