"""Create a sprite: on a fork of the base volume, of another sprite's disk or of a Machine's root, or on a disk that is
in the store."""

from __future__ import annotations

from ... import errors
from ...ids import CheckpointId, MachineId, VolumeId
from ...wire import operations
from ..fsm.operation import Run
from ..fsm.outcome import Abort, Outcome, UserFault
from ..network import policy
from ..store import bases, checkpoints, fly, sprites
from ..store.journal import now_us
from ..store.sprites import Sprite
from . import arrive, cut, destroy, disks, machines, networks
from .context import Host
from .fly_disks import root_volume
from .requests import Create, MakeMember, OfMachine, Stored


def record(host: Host, run: Run[Create]) -> None:
    """The row that holds the name: a new one, or that of the pool's member that the request has claimed."""
    if run.request.claimed is None:
        _check_room(host)
    write = sprites.insert if run.request.claimed is None else sprites.take_over
    try:
        with host.database.transaction() as tx:
            write(tx, _row(run.resource, run.request, "creating"))
    except errors.Conflict as error:
        raise UserFault(str(error), code="conflict") from error


def _check_room(host: Host) -> None:
    """`UserFault` when the host's disk has less than what its sprites are to have left."""
    if not host.keep_free_bytes:
        return
    free = host.volumes.status().free_bytes
    if free < host.keep_free_bytes:
        raise UserFault(
            f"create: the host's disk has {free >> 20} MiB left for sprites, of which {host.keep_free_bytes >> 20} are "
            "kept for those that there are",
            code="no_room",
            hint="destroy what is not needed, or delete checkpoints",
        )


def record_member(host: Host, run: Run[MakeMember]) -> None:
    _check_room(host)  # of those that are there a create takes one also when there is no room for more
    with host.database.transaction(durable=False) as tx:
        sprites.insert(tx, _member(run))


def member_ready(host: Host, run: Run[object]) -> None:
    """Asked once, the agent has imported what it imports late, and compiled what it compiles at a first command."""
    host.api(host.sprite(run.resource)).call(operations.EXECUTE, b"", query=[("cmd", "true")])
    with host.database.transaction(durable=False) as tx:
        sprites.update(tx, run.resource, phase="pooled")


def _member(run: Run[MakeMember]) -> Sprite:
    wanted = run.request
    nobody = Create(
        wanted.organisation, wanted.name, wanted.suffix, wanted.machine, wanted.volume, config=wanted.config
    )
    return _row(run.resource, nobody, "pooling")


def _row(id: str, wanted: Create, phase: str) -> Sprite:
    now = now_us()
    return Sprite(
        id=id,
        organisation=wanted.organisation,
        name=wanted.name,
        suffix=wanted.suffix,
        machine=None,
        volume=wanted.volume,
        phase=phase,
        labels=wanted.labels,
        url_settings=wanted.url_settings,
        environment=wanted.environment,
        config=wanted.config,
        current_source=None,
        created_us=now,
        updated_us=now,
        last_running_us=None,
        last_warming_us=None,
        lifecycle=wanted.lifecycle,
        privileges=wanted.privileges,
    )


def member_disk(host: Host, run: Run[MakeMember]) -> None:
    _fork_base(host, run.request.volume)


def _fork_base(host: Host, volume: VolumeId) -> None:
    try:
        host.volumes.fork(_base(host), volume)
    except errors.Conflict:
        pass  # an earlier attempt of this run made it: the id is this run's alone


def disk(host: Host, run: Run[Create]) -> None:
    """The sprite's own volume. A fork is metadata only."""
    if run.request.claimed is None:  # a member of the pool has its own
        _make_disk(host, run)
    if disks.quota_bytes(host, run.request.config):
        disks.limit(host, run.request.volume, run.request.config)


def _make_disk(host: Host, run: Run[Create]) -> None:
    source = run.request.source
    try:
        if source is None:
            _fork_base(host, run.request.volume)
        elif isinstance(source, Stored):
            arrive.disk(host, run, source.url)
        elif isinstance(source, OfMachine):
            _fork_machine(host, source.machine, run.request.volume)
        else:
            _fork_sprite(host, source.sprite, source.checkpoint, run.request.volume)
    except errors.Conflict:
        pass  # an earlier attempt of this run made it: the id is this run's alone
    except errors.NoRoom as error:
        raise UserFault(f"create: {error}", code="no_room", hint=error.hint) from error
    except errors.NotFound as error:
        if source is None:
            raise
        raise UserFault(f"create: {error}", code="not_found") from error  # destroyed meanwhile, and gone for good


def _base(host: Host) -> VolumeId:
    base = bases.find(host.database, host.variant)
    if base is None:
        raise Abort(f"create: there is no base volume for image {host.variant}")
    return base


def _fork_sprite(host: Host, source_id: str, checkpoint: CheckpointId | None, volume: VolumeId) -> None:
    source = host.sprite(source_id)
    if source.phase == "destroying":
        raise UserFault("sprite not found", code="not_found")
    if checkpoint is None:
        cut.quiesced(host, source, lambda: host.volumes.fork(source.volume, volume))  # as it is now, at rest
        return
    try:
        checkpoints.find(host.database, source.id, checkpoint)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error
    host.volumes.fork(source.volume, volume, checkpoint)


def join(host: Host, run: Run[Create]) -> None:
    """Its network is as the request says before anything of the sprite runs."""
    wanted = run.request.joins
    if wanted is None or host.networks is None:
        return
    machine = host.machine(host.sprite(run.resource)).id
    networks.enforce(host, machine, policy.parse(wanted.policy))
    if wanted.private is not None:
        networks.join(host, machine, wanted.private)


def _fork_machine(host: Host, id: MachineId, volume: VolumeId) -> None:
    """As it is; a guest that runs may not have written yet what it has."""
    found = fly.by_id(host.database, id)
    if host.substrate(id).mounts_in_guest and machines.is_running(host, id):
        raise UserFault(f"machine {id} is a virtual machine that runs: stop it first", code="failed_precondition")
    host.volumes.fork(root_volume(id, 0, found.images[0].digest), volume)


def settle_member(host: Host, run: Run[object], outcome: Outcome) -> None:
    """One that failed leaves nothing."""
    if not outcome.done:
        destroy.everything(host, run.resource)


def settle(host: Host, run: Run[Create], outcome: Outcome) -> None:
    """A create that failed leaves nothing: neither name nor disk nor machine, nor the member that it claimed.

    A disk that came from the store stays."""
    if outcome.done:
        return
    if isinstance(run.request.source, Stored):
        arrive.give_up(host, run)
    else:
        destroy.everything(host, run.resource)
