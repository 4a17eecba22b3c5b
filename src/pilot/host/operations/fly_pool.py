"""Members of the pool of Machines: machines that run, each with roots that it was given, before anybody wants them.

make-member   member → roots → machine → boot → warm     rows of its own; a root is a fork of an image's base
launch        record takes the member over → disks, machine, boot find most of it done → graph → started
drop-member   machine → disks → forget                   what nobody has taken

A member has its roots mounted in its machine. One that is wanted otherwise has them taken away first; when its machine
does not let go of them, it is stopped, and begins anew. Where a machine has its disks from its start on
(`mounts_in_guest`) there can be none.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from ... import errors
from ...ids import MachineId, VolumeId
from ...machine.pilot_api import PilotApi
from ...wire import operations
from ..fly import config as configs
from ..fly.config import Config
from ..fsm.documents import NO_REQUEST, Format
from ..fsm.operation import Action, Run
from ..fsm.outcome import Outcome, UserFault
from ..store import fly, fly_members
from ..store import machines as rows
from ..store.database import Transaction
from ..store.fly import Machine
from ..store.fly_members import Member
from . import fly_disks, machines
from .context import Host
from .fly_requests import MACHINE

log = logging.getLogger(__name__)


class MakeMember(msgspec.Struct, frozen=True):
    """`digests`: of the images of its roots."""

    digests: tuple[str, ...]


MAKE = Action(MACHINE, "make-member", Format[MakeMember](MakeMember))
DROP = Action(MACHINE, "drop-member", NO_REQUEST)


def member(host: Host, run: Run[MakeMember]) -> None:
    """Written down with its machine, of the size that most Machines have."""
    size = configs.size(Config())
    with host.database.transaction(durable=False) as tx:
        fly_members.add(tx, Member(MachineId(run.resource), run.request.digests))
        rows.assign(tx, MachineId(run.resource), host.isolation.value, size.memory_bytes, size.cpus, size.pids)


def make_roots(host: Host, run: Run[MakeMember]) -> None:
    """Forked."""
    id = MachineId(run.resource)
    for number, digest in enumerate(run.request.digests):
        base = fly.base(host.database, digest)
        if base is None:
            raise UserFault(f"image {digest} is not wanted any more", code="not_found")
        fly_disks.fork(host, base, fly_disks.root_volume(id, number, digest))


def make_machine(host: Host, run: Run[object]) -> None:
    machines.make(host, rows.find(host.database, MachineId(run.resource)))


def boot(host: Host, run: Run[MakeMember]) -> None:
    """It runs, and has its roots, which are attached meanwhile."""
    id = MachineId(run.resource)
    wanted = {fly_disks.root_name(number): volume for number, volume in enumerate(_roots(id, run.request.digests))}
    is_up = machines.is_up(host, id)
    there = fly_disks.there(host, id) if is_up else frozenset()
    missing = {name: volume for name, volume in wanted.items() if name not in there}
    with fly_disks.mounting(host, id, missing, anew=frozenset()) as take:
        if not is_up:
            machines.start(host, id)
        fly_disks.give_all(host, id, tuple(wanted), missing, take)


def warm(host: Host, run: Run[object]) -> None:
    """Asked once for each, the agent has imported what it imports late."""
    api = PilotApi(host.substrate(MachineId(run.resource)).dial_path(MachineId(run.resource)))
    api.call(operations.LIST_DISKS, None)
    api.call(operations.GET_GRAPH, None)


def settle(host: Host, run: Run[MakeMember], outcome: Outcome) -> None:
    """One that failed leaves nothing, even when the host has lost power, and with it what was written of it."""
    if not outcome.done:
        _everything(host, Member(MachineId(run.resource), run.request.digests))


# Taken over


def drop_unwanted(host: Host, found: Machine, digests: tuple[str, ...]) -> None:
    """Roots that the member was given, and the Machine does not want: of another image, whatever they are called, as
    their names have no more than the beginning of a digest."""
    wanted = dict(enumerate(image.digest for image in found.images))
    unwanted = [number for number, digest in enumerate(digests) if wanted.get(number) != digest]
    if unwanted:
        _take_away(host, found.id, [fly_disks.root_name(number) for number in unwanted])
    volumes = _roots(found.id, digests)
    fly_disks.drop_all(host, [volumes[number] for number in unwanted])


def _take_away(host: Host, id: MachineId, names: Sequence[str]) -> None:
    """From its machine, if that runs: what is mounted there under these names is to be another one's."""
    if machines.isolation_of(host, id) is None or not machines.is_running(host, id):
        return
    api = PilotApi(host.substrate(id).dial_path(id))
    try:
        for name in names:
            api.call(operations.UNMOUNT_DISK, None, name=name)
    except errors.PilotError as error:
        log.warning("member keeps its roots, it is stopped", extra={"machine": id, "error": str(error)})
        machines.down(host, id)


def fit(host: Host, machine: rows.Machine) -> None:
    """One that runs has that size; one that cannot have it now is stopped, and begins with it."""
    try:
        with machines.admitted(host, machine):
            done = host.substrate(machine.id).resize(machines.spec_of(machine))
    except errors.HostError:
        done = False
    if not done:
        machines.down(host, machine.id)


# Not taken


def destroy_machine(host: Host, run: Run[object]) -> None:
    """Nothing, when somebody has taken it meanwhile."""
    if fly_members.find(host.database, run.resource) is not None:
        machines.destroy(host, MachineId(run.resource))


def destroy_roots(host: Host, run: Run[object]) -> None:
    found = fly_members.find(host.database, run.resource)
    if found is not None:
        fly_disks.drop_all(host, _roots(found.machine, found.digests))


def forget(host: Host, run: Run[object]) -> None:
    _forget(host, run.resource)


def everything(host: Host, id: str) -> None:
    """Of a member that is there, or half there. Nothing of one that somebody has taken."""
    found = fly_members.find(host.database, id)
    if found is not None:
        _everything(host, found)


def _everything(host: Host, member: Member) -> None:
    machines.destroy(host, member.machine)
    fly_disks.drop_all(host, _roots(member.machine, member.digests))
    _forget(host, member.machine)


def _forget(host: Host, id: str) -> None:
    def write(tx: Transaction) -> None:
        rows.delete(tx, MachineId(id))
        fly_members.give_away(tx, id)

    if fly_members.find(host.database, id) is not None:
        host.database.write_surely(write, durable=False)


def _roots(id: MachineId, digests: tuple[str, ...]) -> list[VolumeId]:
    return [fly_disks.root_volume(id, number, digest) for number, digest in enumerate(digests)]
