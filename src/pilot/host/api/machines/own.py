"""What a Machine may ask about itself, by its own socket (`wire.outward.PASSED_ON`): the same paths and bodies as the
Machines API has, permitted by the token that its agent adds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from .... import errors
from ....server import response
from ....server.call import Call
from ....wire import outward
from ....wire.audit import kind_of
from ....wire.macaroons import own
from ....wire.operations import AnyOperation
from ....wire.permissions import Permission
from ...identity.carried import number
from ...identity.machine_tokens import MachineTokens
from ...operations.fly_requests import Halt
from ...outward.rows import Caller, Row
from ...services.fly import FlyMachines
from ...store import fly as store
from ...store.fly import App, Machine
from . import bodies

Found = TypeVar("Found")
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE


def rows(machines: FlyMachines, tokens: MachineTokens) -> Sequence[Row]:
    """All of them."""
    asked = Own(machines, tokens)
    return (
        row(outward.GET_METADATA, _READ, asked.permitted, asked.get_metadata),
        row(outward.GET_METADATA_KEY, _READ, asked.permitted, asked.get_metadata_key),
        row(outward.SET_METADATA_KEY, _WRITE, asked.permitted, asked.set_metadata_key),
        row(outward.DELETE_METADATA_KEY, _WRITE, asked.permitted, asked.delete_metadata_key),
        row(outward.SUSPEND_SELF, _WRITE, asked.permitted, asked.suspend),
        row(outward.STOP_SELF, _WRITE, asked.permitted, asked.stop),
    )


def asking_app(machines: FlyMachines, caller: Caller) -> App:
    """Of the Machine that asks. `NotFound` for a machine that is none."""
    return store.app_of(machines.database, store.by_id(machines.database, caller.machine))


def require(tokens: MachineTokens, caller: Caller, call: Call, permission: Permission, app: App, machine: str) -> None:
    """What its agent has added permits that. `Unauthenticated`, `PermissionDenied`."""
    asked = own.HostAccess(
        own.action_of(permission),
        tokens.now_s(),
        organisation=number(app.organisation),
        app=number(app.id),
        machine=machine,
        source_machine=caller.machine,
        permission=permission,
    )
    tokens.require(call.request.headers.get("authorization", ""), asked)


def permitted_app(
    machines: FlyMachines, tokens: MachineTokens, caller: Caller, call: Call, permission: Permission
) -> App:
    """The app of the Machine that asks, which is the one that the path names. `NotFound`, `Unauthenticated`,
    `PermissionDenied`."""
    app = asking_app(machines, caller)
    if call.parameters["app"] not in (outward.OWN_APP, app.name):
        raise errors.NotFound(f"app not found: {call.parameters['app'][:100]}")
    require(tokens, caller, call, permission, app, caller.machine)
    return app


def row(
    operation: AnyOperation,
    permission: Permission,
    permitted: Callable[[Caller, Call, Permission], Found],
    answer: Callable[[Found, Call], Awaitable[response.Response]],
) -> Row:
    """`permitted` says what the caller asks about, in a thread, or refuses."""

    async def endpoint(caller: Caller, call: Call) -> response.Response:
        return await answer(await asyncio.to_thread(permitted, caller, call, permission), call)

    return Row(operation, endpoint, kind_of(None, operation.method, permission))


class Own:
    def __init__(self, machines: FlyMachines, tokens: MachineTokens) -> None:
        self._machines = machines
        self._tokens = tokens

    def permitted(self, caller: Caller, call: Call, permission: Permission) -> Machine:
        """The Machine that the path names, of the organisation of the one that asks. `NotFound`, `Unauthenticated`,
        `PermissionDenied`."""
        asking = asking_app(self._machines, caller)
        app = self._machines.app(asking.organisation, call.parameters["app"])
        found = self._machines.machine(app, call.parameters["machine"])
        require(self._tokens, caller, call, permission, app, found.id)
        return found

    async def get_metadata(self, row: Machine, _: Call) -> response.Response:
        return response.json(dict(row.metadata))

    async def get_metadata_key(self, row: Machine, call: Call) -> response.Response:
        key = call.parameters["key"]
        if key not in row.metadata:
            raise errors.NotFound(f"metadata key not found: {key[:100]}")
        return response.json({"value": row.metadata[key]})

    async def set_metadata_key(self, row: Machine, call: Call) -> response.Response:
        wanted = bodies.parse(bodies.MetadataValue, await call.body())
        return await self._change(row, {call.parameters["key"]: wanted.value})

    async def delete_metadata_key(self, row: Machine, call: Call) -> response.Response:
        return await self._change(row, {}, {call.parameters["key"]})

    async def _change(self, row: Machine, put: Mapping[str, str], drop: Collection[str] = ()) -> response.Response:
        await asyncio.to_thread(self._machines.change_metadata, row, put, drop)
        return response.Response(204)

    async def suspend(self, row: Machine, _: Call) -> response.Response:
        """Begun when this is answered, if the answer still comes."""
        await asyncio.to_thread(self._machines.suspend, row, None)
        return response.json({"ok": True})

    async def stop(self, row: Machine, call: Call) -> response.Response:
        """Begun when this is answered."""
        body = await call.body()
        how = bodies.halt(bodies.parse(bodies.StopMachine, body)) if body.strip() else Halt()
        await asyncio.to_thread(self._machines.stop, row, None, how)
        return response.json({"ok": True})
