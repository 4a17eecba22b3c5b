"""What the edge may ask about a sprite's network: what it may reach, what it did, and whom it sees."""

from __future__ import annotations

from ...ids import MachineId
from ..network.policy import Policy
from ..network.service import Report
from ..operations import networks, world
from ..operations.context import Host
from ..store.networks import Peer
from ..store.sprites import Sprite


class SpriteNetworks:
    """Every method may block. `StateError` for a sprite without a network."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def policy(self, sprite: Sprite) -> Policy:
        """As it was set; without rules where none was, also where there is no network."""
        return networks.policy_of(self._host, self._machine(sprite))

    def set_policy(self, sprite: Sprite, wanted: Policy) -> None:
        """In force when it returns."""
        networks.enforce(self._host, self._machine(sprite), wanted)
        world.tell(self._host, sprite)

    def report(self, sprite: Sprite) -> Report:
        """What was let through, and what not."""
        return networks.report(self._host, self._machine(sprite))

    def private(self, sprite: Sprite) -> tuple[str | None, list[Peer]]:
        """The private network that it is in, and the other sprites there."""
        return networks.private_of(self._host, self._machine(sprite))

    def join_private(self, sprite: Sprite, private: str | None) -> None:
        """In force when it returns."""
        networks.join(self._host, self._machine(sprite), private)

    def _machine(self, sprite: Sprite) -> MachineId:
        return self._host.machine(sprite).id
