"""A host that goes down: all processes, networks and runtime directories of a pilotd go; what is on disk stays."""

from __future__ import annotations

import os
import pathlib
import shutil

from pilot.host import daemon
from pilot.host.network import apply
from pilot.host.network.supervisor import Supervisor
from pilot.ids import MachineId
from pilot.kernel import cgroups, hierarchies
from tests.support.pilotd import Pilotd


def go_down(pilotd: Pilotd) -> None:
    """As by a loss of power. It can be started again on the same state."""
    pilotd.kill()
    tag = daemon.Settings(state_dir=str(pilotd.state)).tag
    group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(f"/pilot-{tag}"))
    group.kill()
    group.delete()
    Supervisor(f"/run/pilot-network-{tag}", [], os.devnull, f"/pilot-{tag}/resolver").stop()
    for machine in os.listdir(pilotd.state / "machines"):
        apply.remove_gateway(MachineId(machine), None)
    assert str(pilotd.state) not in pathlib.Path("/proc/self/mounts").read_text()
    for directory in (f"/run/pilot-{tag}", f"/run/pilot-network-{tag}"):
        shutil.rmtree(directory, ignore_errors=True)
