"""`linux.intelRdt` of a container: its group of resctrl. Imported by those alone whose config.json asks for one."""

from __future__ import annotations

import msgspec

from ..kernel import resctrl
from ..plan import rdt as rdt_plan
from ..plan.rdt import RdtGroup
from ..spec.linux import IntelRdt


class CacheClass(msgspec.Struct, frozen=True):
    """The group `group` of the resctrl that is mounted at `root`."""

    root: str
    group: RdtGroup

    def prepare(self) -> None:
        """Make or find it; HostError, Conflict."""
        resctrl.prepare(self.root, self.group)

    def assign(self, pid: int) -> None:
        """Put a process in; HostError."""
        resctrl.assign(self.root, self.group, pid)

    def change(self, asked: IntelRdt) -> None:
        """Other schemata; HostError."""
        resctrl.change(self.root, self.group, rdt_plan.plan_schemata(asked))

    def remove(self) -> None:
        """What is the container's own goes."""
        resctrl.remove(self.root, self.group)


def find_class(asked: IntelRdt, container_id: str) -> CacheClass:
    """HostError on a host without resctrl."""
    return CacheClass(resctrl.find_root(), rdt_plan.plan_rdt(asked, container_id))
