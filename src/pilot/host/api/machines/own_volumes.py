"""What a Machine may ask about the volumes that it has, by its own socket: which they are, and snapshots of them, with
the paths and bodies of the Machines API. It goes back to none by itself, and makes no other Machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from .... import errors
from ....server import response
from ....server.call import Call
from ....wire import faults, outward
from ....wire.audit import kind_of
from ....wire.operations import AnyOperation
from ....wire.permissions import Permission
from ...identity.machine_tokens import MachineTokens
from ...outward.rows import Caller, Row
from ...services import ending, own_checkpoints
from ...services.fly import FlyMachines
from ...store.fly_volumes import Volume
from . import shapes
from .own import asking_app, require

Answer = Callable[[list[Volume], Call], Awaitable[response.Response]]
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE


def rows(machines: FlyMachines, tokens: MachineTokens) -> Sequence[Row]:
    """All of them."""
    asked = OwnVolumes(machines, tokens)
    return (
        asked.row(outward.LIST_OWN_VOLUMES, _READ, asked.every),
        asked.row(outward.LIST_OWN_SNAPSHOTS, _READ, asked.snapshots),
        asked.row(outward.CREATE_OWN_SNAPSHOT, _WRITE, asked.snapshot),
        asked.row(outward.CREATE_OWN_MACHINE, _WRITE, asked.make_machine),
    )


class OwnVolumes:
    def __init__(self, machines: FlyMachines, tokens: MachineTokens) -> None:
        self._machines = machines
        self._tokens = tokens

    def row(self, operation: AnyOperation, permission: Permission, answer: Answer) -> Row:
        async def endpoint(caller: Caller, call: Call) -> response.Response:
            return await answer(await asyncio.to_thread(self._permitted, caller, call, permission), call)

        return Row(operation, endpoint, kind_of(None, operation.method, permission))

    def _permitted(self, caller: Caller, call: Call, permission: Permission) -> list[Volume]:
        """The volumes that the Machine that asks has, of the app that the path names. `NotFound`, `Unauthenticated`,
        `PermissionDenied`."""
        app = asking_app(self._machines, caller)
        if call.parameters["app"] not in (outward.OWN_APP, app.name):
            raise errors.NotFound(f"app not found: {call.parameters['app'][:100]}")
        require(self._tokens, caller, call, permission, app, caller.machine)
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
