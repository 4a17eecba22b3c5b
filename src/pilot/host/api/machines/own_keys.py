"""What a Machine may do with its app's secret keys, by its own socket: use them, and nothing else. Which app, the
socket says; the token that its agent adds has to permit it as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from ....server import response
from ....server.call import Call
from ....wire import outward
from ....wire.audit import Kind
from ....wire.operations import Operation
from ....wire.permissions import Permission
from ...identity.machine_tokens import MachineTokens
from ...outward.rows import Caller, Row
from ...services.fly import FlyMachines
from ...services.fly_keys import FlyKeys
from ...store.fly import App
from . import bodies, key_uses
from .own import permitted_app

Asked = TypeVar("Asked", bound=msgspec.Struct)
Answered = TypeVar("Answered")
_READ, _WRITE = Permission.MACHINES_READ, Permission.MACHINES_WRITE


def rows(machines: FlyMachines, tokens: MachineTokens) -> Sequence[Row]:
    """All of them."""
    keys = OwnKeys(machines, tokens)
    return (
        Row(outward.LIST_KEYS, keys.list_keys),
        Row(outward.GET_KEY, keys.get_key),
        keys.using(outward.ENCRYPT, key_uses.encrypt),
        keys.using(outward.DECRYPT, key_uses.decrypt),
        keys.using(outward.SIGN, key_uses.sign),
        keys.using(outward.VERIFY, key_uses.verify),
    )


class OwnKeys:
    def __init__(self, machines: FlyMachines, tokens: MachineTokens) -> None:
        self._machines = machines
        self._tokens = tokens

    async def list_keys(self, caller: Caller, call: Call) -> response.Response:
        app = await asyncio.to_thread(self._permitted, caller, call, _READ)
        return response.json(await asyncio.to_thread(key_uses.list_keys, self._machines.keys, app))

    async def get_key(self, caller: Caller, call: Call) -> response.Response:
        app = await asyncio.to_thread(self._permitted, caller, call, _READ)
        return response.json(
            await asyncio.to_thread(key_uses.get_key, self._machines.keys, app, call.parameters["key"])
        )

    def using(
        self, operation: Operation[Asked, Answered], use: Callable[[FlyKeys, App, str, Asked], Answered | None]
    ) -> Row:
        async def endpoint(caller: Caller, call: Call) -> response.Response:
            app = await asyncio.to_thread(self._permitted, caller, call, _WRITE)
            asked = bodies.parse(operation.asked, await call.body())
            answer = await asyncio.to_thread(use, self._machines.keys, app, call.parameters["key"], asked)
            return response.Response(operation.status) if answer is None else response.json(answer)

        return Row(operation, endpoint, Kind.SECRET)

    def _permitted(self, caller: Caller, call: Call, permission: Permission) -> App:
        return permitted_app(self._machines, self._tokens, caller, call, permission)
