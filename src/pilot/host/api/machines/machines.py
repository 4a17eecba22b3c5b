"""Calls on Machines themselves."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import msgspec
from starlette.responses import JSONResponse, Response

from .... import errors
from ....wire import faults
from ...fly import config as configs
from ...fly import containers
from ...fsm.engine import Ended
from ...operations.fly_requests import Halt
from ...services import ending, fly_exec, fly_wait
from ...services.fly import DEFAULT_LEASE_S, LASTING, NewMachine
from ...store.fly import MOST_EVENTS, Machine
from . import bodies, shapes
from .call import Call, ok

RECORD_S = 30.0
DONE_S = 290.0  # clients give up after 300
MOST_WAIT_S = 60
_STATES = frozenset({"started", "stopped", "suspended", "destroyed", "failed", "created", "settled"})
_SETTLED = LASTING


async def create_machine(call: Call) -> Response:
    """It is there when this answers; what follows is to be waited for."""
    wanted = await call.body(bodies.CreateMachine)
    app = await call.app()
    new = NewMachine(
        wanted.name or "", wanted.region or "", wanted.config, not wanted.skip_launch, wanted.lease_ttl or None
    )
    id, ended = await call.machines.looking_up.in_turn(
        call.organisation, lambda: call.machines.create(app, new, call.may_read)
    )
    row = await _recorded(lambda: call.machines.machine(app, id), ended)
    [shown] = await call.describe([row])
    if row.lease is not None:
        shown["nonce"] = row.lease.nonce
    return JSONResponse(shown)


async def _recorded(find: Callable[[], Machine], ended: Ended) -> Machine:
    """Its row, or the error that kept it from being one."""
    async with asyncio.timeout(RECORD_S):
        while True:
            is_over = ended.done()
            try:
                return await asyncio.to_thread(find)
            except errors.NotFound:
                if is_over:
                    await ending.finish(ended, RECORD_S)
                    raise
            await asyncio.sleep(0.005)


async def list_machines(call: Call) -> Response:
    app, query = await call.app(), call.request.query_params
    find = call.machines.machines if call.flag("include_deleted") else call.machines.undestroyed
    rows = await asyncio.to_thread(find, app)
    wanted = {key.removeprefix("metadata."): value for key, value in query.items() if key.startswith("metadata.")}
    states = query["state"].split(",") if query.get("state") else None
    chosen = [
        row for row in rows
        if query.get("region", row.region) == row.region
        and (states is None or row.state in states)
        and all(row.metadata.get(key) == value for key, value in wanted.items())
    ]  # fmt: skip
    return Response(msgspec.json.encode(await call.describe(chosen)), media_type="application/json")


async def get_machine(call: Call) -> Response:
    return await call.shown(await call.machine())


async def update_machine(call: Call) -> Response:
    """Answers when the new version runs, or stands where the old one stood: a start may follow at once."""
    wanted = await call.body(bodies.CreateMachine)
    row = await call.machine()
    await call.require_volumes(row, wanted.config)
    version, launch = wanted.current_version or "", not wanted.skip_launch
    ended = await call.machines.looking_up.in_turn(
        call.organisation,
        lambda: call.machines.update(row, call.nonce, wanted.config, version, launch, call.may_read),
    )
    await ending.finish(ended, DONE_S)
    return await call.shown(await call.machine())


async def destroy_machine(call: Call) -> Response:
    row = await call.machine()
    force = call.flag("force", "kill")
    ended = await asyncio.to_thread(lambda: call.machines.destroy(row, call.nonce, force=force))
    await ending.finish(ended, DONE_S)
    return ok()


async def start_machine(call: Call) -> Response:
    row = await call.machine()
    await asyncio.to_thread(call.machines.start, row, call.nonce)
    return JSONResponse({"previous_state": row.state, "migrated": False, "new_host": ""})


async def stop_machine(call: Call) -> Response:
    how = bodies.halt(await call.body(bodies.StopMachine))
    await asyncio.to_thread(call.machines.stop, await call.machine(), call.nonce, how)
    return ok()


async def restart_machine(call: Call) -> Response:
    query = call.request.query_params
    how = bodies.halt(bodies.StopMachine(query.get("signal"), query.get("timeout")))
    if call.flag("force_stop"):
        how = Halt("KILL", 0.0)
    await asyncio.to_thread(call.machines.restart, await call.machine(), call.nonce, how)
    return ok()


async def suspend_machine(call: Call) -> Response:
    await asyncio.to_thread(call.machines.suspend, await call.machine(), call.nonce)
    return ok()


async def cordon_machine(call: Call) -> Response:
    await asyncio.to_thread(call.machines.cordon, await call.machine(), call.nonce, cordoned=True)
    return ok()


async def uncordon_machine(call: Call) -> Response:
    await asyncio.to_thread(call.machines.cordon, await call.machine(), call.nonce, cordoned=False)
    return ok()


async def wait_machine(call: Call) -> Response:
    """404 when it has gone, but for who waits for that."""
    query = call.request.query_params
    asked = {each for text in query.getlist("state") for each in text.split(",") if each} or {"started"}
    if not asked <= _STATES:
        raise faults.InvalidRequest(f"state: no such state: {', '.join(sorted(asked - _STATES))[:100]}")
    states = frozenset(asked - {"settled"}) | (_SETTLED if "settled" in asked else frozenset())
    version = query.get("version") or query.get("instance_id")
    row = await call.machine()

    def find() -> fly_wait.Seen:
        found = call.machines.machine_by_id(row)
        if version and found.version != version:
            raise errors.Conflict(f"aborted: machine version {version} is currently replaced by {found.version}")
        return fly_wait.Seen(found, next(iter(call.machines.happened(found, 1)), None))

    timeout_s = min(call.number("timeout", MOST_WAIT_S), MOST_WAIT_S)
    found, newest = await fly_wait.wait(call.machines.database, find, states, timeout_s)
    event_id = "" if newest is None else str(shapes.event(newest)["id"])
    return JSONResponse({"ok": True, "state": found.state, "version": found.version, "event_id": event_id})


async def list_events(call: Call) -> Response:
    row = await call.machine()
    limit = min(call.number("limit", MOST_EVENTS), MOST_EVENTS)
    events = await asyncio.to_thread(call.machines.happened, row, limit)
    return JSONResponse([shapes.event(each) for each in events])


async def list_versions(call: Call) -> Response:
    rows = await asyncio.to_thread(call.machines.versions, await call.machine())
    return JSONResponse([shapes.version(id, config) for id, config in rows])


async def execute(call: Call) -> Response:
    """200 whatever the command's exit status."""
    wanted = await call.body(bodies.Exec)
    row = await call.machine()
    if wanted.machine:
        raise faults.Unsupported("exec: in the machine itself no client's command is run; name a container")
    names = containers.names(configs.parse(row.config))
    container = wanted.container or names[0]
    if container not in names:
        raise errors.NotFound(f"exec: no container {container[:50]}; it has {', '.join(names)}")
    timeout_s = min(wanted.timeout or MOST_WAIT_S, bodies.MOST_EXEC_S)
    words = bodies.words(wanted)
    await call.require_command(words)
    stdin = io.BytesIO(wanted.stdin.encode()) if wanted.stdin else None
    command = fly_exec.Command(container, words, stdin, timeout_s)
    result = await call.machines.processes.run(row, command)
    return JSONResponse(
        {"exit_code": result.exit_code, "exit_signal": max(result.exit_code - 128, 0),
         "stdout": result.stdout.decode(errors="replace"), "stderr": result.stderr.decode(errors="replace")}
    )  # fmt: skip


# Leases


async def get_lease(call: Call) -> Response:
    row = await call.machine()
    held = call.machines.lease(row)
    if held is None:
        raise errors.NotFound(f"lease not found for machine {row.id}")
    return JSONResponse(shapes.lease(row, held))


async def acquire_lease(call: Call) -> Response:
    """`ttl` in the query or in the body; with the nonce, the same lease for longer."""
    wanted = await call.body(bodies.AcquireLease)
    row = await call.machine()
    ttl_s = call.number("ttl", wanted.ttl or DEFAULT_LEASE_S)
    owner = call.principal.organisation.slug
    held = await asyncio.to_thread(call.machines.acquire, row, call.nonce, ttl_s, owner, wanted.description or "")
    return JSONResponse(shapes.lease(row, held), 201)


async def release_lease(call: Call) -> Response:
    await asyncio.to_thread(call.machines.release, await call.machine(), call.nonce)
    return ok()


# Metadata


async def get_metadata(call: Call) -> Response:
    return JSONResponse(dict((await call.machine()).metadata))


async def put_metadata(call: Call) -> Response:
    """All of it; `PATCH` adds to what there is."""
    wanted = await call.body(bodies.Metadata)
    row = await call.machine()
    if wanted.machine_version and wanted.machine_version != row.version:
        raise errors.StateError(f"current machine version is {row.version}, not {wanted.machine_version}")
    change = call.machines.change_metadata if call.request.method == "PATCH" else call.machines.replace_metadata
    await asyncio.to_thread(change, row, wanted.metadata)
    return Response(status_code=204)


async def get_metadata_key(call: Call) -> Response:
    row = await call.machine()
    key = call.parameters["key"]
    if key not in row.metadata:
        raise errors.NotFound(f"metadata key not found: {key[:100]}")
    return JSONResponse({"value": row.metadata[key]})


async def set_metadata_key(call: Call) -> Response:
    wanted = await call.body(bodies.MetadataValue)
    row = await call.machine()
    await asyncio.to_thread(call.machines.change_metadata, row, {call.parameters["key"]: wanted.value})
    return Response(status_code=204)


async def delete_metadata_key(call: Call) -> Response:
    row = await call.machine()
    await asyncio.to_thread(call.machines.change_metadata, row, {}, {call.parameters["key"]})
    return Response(status_code=204)
