"""What sprites take of their host: now, since their machines were started, and by day (`usage_days`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from ...ids import VolumeId
from ..operations import networks
from ..operations.context import Host
from ..store import usage
from ..store.sprites import Sprite
from ..store.usage import Counted, Day, Place
from ..vmm import Isolation, Size, Usage


@dataclasses.dataclass(frozen=True)
class SpriteUsage:
    """`machine`: None when it does not run; `network_bytes`: by counter, since it has its network; `size`: what it is
    to have, of which `pids` holds where `counts_processes`."""

    size: Size
    counts_processes: bool
    machine: Usage | None
    disk_bytes: int
    network_bytes: Mapping[str, int]


class Usages:
    """Every method may block. `size_of`, `isolation_of`: of a sprite."""

    def __init__(self, host: Host, size_of: Callable[[Sprite], Size], isolation_of: Callable[[Sprite], str]) -> None:
        self._host = host
        self._size_of = size_of
        self._isolation_of = isolation_of

    def now(self, sprite: Sprite) -> SpriteUsage:
        """As the kernel counts it."""
        machine = self._machine(sprite)
        network = {} if machine is None else self._network(sprite)
        is_container = self._isolation_of(sprite) == Isolation.CONTAINER.value
        disk_bytes = self._host.volumes.stat(sprite.volume).allocated_bytes
        return SpriteUsage(self._size_of(sprite), is_container, machine, disk_bytes, network)

    def counted(self, sprite: Sprite) -> Counted | None:
        """By its machine since that was started; None when it does not run."""
        machine = self._machine(sprite)
        if machine is None:
            return None
        network = self._network(sprite)
        return Counted(round(machine.cpu_s * 1e6), network.get("sent", 0), network.get("received", 0))

    def disk_bytes(self) -> Mapping[VolumeId, int]:
        """Of all disks."""
        return {each.volume: each.allocated_bytes for each in self._host.volumes.list()}

    def days_of(self, sprite: Sprite, most: int) -> Sequence[Day]:
        """The last so many that there are, the oldest first."""
        return usage.of_sprite(self._host.database, sprite.id, most)

    def days_of_all(self, organisation: str, most: int, after: Place, most_rows: int) -> Sequence[Day]:
        """Of all sprites, destroyed ones too: so many of those behind `after`."""
        return usage.of_organisation(self._host.database, organisation, most, after, most_rows)

    def _machine(self, sprite: Sprite) -> Usage | None:
        return None if sprite.machine is None else self._host.substrate(sprite.machine).usage(sprite.machine)

    def _network(self, sprite: Sprite) -> Mapping[str, int]:
        return {} if sprite.machine is None else networks.traffic(self._host, sprite.machine)
