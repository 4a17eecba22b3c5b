"""What a sprite may ask of its host about itself and its children, without a token: the socket says which one asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ....server import response
from ....server.call import Call
from ....wire import outward, timestamps
from ....wire.audit import Kind
from ...operations.results import Reserved
from ...outward.rows import Caller, Row, answering
from ...services import ending, own_checkpoints
from ...services.showing import Showing
from ...services.spawning import Spawning
from ...services.sprites import Sprites


def rows(sprites: Sprites, spawning: Spawning, showing: Showing) -> Sequence[Row]:
    """All of them."""

    async def spawn(caller: Caller, call: Call) -> response.Response:
        asked = await call.asked(outward.SPAWN)
        parent = await asyncio.to_thread(spawning.parent, caller.machine)
        with spawning.turn_of(parent):
            name, ended = await asyncio.to_thread(spawning.begin, parent, asked)
            await ending.finish(ended, outward.SPAWN_S)
        child = await asyncio.to_thread(spawning.child, parent, name)
        return response.json(await asyncio.to_thread(spawning.told, child), outward.SPAWN.status)

    def list_children(caller: Caller, _: None, __: Mapping[str, str]) -> outward.Children:
        found = spawning.children(spawning.parent(caller.machine))
        return outward.Children(sprites=[spawning.told(each) for each in found])

    async def destroy_child(caller: Caller, call: Call) -> response.Response:
        parent = await asyncio.to_thread(spawning.parent, caller.machine)
        child = await asyncio.to_thread(spawning.child, parent, call.parameters["name"])
        await ending.finish(await asyncio.to_thread(sprites.destroy, child), outward.SPAWN_S)
        return response.Response(outward.DESTROY_CHILD.status)

    def list_checkpoints(caller: Caller, _: None, __: Mapping[str, str]) -> outward.OwnCheckpoints:
        points = sprites.checkpoints(spawning.parent(caller.machine))
        shown = [
            outward.OwnCheckpoint(
                id=each.id, create_time=timestamps.of_us(each.created_us), comment=each.comment, name=each.name
            )
            for each in points
            if not each.is_auto
        ]
        return outward.OwnCheckpoints(checkpoints=shown)

    async def create_checkpoint(caller: Caller, call: Call) -> response.Response:
        asked = await call.asked(outward.CREATE_OWN_CHECKPOINT)
        sprite = await asyncio.to_thread(spawning.parent, caller.machine)
        ended = await asyncio.to_thread(own_checkpoints.make, sprites, sprite, asked.comment or "", asked.name)
        done = (await ending.finish(ended, outward.SPAWN_S)).result(Reserved)
        return response.json(outward.MadeCheckpoint(id=done.id), outward.CREATE_OWN_CHECKPOINT.status)

    def show_checkpoint(caller: Caller, _: None, parameters: Mapping[str, str]) -> outward.ShownCheckpoint:
        descriptor = showing.show(spawning.parent(caller.machine), parameters["checkpoint"])
        return outward.ShownCheckpoint(descriptor=descriptor)

    def hide_checkpoint(caller: Caller, _: None, parameters: Mapping[str, str]) -> None:
        showing.hide(caller.machine, parameters["checkpoint"])

    return (
        Row(outward.SPAWN, spawn, Kind.CHANGE),
        answering(outward.LIST_CHILDREN, list_children),
        Row(outward.DESTROY_CHILD, destroy_child, Kind.CHANGE),
        answering(outward.LIST_OWN_CHECKPOINTS, list_checkpoints),
        Row(outward.CREATE_OWN_CHECKPOINT, create_checkpoint, Kind.CHANGE),
        answering(outward.SHOW_CHECKPOINT, show_checkpoint),
        answering(outward.HIDE_CHECKPOINT, hide_checkpoint),
    )
