"""Machines of Fly's API up and down, each in a machine of its own, which pilot is asked for through its contract alone.

images    the base volume of each image, by a child run                     image_base
disks     a fresh fork of it for each container; one that is kept is left
machine   row with its uids, made, not started
boot      thawed, or started; each fork is a disk of it: /run/disks/root-<n>, each volume too: volume-<n>
graph     told who it is; its containers are wanted, and begin
halt      containers asked to end, by their own signal and patience
down      the machine stopped;   detach: nobody has its disks

A Machine's id is its machine's, so whatever a crash leaves is found by it. A machine that runs is asked what it has,
and given the rest.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from ... import errors
from ...ids import CheckpointId, MachineId, VolumeId
from ...machine.pilot_api import PilotApi
from ...wire import graph, operations, schema, timestamps
from ..fly import config as configs
from ..fly import containers
from ..fly.config import Config
from ..fly.containers import Given, ImageOf, Platform
from ..fsm.operation import Run
from ..fsm.outcome import Outcome, UserFault
from ..store import fly, fly_secrets
from ..store import fly_members as members
from ..store import fly_volumes as volume_rows
from ..store import machines as rows
from ..store.database import Transaction
from ..store.fly import Lease, Machine
from ..store.journal import now_us
from ..vmm import Disk, Unresumable
from . import disks, fly_disks, fly_logs, fly_looks, fly_pool, fly_volumes, image_base, machines, networks
from .context import Host
from .disks import VolumeDisk
from .fly_requests import Begin, Ended, Halt, Halted, Launch, Limit, Roots, Update, Was

log = logging.getLogger(__name__)

R = TypeVar("R")

BEGIN_S = 60.0
HALT_GRACE_S = 10.0
_POLL_S, _FIRST_POLL_S = 0.02, 0.003
# What a container has not begun with, or is about to end.
_BEFORE = frozenset({"waiting", "blocked", "starting"})
_OVER = frozenset({"exited", "stopped"})
_LOST, _NOT_BEGUN = 137, 127


def machine_of(host: Host, run: Run[object]) -> Machine:
    """`UserFault` when it was destroyed before this run's turn came."""
    try:
        found = fly.by_id(host.database, run.resource)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error
    if found.state == fly.DESTROYED:
        raise UserFault("machine not found", code="not_found")
    return found


# Rows


def record(host: Host, run: Run[Launch]) -> None:
    """From here on it is there, whatever becomes of it."""
    wanted = run.request
    now = now_us()
    lease = None
    if wanted.lease_nonce is not None:
        lease = Lease(wanted.lease_nonce, wanted.lease_owner, "", wanted.lease_expires_us)
    row = Machine(
        MachineId(run.resource), wanted.app, wanted.name, wanted.region, "created", wanted.version, wanted.config,
        wanted.metadata, wanted.images, cordoned=False, lease=lease, created_us=now, updated_us=now,
    )  # fmt: skip
    volumes = _mounts(row.config)
    acts = (
        lambda tx: fly.add(tx, row),
        lambda tx: volume_rows.hold(tx, row.id, row.app, volumes),
        lambda tx: members.give_away(tx, row.id),
    )
    _write(host, *acts, durable=bool(volumes))


def _write(host: Host, *acts: Callable[[Transaction], object], durable: bool = True) -> None:
    """All of them at once; somebody else may have come first."""
    try:
        with host.database.transaction(durable=durable) as tx:
            for act in acts:
                act(tx)
    except errors.Conflict as error:
        raise UserFault(str(error), code="conflict") from error
    except errors.StateError as error:
        raise UserFault(str(error), code="failed_precondition") from error
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error


def _noted(host: Host) -> contextlib.AbstractContextManager[Transaction]:
    """A state that a run has brought its Machine to. The run is stable since its beginning, and will be at its end:
    after a loss of power it goes on from there, and writes again what was lost."""
    return host.database.transaction(durable=False)


def _mounts(config: Mapping[str, object]) -> tuple[str, ...]:
    try:
        return configs.volumes(configs.parse(config))
    except errors.SpecError as error:
        raise UserFault(str(error)) from error


def _enter(state: str, type: str, source: str) -> Callable[[Host, Run[object]], None]:
    def enter(host: Host, run: Run[object]) -> None:
        machine_of(host, run)
        with _noted(host) as tx:
            fly.enter(tx, run.resource, state, type, source)

    return enter


stopping = _enter("stopping", "stop", "user")
restarting = _enter("restarting", "restart", "user")
replacing = _enter("replacing", "update", "user")
begun_again = _enter("starting", "start", "flyd")
suspended = _enter("suspended", "suspend", "flyd")


def suspending(host: Host, run: Run[object]) -> None:
    """What was under way when this was asked for may have failed since: then there is nothing to freeze."""
    found = machine_of(host, run)
    if found.state not in ("started", "suspending"):
        raise UserFault(f"unable to suspend machine from current state: '{found.state}'", code="failed_precondition")
    _enter("suspending", "suspend", "user")(host, run)


def started(host: Host, run: Run[object]) -> None:
    """From here on it is idle until somebody comes."""
    host.uses.touch(run.resource)
    _enter("started", "start", "flyd")(host, run)


def _resting(state: str, type: str) -> Callable[[Host, Run[object]], None]:
    """It says that it rests, unless somebody has leased it; only then is it asked whether somebody uses it: who comes
    counts before it looks."""

    def rest(host: Host, run: Run[object]) -> None:
        found = machine_of(host, run)
        if found.state not in ("started", state):
            raise UserFault(f"the machine is {found.state}", code="conflict")
        with _noted(host) as tx:
            lease = fly.by_id(tx, run.resource).lease
            if lease is not None and lease.expires_us > now_us():
                raise UserFault("somebody has leased the machine", code="conflict")
            fly.enter(tx, run.resource, state, type, "flyd")
        if host.uses.open_connections(run.resource):
            raise UserFault("the machine is in use", code="conflict")

    return rest


resting_stopped = _resting("stopping", "stop")
resting_suspended = _resting("suspending", "suspend")


def starting(host: Host, run: Run[Begin]) -> None:
    _enter("starting", "start", run.request.source)(host, run)


def was(host: Host, run: Run[Update]) -> Was:
    """What there is; written down before anything is done to it. The volumes of both versions are its own."""
    found = machine_of(host, run)
    both = {*_mounts(found.config), *_mounts(run.request.config)}
    _write(host, lambda tx: volume_rows.hold(tx, found.id, found.app, both))
    return Was(found.state, found.images)


# Up


def images(host: Host, run: Run[object]) -> None:
    """Those of the version that is to run."""
    wanted = run.request.images if isinstance(run.request, Update) else machine_of(host, run).images
    for image in {each.digest: each for each in wanted}.values():
        if fly.base(host.database, image.digest) is None:
            outcome = _make_base(host, run, image)
            if not outcome.done:
                raise UserFault(f"image {image.reference}: {outcome.error}")


def _make_base(host: Host, run: Run[object], image: ImageOf) -> Outcome:
    volume = VolumeId(image.volume)
    if image.of is None:
        request = image_base.Prepare(image.reference, volume)
        return host.children.outcome(run, image_base.PREPARE, image.digest, request)
    of = image_base.Take(image.of.sprite, CheckpointId(image.of.checkpoint), volume)
    return host.children.outcome(run, image_base.TAKE, image.digest, of)


def make_disks(host: Host, run: Run[object]) -> Roots:
    """A root that is not kept goes: `boot` makes one as its image is. Those of a machine that runs are in use, and so
    right. Where they are to be there before the machine starts, they are made now."""
    found = machine_of(host, run)
    _drop_unwanted(host, run, found)
    if _is_there(host, found.id):
        return Roots(begun=False)
    _begin_roots(host, run, found)
    return Roots(begun=True)


def _begin_roots(host: Host, run: Run[object], found: Machine) -> None:
    if is_claimed(run) or not configs.keeps_root(_config(found)):
        fly_disks.drop_all(host, fly_disks.roots(found.id, found.images))
    if host.substrates.of(host.isolation).mounts_in_guest:
        fly_disks.make_roots(host, found)


def _drop_unwanted(host: Host, run: Run[object], found: Machine) -> None:
    """Of the member of the pool that it was made of, if it was."""
    if isinstance(run.request, Launch) and run.request.claimed is not None:
        fly_pool.drop_unwanted(host, found, run.request.claimed)


def make_machine(host: Host, run: Run[object]) -> None:
    found = machine_of(host, run)
    size = configs.size(_config(found))
    with _noted(host) as tx:
        row = rows.assign(tx, found.id, host.isolation.value, size.memory_bytes, size.cpus, size.pids)
    if is_claimed(run) and _runs(host, found.id):
        fly_pool.fit(host, row)
    if not _runs(host, found.id):
        machines.make(host, row)


def boot(host: Host, run: Run[object]) -> None:
    """It runs, and has all its disks, which are made and attached while it starts. Roots are its own; nobody else had
    them."""
    found = machine_of(host, run)
    machines.thaw(host, found.id)
    is_up = machines.is_up(host, found.id)
    if not is_up:
        _renew_roots(host, run, found)
    there = fly_disks.there(host, found.id) if is_up else frozenset()
    wanted = dict(fly_disks.every(found))
    missing = {name: volume for name, volume in wanted.items() if name not in there}
    if not is_up or is_claimed(run):
        _prepare(host, found, missing)
    makers = fly_disks.makers(host, found)
    with fly_disks.mounting(host, found.id, missing, anew=_had_before(found, missing), makers=makers) as take:
        if not is_up:
            _start(host, run, found, [VolumeDisk(host.volumes, volume) for volume in wanted.values()])
        give = functools.partial(fly_disks.give_all, host, found.id, tuple(wanted), missing, take)
        tell = functools.partial(networks.tell_siblings, host, found.id)
        disks.at_once([give, tell] if is_claimed(run) else [give])
    if fly_looks.is_wanted(found) and not host.substrate(found.id).mounts_in_guest:
        fly_looks.look(host, found)


def _renew_roots(host: Host, run: Run[object], found: Machine) -> None:
    """Of a machine that was there when `make_disks` looked, and has gone since with what was in its memory."""
    made = run.find(Roots)
    if machines.is_suspended(host, found.id) or (made is not None and made.begun):
        return
    machines.down(host, found.id)  # an attempt that died may have left one that has them
    _begin_roots(host, run, found)


def _start(host: Host, run: Run[object], found: Machine, drives: Sequence[Disk]) -> None:
    """On where it was, if it is suspended and ever can be; else anew, and then its roots as well."""
    if machines.is_suspended(host, found.id):
        try:
            machines.start(host, found.id, drives=drives)
            return
        except Unresumable as error:
            log.warning("machine not resumed, it begins anew", extra={"machine": found.id, "error": str(error)})
        machines.down(host, found.id)
        _renew_roots(host, run, found)
    fly_logs.forget(host, found.id)  # of the run before: this one may end without leaving any
    machines.start(host, found.id, drives=drives)


def _prepare(host: Host, found: Machine, names: Collection[str]) -> None:
    """Those disks, which nobody has, are as they are to be when its machine has them."""
    for name, volume in fly_volumes.mounted(found):
        if name in names:
            fly_volumes.prepare(host, volume)
    if fly_looks.is_wanted(found) and host.substrate(found.id).mounts_in_guest:
        fly_looks.look_apart(host, found)


def _had_before(found: Machine, names: Iterable[str]) -> frozenset[str]:
    """Disks that an earlier start may have had: all but roots that begin anew."""
    keeps = configs.keeps_root(_config(found))
    return frozenset(name for name in names if keeps or not fly_disks.is_root(name))


def apply_graph(host: Host, run: Run[object]) -> None:
    """Its containers are wanted; one of them has begun, or has ended already."""
    found = machine_of(host, run)
    api = _api(host, found.id)
    api.call(operations.ADOPT, _identity(host, found))
    if _goes_on(api, found):
        renew_files(host, found.id)
        return
    try:
        wanted = containers.plan(_config(found), found.images, _given(host, found, api), _platform(host, found))
        told = api.call(operations.APPLY_GRAPH, wanted)
    except errors.SpecError as error:
        raise UserFault(str(error)) from error
    if not _has_begun(told):
        _await_begun(host, found.id)


def _goes_on(api: PilotApi, found: Machine) -> bool:
    """Whether it runs already, as one that was suspended: with the variables that it has begun with."""
    told = api.call(operations.GET_GRAPH, None).containers
    is_whole = {each.name for each in told} == set(containers.names(_config(found)))
    return is_whole and any(each.status == "running" for each in told)


def renew_files(host: Host, id: MachineId) -> None:
    """Files of its containers that are secrets say what these are by now, where it runs; one that is frozen hears of
    them when it goes on."""
    found = fly.by_id(host.database, id)
    version = fly_secrets.version(host.database, found.app)  # before what it is of: that may be newer, and told again
    files = containers.secret_files(_config(found), _secrets(host, found.app), version)
    if not files or not machines.is_running(host, id) or machines.is_frozen(host, id):
        return
    for name, contents in files.items():
        try:
            _api(host, id).call(operations.PUT_CONTAINER_FILES, graph.FilesRequest(files=contents), name=name)
        except (errors.StateError, errors.NotFound) as error:
            # Of a container that was made before files could change: its next start has them.
            log.info("files not renewed", extra={"machine": id, "container": name, "error": str(error)})


def _has_begun(told: graph.GraphStatus) -> bool:
    return not all(each.status in _BEFORE for each in told.containers)


def _await_begun(host: Host, id: MachineId) -> None:
    """Looked at soon, and then less and less often. `StateError` when nothing begins for too long."""
    api, deadline, pause_s = _api(host, id), time.monotonic() + BEGIN_S, _FIRST_POLL_S
    while True:
        told = api.call(operations.GET_GRAPH, None)
        if _has_begun(told):
            return
        if time.monotonic() > deadline:
            why = "; ".join(f"{each.name}: {each.why}" for each in told.containers)
            raise errors.StateError(f"start machine {id}: no container has begun: {why}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _POLL_S)


def _given(host: Host, found: Machine, api: PilotApi) -> Given:
    paths = {disk.name: disk.path for disk in api.call(operations.LIST_DISKS, None).disks}
    version, secrets = fly_secrets.version(host.database, found.app), _secrets(host, found.app)
    return Given(
        {image.container: f"{paths[fly_disks.root_name(number)]}/rootfs" for number, image in enumerate(found.images)},
        {volume: paths[name] for name, volume in fly_volumes.mounted(found)},
        secrets,
        version,
    )


def _secrets(host: Host, app: str) -> dict[str, str]:
    found = fly_secrets.every(host.database, app)
    if host.vault is None:
        return {}
    return {each.name: host.vault.opened(app, each.name, each.sealed) for each in found}


def _identity(host: Host, found: Machine) -> schema.AdoptRequest:
    return schema.AdoptRequest(
        name=found.id,
        hostname=found.id,
        time_ns=time.time_ns(),
        entropy=base64.b64encode(os.urandom(64)).decode(),
        network=networks.seen_inside(host, found.id),
    )


def tell(host: Host, id: MachineId) -> None:
    """One that runs hears of what has changed about it; else it does when it is started, or goes on."""
    if machines.is_running(host, id) and not machines.is_frozen(host, id):
        _api(host, id).call(operations.ADOPT, _identity(host, fly.by_id(host.database, id)))


def _platform(host: Host, found: Machine) -> Platform:
    app = fly.app_of(host.database, found)
    return Platform(
        app.name, found.id, found.version, found.region, "", configs.size(_config(found)).memory_bytes >> 20,
        private_ip(host, found.id),
    )  # fmt: skip


def private_ip(host: Host, id: MachineId) -> str:
    """The address in its own network; "" where it has none."""
    ends = networks.ends_inside(host, id)
    return str(ends[0].far.ip) if ends else ""


# Down


def halt(host: Host, run: Run[object]) -> Halted:
    """Each container has ended, or had its time. One that does not answer is no reason to go on running."""
    found = machine_of(host, run)
    if not _runs(host, found.id) or machines.is_frozen(host, found.id):
        return Halted(None)
    asked = run.request if isinstance(run.request, Halt) else Halt()
    try:
        halted = _halt(_api(host, found.id), asked)
    except (errors.PeerError, errors.NotFound, errors.StateError):
        return Halted(None)
    fly_logs.keep(host, found.id, containers.names(_config(found)), host.substrate(found.id).dial_path(found.id))
    return halted


def _halt(api: PilotApi, asked: Halt) -> Halted:
    wanted = api.call(operations.GET_GRAPH, None).containers
    for each in wanted:
        request = graph.StopRequest(signal=asked.signal, timeout_s=asked.timeout_s)
        api.call(operations.STOP_CONTAINER, request, name=each.name)
    deadline = time.monotonic() + containers.MOST_STOP_S + HALT_GRACE_S  # the agent kills when its own patience ends
    while True:
        told = api.call(operations.GET_GRAPH, None).containers
        if all(each.status in _OVER for each in told) or time.monotonic() > deadline:
            codes = [each.exit_code for each in told if each.exit_code is not None]
            return Halted(codes[0] if codes else None)
        time.sleep(_POLL_S)


def down(host: Host, run: Run[object]) -> None:
    if machines.isolation_of(host, MachineId(run.resource)) is not None:
        machines.down(host, MachineId(run.resource))
    host.uses.gone(run.resource)


def detach(host: Host, run: Run[object]) -> None:
    wanted = fly_disks.every(machine_of(host, run))
    disks.at_once([functools.partial(disks.release, host, volume) for _, volume in wanted])


def stopped(host: Host, run: Run[object]) -> None:
    """With the exit that it ended by."""
    halted = run.find(Halted)
    code = halted.exit_code if halted else None
    _stopped(host, run, _exit(code if code is not None else 0, is_requested=True))


def require_over(host: Host, run: Run[Ended]) -> None:
    """What was seen is still so: somebody may have started it anew meanwhile."""
    found = machine_of(host, run)
    if found.state != "started" or end_of(host, found) is None:
        raise UserFault("the machine runs", code="conflict")


def end_of(host: Host, found: Machine) -> Ended | None:
    """How its containers have ended, all of them and for good; None while one has not, or may be started again. Of
    several processes of its image the first one that ends is the end."""
    if not _runs(host, found.id):
        return Ended(_LOST, "its machine has gone", has_gone=True)
    if machines.is_frozen(host, found.id):
        return None
    told = _api(host, found.id).call(operations.GET_GRAPH, None).containers
    over = [each for each in told if each.status in _OVER]
    if not over or not (len(over) == len(told) or _config(found).processes):
        return None
    first = next((each for each in over if each.exit_code), over[0])
    return Ended(first.exit_code if first.exit_code is not None else _NOT_BEGUN, first.error or first.why)


def exited(host: Host, run: Run[Ended]) -> None:
    _stopped(host, run, _exit(run.request.exit_code, is_requested=False))


def _stopped(host: Host, run: Run[object], request: dict[str, object]) -> None:
    with _noted(host) as tx:
        fly.enter(tx, run.resource, "stopped", "exit", "flyd", request)


def _exit(code: int, *, is_requested: bool) -> dict[str, object]:
    """As clients look for it, in both places."""
    number = code - 128 if code > 128 else -1
    event: dict[str, object] = {
        "exit_code": code, "guest_exit_code": code if number < 0 else 0, "guest_signal": number, "signal": number,
        "oom_killed": False, "requested_stop": is_requested, "restarting": False,
        "exited_at": timestamps.now(),
    }  # fmt: skip
    return {"exit_event": event, "MonitorEvent": {"exit_event": event}, "restart_count": 0}


def freeze(host: Host, run: Run[object]) -> None:
    """As long as nobody wants it, its memory is on disk where that can be, and then nobody has its disks."""
    found = machine_of(host, run)
    machines.thaw(host, found.id)  # an attempt that died may have left it standing still, half written
    if not machines.is_suspended(host, found.id) and not machines.is_up(host, found.id):
        raise UserFault("failed_precondition: the machine does not run", code="conflict")
    _let_go(host, run, found.id)


def _let_go(host: Host, run: Run[object], id: MachineId) -> None:
    """One that is suspended already may not have ended yet, as pilotd died meanwhile: it does before its disks go."""
    machines.suspend(host, id)
    host.uses.cut(id)  # who waits for an answer of it waits in vain; who comes anew wakes it
    if machines.is_suspended(host, id):
        detach(host, run)


def fit(host: Host, run: Run[Limit]) -> None:
    """What it has may become less; its next start has what its config says."""
    found = machine_of(host, run)
    row = dataclasses.replace(rows.find(host.database, found.id), memory_bytes=run.request.memory_bytes)
    try:
        done = host.substrate(found.id).resize(machines.spec_of(row))
    except errors.HostError as error:
        raise UserFault(f"limit memory: {error}", code="failed_precondition") from error
    if not done:
        raise UserFault("the machine does not run", code="failed_precondition")
    with host.database.transaction() as tx:
        rows.assign(tx, found.id, row.isolation, row.memory_bytes, row.cpus, row.pids)


# Another version


def renew(host: Host, run: Run[Update]) -> None:
    """What it is made of from here on; the old version has ended, and its roots go."""
    found = machine_of(host, run)
    kept = fly_disks.roots(found.id, run.request.images)
    fly_disks.drop_all(
        host, [volume for volume in fly_disks.roots(found.id, run.result(Was).images) if volume not in kept]
    )
    with host.database.transaction() as tx:
        fly.renew(tx, found.id, run.request.version, run.request.config, run.request.images)
        volume_rows.hold(tx, found.id, found.app, _mounts(run.request.config))


def settled(host: Host, run: Run[Update]) -> None:
    """One that did not run, or is not to, stays as it was."""
    state = run.result(Was).state
    if not goes_on(run):
        with _noted(host) as tx:
            fly.enter(tx, run.resource, "created" if state == "created" else "stopped", "update", "flyd")


def goes_on(run: Run[object]) -> bool:
    """Whether a run is to leave its Machine running."""
    match run.request:
        case Launch(launch=launch):
            return launch
        case Update(launch=launch):
            return launch and run.result(Was).state in ("started", "starting", "restarting")
    return True


def is_claimed(run: Run[object]) -> bool:
    """Whether its machine was a member of the pool."""
    return isinstance(run.request, Launch) and run.request.claimed is not None


def when_it_goes_on(act: Callable[[Host, Run[object]], R]) -> Callable[[Host, Run[object]], R | None]:
    """A step of a run that may be told not to start anything."""

    def step(host: Host, run: Run[object]) -> R | None:
        return act(host, run) if goes_on(run) else None

    return step


# The end


def mark(host: Host, run: Run[object]) -> None:
    host.database.write_surely(lambda tx: fly.enter(tx, run.resource, "destroying", "destroy", "user"))


def destroy_machine(host: Host, run: Run[object]) -> None:
    """Its containers are not asked: nothing that they could still write is kept."""
    id = MachineId(run.resource)
    if _runs(host, id) and not machines.is_frozen(host, id):
        with contextlib.suppress(errors.PilotError):  # then its end takes as long as its containers are patient
            _halt(_api(host, id), Halt("KILL", 0.0))
    machines.destroy(host, id)
    host.uses.gone(id)


def destroy_disks(host: Host, run: Run[object]) -> None:
    with contextlib.suppress(errors.NotFound):
        found = fly.by_id(host.database, run.resource)
        fly_disks.drop_all(host, fly_disks.roots(found.id, found.images))
        for _, volume in fly_volumes.mounted(found):
            disks.release(host, volume)


def forget(host: Host, run: Run[object]) -> None:
    def write(tx: Transaction) -> None:
        rows.delete(tx, MachineId(run.resource))
        volume_rows.release(tx, MachineId(run.resource))
        fly.enter(tx, run.resource, fly.DESTROYED, "destroy", "flyd")

    host.database.write_surely(write)
    host.database.refill()
    host.uses.forget(run.resource)
    fly_logs.forget(host, MachineId(run.resource))


# When it went wrong


def settle(host: Host, run: Run[object], outcome: Outcome) -> None:
    """What failed says so, and nothing of it runs on. One that is suspended still, for want of room, stays so."""
    if outcome.done or outcome.code == "not_found":
        return
    if isinstance(run.request, Launch) and "record" not in run.results:
        if is_claimed(run):
            fly_pool.everything(host, run.resource)
        return  # the name is another one's
    try:
        found = fly.by_id(host.database, run.resource)
    except errors.NotFound:
        return
    if found.state in ("destroying", fly.DESTROYED):
        return
    stays = _sleeps(host, found.id)
    if not stays:
        down(host, run)
    for _, volume in fly_disks.every(found):
        disks.release(host, volume)
    _drop_unwanted(host, run, found)
    state = "suspended" if stays else "failed"
    with host.database.transaction() as tx:
        fly.enter(tx, run.resource, state, run.action, "flyd", {"error": outcome.error or outcome.ending.value})


def settle_update(host: Host, run: Run[object], outcome: Outcome) -> None:
    """Before the old version was asked to end, nothing has happened to it."""
    before = run.find(Was)
    if before is None:
        return
    if outcome.done or "fetched" in run.results:
        settle(host, run, outcome)
        return
    with host.database.transaction() as tx:
        found = fly.by_id(tx, run.resource)
        volume_rows.hold(tx, found.id, found.app, _mounts(found.config))
        fly.enter(tx, run.resource, before.state, "update", "flyd", {"error": outcome.error or outcome.ending.value})


def settle_suspend(host: Host, run: Run[object], outcome: Outcome) -> None:
    """One that could not be frozen runs on; of one that was not to be, nothing is said."""
    if outcome.done or outcome.code == "not_found":
        return
    if fly.by_id(host.database, run.resource).state == "suspending":
        _settle_still(host, run, outcome, "suspend")


def settle_rest(host: Host, run: Run[object], outcome: Outcome) -> None:
    """One that is used, or could not be frozen, runs on."""
    if outcome.done or outcome.code == "not_found":
        return
    if any(step in run.results for step in ("stopping", "freeze")):
        settle(host, run, outcome)
        return
    if fly.by_id(host.database, run.resource).state in ("stopping", "suspending"):
        _settle_still(host, run, outcome, "start")


def _settle_still(host: Host, run: Run[object], outcome: Outcome, type: str) -> None:
    """It runs on, but where its memory is on disk already: then it is suspended. One that does neither, as it hangs in
    between, is stopped, and begins anew."""
    id = MachineId(run.resource)
    stays = _sleeps(host, id)
    if stays:
        _let_go(host, run, id)
    elif machines.isolation_of(host, id) is not None:
        _thaw_or_stop(host, id)
    state = "suspended" if stays else "started"
    with host.database.transaction() as tx:
        fly.enter(tx, run.resource, state, type, "flyd", {"error": outcome.error or ""})


def _thaw_or_stop(host: Host, id: MachineId) -> None:
    try:
        machines.thaw(host, id)
    except errors.PilotError as error:
        log.warning("machine hangs half suspended, it is stopped", extra={"machine": id, "error": str(error)})
        machines.down(host, id)


# Parts


def _is_there(host: Host, id: MachineId) -> bool:
    """It runs, or stands still, with what is in its memory."""
    return _runs(host, id) or _sleeps(host, id)


def _sleeps(host: Host, id: MachineId) -> bool:
    return machines.isolation_of(host, id) is not None and machines.is_suspended(host, id)


def _runs(host: Host, id: MachineId) -> bool:
    return machines.isolation_of(host, id) is not None and machines.is_running(host, id)


def _api(host: Host, id: MachineId) -> PilotApi:
    return PilotApi(host.substrate(id).dial_path(id))


def _config(found: Machine) -> Config:
    try:
        return configs.parse(found.config)
    except errors.SpecError as error:
        raise UserFault(str(error)) from error
