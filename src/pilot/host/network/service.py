"""What pilotd's operations ask of the network: one machine at a time, everything repeatable.

ensure    gateway, uplink, zone; the policy is in force     before the machine starts, and when pilotd starts
connect   the machine's eth0 (or a tap)                     at each start of the machine
enforce   another policy, in force when it returns
refresh   the same, for one that may have no gateway, and whose peers may change at any time
remove    nothing is left

/run/pilot-network-<tag>/    zones/<machine>.json, resolver.sock; grants/<machine>.json, connectors.sock
<state-dir>/network/         resolver.log, connectors.log, defaults (the operator's list),
                             <machine>.log (decisions), <machine>.uses.log (of its connectors)
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.resources
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from ... import errors
from ...ids import MachineId
from ...kernel import netns, nftables
from . import apply, control, lines, policy, ruleset, zone
from .addresses import Address, Ends
from .connectors.authority import Authority
from .connectors.connector import Connector
from .connectors.grants import GRANTS, Grants
from .connectors.uses import Use, read_use
from .plan import Gateway, Settings
from .policy import Policy, Rule
from .supervisor import Supervisor
from .zone import Zone

_USES = "uses.log"
_PROTOCOLS: dict[str | int, str] = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp"}


@dataclasses.dataclass(frozen=True)
class Peer:
    """A machine in the same private network: `name` below `internal.` is what it is called, `number` is its own.

    It may be there under several names, and several under the same one."""

    name: str
    number: int


@dataclasses.dataclass(frozen=True)
class Member:
    """A machine with a network. `serial` grows with each change of policy or connectors. `names`: its own, below
    `internal.` With connectors it has an authority, too."""

    machine: MachineId
    number: int
    policy: Policy = dataclasses.field(default_factory=Policy)
    serial: int = 1
    peers: tuple[Peer, ...] = ()
    names: tuple[str, ...] = ()
    connectors: tuple[Connector, ...] = ()
    authority: Authority | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A destination that was refused lately."""

    address: str
    protocol: str
    port: int


class Report(msgspec.Struct, frozen=True):
    """What one machine's network did: packets and bytes by counter, questions by decision, the latest of both."""

    packets: dict[str, int]
    bytes: dict[str, int]
    questions: dict[str, int]
    refused: tuple[Refusal, ...]
    decisions: tuple[msgspec.Raw, ...]


class Networks:
    """Safe to use from any thread, for different machines at the same time."""

    def __init__(
        self, settings: Settings, state_dir: str, upstreams: Sequence[str] = (), key_path: str | None = None
    ) -> None:
        """`key_path`: of what secrets of connectors are sealed with; without it there are none."""
        self.settings = settings
        self._state_dir = os.path.join(state_dir, "network")
        self._directory = f"/run/pilot-network-{settings.tag}"
        options = [f"--upstream={server}" for server in upstreams]
        options += [f"--allow={network}" for network in settings.allowed]
        options += [f"--own={network}" for network in settings.range.networks]
        self._lock = threading.Lock()
        self._locks: dict[MachineId, threading.Lock] = {}
        log_path, group = os.path.join(self._state_dir, "resolver.log"), f"/pilot-{settings.tag}/resolver"
        self._supervisor = Supervisor(self._directory, options, log_path, group)
        self._connectors = None if key_path is None else self._connecting(key_path, options)
        self._connects = False

    def _connecting(self, key_path: str, options: Sequence[str]) -> Supervisor:
        who = control.CONNECTORS
        log_path, group = os.path.join(self._state_dir, f"{who}.log"), f"/pilot-{self.settings.tag}/{who}"
        return Supervisor(self._directory, [f"--key={key_path}", *options], log_path, group, who)

    @contextlib.contextmanager
    def _changing(self, machine: MachineId) -> Iterator[None]:
        """One at a time for each machine."""
        with self._lock:
            lock = self._locks.setdefault(machine, threading.Lock())
        with lock:
            yield

    @property
    def capacity(self) -> int:
        """How many machines can have a number at a time."""
        return self.settings.range.capacity

    @property
    def inside(self) -> tuple[Ends, ...]:
        """The link between a machine and its gateway, the same for all."""
        return self.settings.range.inside()

    def start(self) -> None:
        """The host is prepared, the resolver answers and is watched from now on. `HostError`."""
        self.start_host()
        self._supervisor.ensure()
        self._supervisor.watch()

    def start_host(self) -> None:
        """The host forwards, and its table is in force."""
        os.makedirs(self._state_dir, mode=0o700, exist_ok=True)
        apply.ensure_host(self.settings)

    def release(self) -> None:
        """Everything runs on without us."""
        for each in self._supervisors():
            each.release()

    def stop(self) -> None:
        """Resolver, connectors and host's table are gone; after the last `remove`."""
        for each in self._supervisors():
            each.stop()
        apply.remove_host(self.settings)

    def _supervisors(self) -> list[Supervisor]:
        return [each for each in (self._supervisor, self._connectors) if each is not None]

    def taken_numbers(self) -> frozenset[int]:
        """Those that somebody else on this host has."""
        return apply.taken_numbers(self.settings)

    def ensure(self, member: Member) -> None:
        """`HostError`, or `PeerError` when the resolver does not answer: the gateway lets nothing through then.

        `Conflict`: its number is somebody else's on this host.
        """
        apply.ensure_gateway(self._gateway(member))
        self.enforce(member)

    def connect(self, member: Member, machine_pid: int) -> None:
        """The network namespace of that process is the machine's."""
        apply.connect(self._gateway(member), machine_pid)

    def connect_tap(self, member: Member) -> int:
        """The caller owns the descriptor."""
        return apply.connect_tap(self._gateway(member))

    def is_connected(self, member: Member) -> bool:
        """Whether its gateway has a link to the machine."""
        return apply.is_connected(self._gateway(member))

    def enforce(self, member: Member) -> None:
        """The policy of `member` is in force when this returns."""
        with self._changing(member.machine):
            self._enforce(member)

    def refresh(self, machine: MachineId, member: Callable[[], Member]) -> None:
        """What `member()` says when nobody else changes it is in force. A machine without a gateway is left: its start
        does that."""
        with self._changing(machine):
            if netns.is_named(apply.gateway_path(machine)):
                self._enforce(member())

    def _enforce(self, member: Member) -> None:
        before, wanted = zone.read(self._directory, member.machine), self._zone(member)
        if wanted.internal or (before is not None and before.internal):
            found = (each for peer in member.peers for each in self._addresses(peer))
            apply.set_peers(self._gateway(member), list(dict.fromkeys(found)))
        if before is None or before.serial <= member.serial:  # else somebody has set a newer one meanwhile
            self._grant(member, wanted)  # before its names lead there
            zone.write(self._directory, wanted)
        self._sync(member.machine)

    def _grant(self, member: Member, wanted: Zone) -> None:
        """Its connectors, and no others, are in force. Whoever has none has nothing of it; `StateError` where nobody
        can have any."""
        machine = member.machine
        if not member.connectors or member.authority is None:
            if GRANTS.has(self._directory, machine):
                self._withdraw(machine)
            return
        granted = Grants(
            machine=machine,
            gateway=wanted.gateway,
            listen=wanted.listen,
            serial=member.serial,
            rules=wanted.rules,
            log=self._logs(machine, _USES)[0],
            authority=member.authority,
            connectors=member.connectors,
        )
        GRANTS.write(self._directory, machine, granted)
        self._tell_connectors(machine)

    def _withdraw(self, machine: MachineId) -> None:
        """It has none any more. Its file goes when nobody serves any: whoever is not told that finds it, and tries
        again."""
        before = GRANTS.read(self._directory, machine)
        if before is not None and before.connectors:
            GRANTS.write(self._directory, machine, msgspec.structs.replace(before, connectors=()))
        with contextlib.suppress(errors.HostError):  # then none of it is served at all (`Served.sync`)
            self._tell_connectors(machine)
        GRANTS.remove(self._directory, machine)
        self._tell_connectors(machine)

    def _tell_connectors(self, machine: MachineId) -> None:
        """Nobody is believed to have let go who does not say so."""
        self._ensure_connectors()
        control.ask(self._directory, control.Question("sync", machine), control.CONNECTORS)

    def _ensure_connectors(self) -> None:
        """They run from the first machine on that has one."""
        if self._connectors is None:
            raise errors.StateError("this pilotd keeps no secrets")
        with self._lock:
            if not self._connects:
                self._connectors.ensure()
                self._connectors.watch()
                self._connects = True

    def remove(self, machine: MachineId, number: int | None) -> None:
        """Nothing is left of it. A resolver that does not answer finds that out when it starts."""
        before = zone.read(self._directory, machine)
        if number is not None and before is not None and before.internal:
            apply.forget_peers(Gateway(machine, number, self.settings))
        zone.remove(self._directory, machine)
        GRANTS.remove(self._directory, machine)
        for who in (control.RESOLVER, control.CONNECTORS):
            try:
                control.ask(self._directory, control.Question("sync", machine), who)
            except errors.PeerError:
                pass  # not running: the file is gone before the next one reads it
        name = None if number is None else Gateway(machine, number, self.settings).uplink_name
        apply.remove_gateway(machine, name)
        with self._lock:
            self._locks.pop(machine, None)
        for path in (*self._logs(machine), *self._logs(machine, _USES)):
            if os.path.exists(path):
                os.unlink(path)

    def defaults(self) -> tuple[Rule, ...]:
        """The operator's list, else ours. `HostError` for one that cannot be read."""
        path = os.path.join(self._state_dir, policy.DEFAULTS)
        try:
            if os.path.exists(path):
                with open(path) as file:
                    return policy.parse_defaults(file.read())
            return policy.parse_defaults(importlib.resources.files(__package__).joinpath("defaults.txt").read_text())
        except (OSError, errors.SpecError) as error:
            raise errors.HostError(f"read {path}: {error}") from error

    def report(self, machine: MachineId, most: int = 200) -> Report:
        """What it did, with the last `most` decisions, oldest first. `NotFound`."""
        path = apply.gateway_path(machine)
        if not netns.is_named(path):
            raise errors.NotFound(f"machine {machine} has no network")
        counters, refused = _counters(path), _refused(path)
        questions = control.ask(self._directory, control.Question("status", machine))
        return Report(
            packets={counter.name: counter.packets for counter in counters},
            bytes={counter.name: counter.bytes for counter in counters},
            questions=msgspec.json.decode(questions, type=dict[str, int]),
            refused=refused,
            decisions=tuple(msgspec.Raw(line) for line in lines.read(self._logs(machine)[0])[-most:]),
        )

    def traffic(self, machine: MachineId) -> dict[str, int]:
        """Bytes by counter since it was made; nothing of one that there is not."""
        path = apply.gateway_path(machine)
        return {each.name: each.bytes for each in _counters(path)} if netns.is_named(path) else {}

    def uses(self, machine: MachineId, connector: str, most: int = 100) -> tuple[Use, ...]:
        """The last of that connector, oldest first: as far back as they are kept."""
        kept = map(read_use, lines.read(self.uses_path(machine)))
        return tuple(use for use in kept if use is not None and use.connector == connector)[-most:]

    def uses_path(self, machine: MachineId) -> str:
        """Where its connectors write what was asked with them (connectors/uses.py), when something was."""
        return self._logs(machine, _USES)[0]

    def _gateway(self, member: Member) -> Gateway:
        return Gateway(member.machine, member.number, self.settings)

    def _zone(self, member: Member) -> Zone:
        gateway = self._gateway(member)
        effective = policy.effective(member.policy, self.settings.egress, self.defaults())
        return Zone(
            machine=member.machine,
            gateway=gateway.path,
            listen=tuple(str(ends.near.ip) for ends in gateway.inside),
            serial=member.serial,
            rules=zone.rules_of(effective),
            queries_per_s=self.settings.limits.dns_queries_per_s,
            log=self._logs(member.machine)[0],
            internal=self._names(member),
            connected=tuple(host for each in member.connectors for host in each.hosts),
        )

    def _names(self, member: Member) -> dict[str, tuple[str, ...]]:
        """Its own lead to itself, as it is seen inside."""
        found: dict[str, list[str]] = {}
        for name in member.names:
            found[name] = [str(ends.far.ip) for ends in self.inside]
        for peer in member.peers:
            found.setdefault(peer.name, []).extend(map(str, self._addresses(peer)))
        return {f"{name}.{zone.INTERNAL}": tuple(addresses) for name, addresses in found.items()}

    def _addresses(self, peer: Peer) -> tuple[Address, ...]:
        """Of its gateway, which lets it be reached there."""
        return tuple(ends.near.ip for ends in self.settings.range.uplink(peer.number))

    def _sync(self, machine: MachineId) -> None:
        control.ask(self._directory, control.Question("sync", machine))

    def decisions_path(self, machine: MachineId) -> str:
        """Where the resolver writes what it has decided for it (resolver/log.py), when it has."""
        return self._logs(machine)[0]

    def _logs(self, machine: MachineId, kind: str = "log") -> tuple[str, str]:
        return lines.paths(os.path.join(self._state_dir, f"{machine}.{kind}"))


# ---- what nftables lists (libnftables-json(5)) ----------------------------------------------------------------------


class _Counter(msgspec.Struct, frozen=True):
    name: str
    packets: int
    bytes: int


class _Value(msgspec.Struct, frozen=True):
    """Address, protocol (a number on a host without /etc/protocols), port."""

    concat: tuple[str, str | int, int]


class _Inner(msgspec.Struct, frozen=True):
    val: _Value


class _Element(msgspec.Struct, frozen=True):
    elem: _Inner


class _Set(msgspec.Struct, frozen=True):
    elem: tuple[_Element, ...] = ()


class _Entry(msgspec.Struct, frozen=True):
    counter: _Counter | None = None
    set: _Set | None = None


class _Listing(msgspec.Struct, frozen=True):
    nftables: tuple[_Entry, ...]


def _listed(path: str, script: str) -> tuple[_Entry, ...]:
    return msgspec.json.decode(nftables.query(script, path), type=_Listing).nftables


def _counters(path: str) -> list[_Counter]:
    entries = _listed(path, f"list counters table {ruleset.TABLE}")
    return [entry.counter for entry in entries if entry.counter is not None]


def _refused(path: str) -> tuple[Refusal, ...]:
    found = []
    for version in (4, 6):
        for entry in _listed(path, f"list set {ruleset.TABLE} refused{version}"):
            elements = entry.set.elem if entry.set is not None else ()
            found += [_refusal(*element.elem.val.concat) for element in elements]
    return tuple(found)


def _refusal(address: str, protocol: str | int, port: int) -> Refusal:
    return Refusal(address, _PROTOCOLS.get(protocol, str(protocol)), port)
