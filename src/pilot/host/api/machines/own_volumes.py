"""What a Machine may ask about the volumes that it has, by its own socket: which they are, and snapshots of them, with
the paths and bodies of the Machines API. It goes back to none by itself, and makes no other Machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .... import errors
from ....server import response
from ....server.call import Call
from ....wire import faults, outward
from ....wire.permissions import Permission
from ...identity.machine_tokens import MachineTokens
from ...outward.rows import Caller, Row
from ...services import ending, own_checkpoints
from ...services.fly import FlyMachines
from ...store.fly_volumes import Volume
from . import shapes
from .own import permitted_app, row

_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE


def rows(machines: FlyMachines, tokens: MachineTokens) -> Sequence[Row]:
    """All of them."""
    asked = OwnVolumes(machines, tokens)
    return (
        row(outward.LIST_OWN_VOLUMES, _READ, asked.permitted, asked.every),
        row(outward.LIST_OWN_SNAPSHOTS, _READ, asked.permitted, asked.snapshots),
        row(outward.CREATE_OWN_SNAPSHOT, _WRITE, asked.permitted, asked.snapshot),
        row(outward.CREATE_OWN_MACHINE, _WRITE, asked.permitted, asked.make_machine),
    )


class OwnVolumes:
    def __init__(self, machines: FlyMachines, tokens: MachineTokens) -> None:
        self._machines = machines
        self._tokens = tokens

    def permitted(self, caller: Caller, call: Call, permission: Permission) -> list[Volume]:
        """The volumes that the Machine that asks has, of the app that the path names. `NotFound`, `Unauthenticated`,
        `PermissionDenied`."""
        app = permitted_app(self._machines, self._tokens, caller, call, permission)
        return [row for row in self._machines.volumes.every(app) if row.machine == caller.machine]

    async def every(self, volumes: list[Volume], _: Call) -> response.Response:
        disks = [await asyncio.to_thread(self._machines.volumes.disk, row) for row in volumes]
        return response.json([shapes.volume(row, disk) for row, disk in zip(volumes, disks, strict=True)])

    async def snapshots(self, volumes: list[Volume], call: Call) -> response.Response:
        row = _named(volumes, call)
        points = await asyncio.to_thread(self._machines.volumes.snapshots, row)
        return response.json([shapes.snapshot(row, point.id, point.created_at) for point in points])

    async def snapshot(self, volumes: list[Volume], call: Call) -> response.Response:
        """Taken when this is answered."""
        row = _named(volumes, call)
        id, ended = await asyncio.to_thread(own_checkpoints.snapshot, self._machines.volumes, row)
        await ending.finish(ended, outward.SPAWN_S)
        points = await asyncio.to_thread(self._machines.volumes.snapshots, row)
        point = next(each for each in points if each.id == id)
        return response.json(shapes.snapshot(row, point.id, point.created_at))

    async def make_machine(self, _: list[Volume], __: Call) -> response.Response:
        raise faults.PermissionDenied(
            "a Machine makes no other by itself", hint="ask the Machines API, with a token of the app"
        )


def _named(volumes: list[Volume], call: Call) -> Volume:
    """`NotFound` for any but its own."""
    id = call.parameters["volume"]
    found = next((row for row in volumes if row.id == id), None)
    if found is None:
        raise errors.NotFound(f"volume not found: {id[:50]}")
    return found
