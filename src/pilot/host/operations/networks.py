"""Networks of machines: numbered by the store, made by `network.service`. A host without the service has none.

linking   row → gateway, zone, policy in force ─► what joins the machine to it     at each start of the machine
relink    the same for one that runs                                               at each further start of its world
enforce   another policy
renew     as the store has it now: connectors that have changed
join      another private network, or none; its other members hear of it
tell_siblings   Machines of an app are each other's peers, and nobody else's
remove    nothing is left; the row is its owner's to delete
restore   those that there were, for a pilotd that starts
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ... import errors
from ...ids import MachineId
from ...wire import schema
from ..network import policy
from ..network.addresses import Ends
from ..network.connectors.uses import Use
from ..network.service import Member, Peer, Report
from ..store import networks as rows
from ..store.networks import Network
from ..vmm import Link, MachineStatus
from . import connecting
from .context import Host, Networks

log = logging.getLogger(__name__)

RESTORED_AT_ONCE = 8


class _Joined:
    """A `vmm.Link`: `ready()` returns when the gateway is there, and whose it is."""

    def __init__(self, networks: Networks, ready: Callable[[], Member]) -> None:
        self._networks = networks
        self._ready = ready

    def join(self, pid: int) -> None:
        self._networks.connect(self._ready(), pid)

    def tap(self) -> int:
        return self._networks.connect_tap(self._ready())


@contextlib.contextmanager
def linking(host: Host, id: MachineId) -> Iterator[Link | None]:
    """A link for a machine that is started in the block; None where it has no network.

    The gateway is made meanwhile, in a thread: the link waits for it, and so does the end of the block, whatever
    happens in it. Its policy is in force before anything passes.
    """
    if host.networks is None:
        yield None
        return
    networks = _service(host, id)
    is_new = rows.find(host.database, id) is None
    with host.database.transaction(durable=False) as tx:
        row = rows.assign(tx, id, networks.capacity)
    if is_new:
        tell_siblings(host, id)
    member = _member(host, row)
    with concurrent.futures.ThreadPoolExecutor(1, f"network-{id}") as pool:
        yield _Joined(networks, pool.submit(_ensure, host, networks, member).result)


def _ensure(host: Host, networks: Networks, member: Member) -> Member:
    """Its gateway is there. It gets another number as long as somebody else on this host has the one it has."""
    tried: set[int] = set()
    while True:
        try:
            networks.ensure(member)
            if _present(host, member.machine).peers != member.peers:  # it has joined, or been joined, meanwhile
                networks.refresh(member.machine, functools.partial(_present, host, member.machine))
            return member
        except errors.Conflict as error:
            log.info("network gets another number", extra={"machine": member.machine, "error": str(error)})
            tried.add(member.number)
        taken = networks.taken_numbers() | tried
        with host.database.transaction() as tx:
            row = rows.renumber(tx, member.machine, networks.capacity, taken)
        member = _member(host, row)
        _tell(host, networks, _beside(host, member.machine))


def relink(host: Host, id: MachineId) -> None:
    """A machine that runs is linked anew, where it has a network: a world that has ended has taken its link along."""
    if host.networks is None:
        return
    networks = _service(host, id)
    with host.database.transaction(durable=False) as tx:
        row = rows.assign(tx, id, networks.capacity)
    member = _ensure(host, networks, _member(host, row))
    host.substrate(id).rejoin(id, _Joined(networks, lambda: member))


def seen_inside(host: Host, id: MachineId) -> schema.NetworkCard | None:
    """What the machine is told of its network; None where it has none."""
    if host.networks is None:
        return None
    ends = _service(host, id).inside
    return schema.NetworkCard(
        addresses=[str(each.far) for each in ends],
        gateways=[str(each.near.ip) for each in ends],
        policy=policy_of(host, id).as_json(),
        authority=_believed(host, id),
    )


def _believed(host: Host, id: MachineId) -> str | None:
    """What its programs are to believe of its connectors, as long as it has any."""
    found = connecting.authority(host, id) if connecting.hosts(host.database, id) else None
    return None if found is None else found.certificate


def ends_inside(host: Host, id: MachineId) -> Sequence[Ends]:
    """Its addresses as it sees them; none without a network."""
    return () if host.networks is None else _service(host, id).inside


def enforce(host: Host, id: MachineId, wanted: policy.Policy) -> None:
    """Written down, and in force when it returns. `StateError` for a machine without a network."""
    networks = _service(host, id)
    with host.database.transaction() as tx:
        rows.assign(tx, id, networks.capacity)
        row = rows.set_policy(tx, id, wanted.as_json())
    _ensure(host, networks, _member(host, row))


def renew(host: Host, id: MachineId) -> None:
    """What the store says of its network is in force when this returns, where the machine has a gateway; else its start
    does that. `StateError` for a machine without a network."""
    _service(host, id).refresh(id, functools.partial(_present, host, id))


def uses(host: Host, id: MachineId, connector: str) -> Sequence[Use]:
    """What was last asked with that connector."""
    return _service(host, id).uses(id, connector)


def ensure_row(host: Host, id: MachineId) -> None:
    """It has a number, so that there is something to be said of its network. `StateError` as above."""
    networks = _service(host, id)
    with host.database.transaction() as tx:
        rows.assign(tx, id, networks.capacity)


def join(host: Host, id: MachineId, private: str | None) -> None:
    """Written down, and in force when it returns: who was left is out of reach, both ways. `StateError` as above.

    A machine of the same network that cannot be told now hears of it at its next start.
    """
    networks = _service(host, id)
    ensure_row(host, id)
    before = _beside(host, id)
    with host.database.transaction() as tx:
        rows.set_private(tx, id, private)
    networks.refresh(id, functools.partial(_present, host, id))
    _tell(host, networks, [*before, *_beside(host, id)])


def private_of(host: Host, id: MachineId) -> tuple[str | None, list[rows.Peer]]:
    """The private network that it is in, and the other machines there."""
    row = rows.find(host.database, id)
    return (row.private if row else None), rows.peers(host.database, id)


def tell_siblings(host: Host, id: MachineId) -> None:
    """Which Machines of the app there are, or run, has changed."""
    if host.networks is not None:
        _tell(host, host.networks, (each.machine for each in rows.siblings(host.database, id) if each.network))


def _beside(host: Host, id: MachineId) -> list[MachineId]:
    """Those in the same private network."""
    siblings = [each.machine for each in rows.siblings(host.database, id) if each.network and each.machine != id]
    return [peer.network.machine for peer in rows.peers(host.database, id)] + siblings


def _tell(host: Host, networks: Networks, peers: Iterable[MachineId]) -> None:
    """Theirs has changed. Security does not wait for them: each gateway lets in, and out, by itself."""
    for machine in dict.fromkeys(peers):
        try:
            networks.refresh(machine, functools.partial(_present, host, machine))
        except errors.PilotError as error:
            log.warning("machine not told of its peers", extra={"machine": machine, "error": str(error)})


def _present(host: Host, id: MachineId) -> Member:
    """As the store has it now. `NotFound`."""
    row = rows.find(host.database, id)
    if row is None:
        raise errors.NotFound(f"machine {id} has no network")
    return _member(host, row)


def report(host: Host, id: MachineId) -> Report:
    """`StateError` for a machine without a network; `NotFound` for one that has not been started since the host was."""
    return _service(host, id).report(id)


def traffic(host: Host, id: MachineId) -> Mapping[str, int]:
    """Bytes by counter; nothing for a machine without a network."""
    return {} if host.networks is None else host.networks.traffic(id)


def _service(host: Host, id: MachineId) -> Networks:
    if host.networks is None:
        raise errors.StateError(f"machine {id} has no network")
    return host.networks


def policy_of(host: Host, id: MachineId) -> policy.Policy:
    """As it was given; one without rules where there is none."""
    row = rows.find(host.database, id)
    return policy.Policy() if row is None else policy.parse(row.policy)


def remove(host: Host, id: MachineId) -> None:
    """Nothing of it is left on this host."""
    row = rows.find(host.database, id)
    if host.networks is None or row is None:
        return
    beside = _beside(host, id)
    host.networks.remove(id, row.number)
    if row.private is not None:
        with host.database.transaction() as tx:
            rows.set_private(tx, id, None)
    _tell(host, host.networks, beside)


def restore(host: Host) -> None:
    """All that there were, after pilotd or the host has started; one that fails is tried again when it is needed."""
    found = rows.every(host.database)
    with concurrent.futures.ThreadPoolExecutor(RESTORED_AT_ONCE, "networks") as pool:
        list(pool.map(lambda row: _restore(host, row), found))


def _restore(host: Host, row: Network) -> None:
    assert host.networks is not None
    try:
        if host.substrate(row.machine).status(row.machine) not in (MachineStatus.RUNNING, MachineStatus.FROZEN):
            return  # its start makes it
        networks, member = host.networks, _ensure(host, host.networks, _member(host, row))
        if not networks.is_connected(member):
            host.substrate(row.machine).rejoin(row.machine, _Joined(networks, lambda: member))
    except errors.PilotError as error:
        log.error("network not restored", extra={"machine": row.machine, "error": str(error)})


def _member(host: Host, row: Network) -> Member:
    found = () if row.private is None else rows.peers(host.database, row.machine)
    peers = [Peer(peer.sprite, peer.network.number) for peer in found]
    names: list[str] = []
    for each in rows.siblings(host.database, row.machine):
        called = [f"{each.machine}.vm.{each.app}", *([each.app] if each.runs else [])]
        if each.machine == row.machine:
            names += called
        elif each.network is not None:
            peers += [Peer(name, each.network.number) for name in called]
    return Member(
        row.machine,
        row.number,
        policy.parse(row.policy),
        row.serial,
        tuple(peers),
        tuple(names),
        connecting.granted(host, row.machine),
        connecting.authority(host, row.machine),
    )
