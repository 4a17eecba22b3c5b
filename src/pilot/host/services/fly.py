"""What the Machines API may ask of pilotd: apps and Machines, rows and running operations.

As `services.sprites`: every method is quick but those that say so. A lease that somebody else holds is a `LeaseHeld`;
what does not fit the state of a Machine is a `StateError`.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Collection, Mapping
from typing import Literal

from ... import errors, ids
from ...ids import MachineId
from ...wire import timestamps
from ..fly import checks, metadata, plausible, refused, services
from ..fly import config as configs
from ..fly.addresses import Range
from ..fly.config import Config
from ..fsm.documents import Nothing
from ..fsm.engine import Ended, Engine
from ..operations import fly as steps
from ..operations import fly_requests as requests
from ..operations.context import Host
from ..operations.fly_requests import MACHINE, Begin, Halt, Launch, Update
from ..store import fly
from ..store.database import Database, Transaction
from ..store.fly import App, Event, Lease, Machine
from ..store.journal import now_us
from . import addresses
from .app_connectors import AppConnectors
from .fly_images import FlyImages, MayRead, nobodys
from .fly_keys import FlyKeys
from .fly_pool import FlyPool
from .fly_processes import FlyProcesses
from .fly_secrets import FlySecrets
from .fly_volumes import FlyVolumes
from .fly_ways import FlyWays
from .threads import Threads

REGION = "local"
DEFAULT_LEASE_S = 13
MOST_LEASE_S = 24 * 3600
_MOST_LOOKED_UP, _MOST_LOOKED_UP_OF_ONE = 32, 8
# From which states a verb begins (from those that pass, when they have passed); in those after, it has nothing to do.
_BEGINS = {
    "start": (
        frozenset({"created", "stopped", "suspended", "failed", "stopping", "suspending"}),
        frozenset({"started", "starting"}),
    ),
    "stop": (frozenset({"created", "started", "starting", "suspended", "failed"}), frozenset({"stopped", "stopping"})),
    "restart": (frozenset({"started", "stopped", "suspended", "failed"}), frozenset()),
    "suspend": (frozenset({"started", "starting"}), frozenset({"suspended", "suspending"})),
}
# Of these nothing runs.
_STILL = frozenset({"created", "stopped", "failed", "destroying"})
AT_REST = frozenset({"created", "stopped", "suspended", "failed"})
LASTING = AT_REST | {"started", fly.DESTROYED}


class LeaseHeld(errors.Conflict):
    """Somebody else may change the Machine now."""


@dataclasses.dataclass(frozen=True)
class NewMachine:
    """`name` "": one is made. `lease_s`: it is leased to its creator for so long."""

    name: str
    region: str
    config: dict[str, object]
    launch: bool = True
    lease_s: int | None = None


class FlyMachines:
    """`organisation` is an id throughout. `addresses`: from which apps get their own; None: they have none.

    What asks registries (`create`, `update`) is done in `looking_up`, as of the organisation: a registry may say
    nothing for a minute.
    """

    def __init__(self, host: Host, engine: Engine, addresses: Range | None = None, pool: FlyPool | None = None) -> None:
        self._host = host
        self._engine = engine
        self._pool = FlyPool(host, engine) if pool is None else pool
        self._images = FlyImages(host)
        self.looking_up = Threads("look images up", _MOST_LOOKED_UP, _MOST_LOOKED_UP_OF_ONE)
        self.volumes = FlyVolumes(host, engine)
        self.secrets = FlySecrets(host)
        self.keys = FlyKeys(host)
        self.connectors = AppConnectors(host)
        self.ways = FlyWays(host, addresses)
        self.processes = FlyProcesses(host, engine, self.check_lease)

    @property
    def database(self) -> Database:
        return self._host.database

    # Apps

    def apps(self, organisation: str) -> list[App]:
        return fly.apps(self.database, organisation)

    def app(self, organisation: str, name: str) -> App:
        return fly.app(self.database, organisation, name)

    def create_app(self, organisation: str, name: str, network: str) -> App:
        """`Conflict` for a name that is taken, or an address of which (`PORT-NAME`) would be that of another app."""
        made = App(secrets.token_hex(8), organisation, ids.parse_sprite_name(name), network, now_us())
        with self.database.transaction() as tx:
            if _is_taken_for_another(tx, made.name):
                raise errors.Conflict(f"Name could not be told from a port of an app (PORT-APP): {made.name}")
            fly.add_app(tx, made)
        return made

    def destroy_app(self, app: App) -> list[Ended]:
        """Its Machines are being destroyed; when they are, its volumes can be, and then it can be deleted."""
        left = [row for row in self.machines(app) if row.state != fly.DESTROYED]
        return [self.destroy(row, None, force=True) for row in left]

    def delete_app(self, app: App) -> None:
        """`StateError` while it has Machines or volumes."""
        with self.database.transaction() as tx:
            fly.delete_app(tx, app.id)

    # Machines

    def machines(self, app: App) -> list[Machine]:
        """Also those that were destroyed."""
        return fly.every(self.database, app.id)

    def undestroyed(self, app: App) -> list[Machine]:
        return fly.undestroyed(self.database, app.id)

    def machine(self, app: App, id: str) -> Machine:
        return fly.find(self.database, app.id, id)

    def machine_by_id(self, row: Machine) -> Machine:
        """As it is by now. `NotFound` when its app was deleted."""
        return fly.by_id(self.database, row.id)

    def happened(self, row: Machine, most: int = fly.MOST_EVENTS) -> list[Event]:
        return fly.happened(self.database, row.id, most)

    def happened_of_all(self, app: str, *, also_destroyed: bool) -> dict[str, list[Event]]:
        """Of each Machine of the app, by id."""
        return fly.happened_of_all(self.database, app, also_destroyed=also_destroyed)

    def versions(self, row: Machine) -> list[tuple[str, Mapping[str, object]]]:
        return fly.versions(self.database, row.id)

    def private_ip(self, row: Machine) -> str:
        return steps.private_ip(self._host, row.id)

    def create(self, app: App, wanted: NewMachine, may_read: MayRead = nobodys) -> tuple[MachineId, Ended]:
        """Its id, and the run. Asks what the images are (`FlyImages.find`): this takes as long as a registry."""
        config = _parse(wanted.config)
        metadata.check(config.metadata or {})
        images = self._images.find(app.organisation, config, may_read)
        digests = tuple(image.digest for image in images)
        fly.check_name(self.database, app.id, wanted.name)  # before a member of the pool is taken for it
        member = self._pool.claim(digests) if wanted.launch else None
        id = member.machine if member else ids.new_machine_id()
        nonce = secrets.token_hex(16) if wanted.lease_s else None
        request = Launch(
            app=app.id,
            name=wanted.name or f"{app.name}-{id[:6]}",
            region=wanted.region or REGION,
            version=new_version(),
            config=wanted.config,
            images=images,
            metadata=config.metadata or {},
            launch=wanted.launch,
            lease_nonce=nonce,
            lease_expires_us=lease_end_us(wanted.lease_s or 0),
            claimed=member.digests if member else None,
        )
        try:
            ended = self._engine.start(requests.LAUNCH, id, request)
        except BaseException:
            if member is not None:
                self._pool.give_back(member)
            raise
        if wanted.launch:
            self._pool.wanted(digests, ended)
        return id, ended

    def start(self, row: Machine, nonce: str | None, source: Literal["user", "flyd"] = "user") -> Ended | None:
        """None when it runs already, or is about to."""
        if not self._begins("start", row, nonce):
            return None
        return self._engine.join(requests.START, row.id, Begin(source))

    def stop(self, row: Machine, nonce: str | None, how: Halt) -> Ended | None:
        """None as above."""
        if not self._begins("stop", row, nonce):
            return None
        return self._engine.join(requests.STOP, row.id, how)

    def restart(self, row: Machine, nonce: str | None, how: Halt) -> Ended:
        self._begins("restart", row, nonce)
        return self._engine.join(requests.RESTART, row.id, how)

    def suspend(self, row: Machine, nonce: str | None) -> Ended | None:
        """None as above."""
        if not self._begins("suspend", row, nonce):
            return None
        return self._engine.join(requests.SUSPEND, row.id, Nothing())

    def rest(self, row: Machine, *, suspend: bool) -> Ended:
        """As `stop` or `suspend`, unless somebody uses it by then, or leases it."""
        return self._engine.join(requests.REST_SUSPEND if suspend else requests.REST_STOP, row.id, Nothing())

    def _begins(self, verb: str, row: Machine, nonce: str | None) -> bool:
        """Whether there is something to do."""
        self.check_lease(row, nonce)
        begins, done = _BEGINS[verb]
        if row.state in done:
            return False
        if row.state == "replacing":
            raise errors.StateError(f"machine getting replaced, refusing to {verb}")
        if row.state not in begins and not (verb == "suspend" and self._is_launching(row)):
            raise errors.StateError(f"unable to {verb} machine from current state: '{row.state}'")
        return True

    def _is_launching(self, row: Machine) -> bool:
        """Its launch has not come further than that it is there: what is asked for now follows it."""
        return row.state == "created" and any(
            (run.kind, run.action, run.resource) == (MACHINE, requests.LAUNCH.name, row.id)
            for run in self._engine.active()
        )

    def update(
        self,
        row: Machine,
        nonce: str | None,
        config: dict[str, object],
        version: str,
        launch: bool,
        may_read: MayRead = nobodys,
    ) -> Ended:
        """Another version. `version`: the one that there is, if the caller says. Takes as long as `create`."""
        self.check_lease(row, nonce)
        if version and version != row.version:
            raise errors.StateError(f"current machine version is {row.version}, not {version}")
        if row.state not in LASTING - {fly.DESTROYED}:
            raise errors.StateError(f"unable to update machine from current state: '{row.state}'")
        organisation = fly.app_of(self.database, row).organisation
        images = self._images.find(organisation, _parse(config), may_read, row.images)
        return self._engine.start(requests.UPDATE, row.id, Update(new_version(), config, images, launch))

    def destroy(self, row: Machine, nonce: str | None, *, force: bool) -> Ended:
        """Ends what is under way for it first."""
        if row.state == fly.DESTROYED:
            raise errors.NotFound("machine not found")
        if not force:
            self.check_lease(row, nonce)
            if row.state not in AT_REST:
                raise errors.StateError(f"unable to destroy machine, not currently stopped, currently {row.state}")
        self._engine.cancel(MACHINE, row.id, but=requests.DESTROY.name)
        return self._engine.join(requests.DESTROY, row.id, Nothing())

    def stop_all(self) -> dict[str, Ended]:
        """By id, whatever leases there are: pilotd ends, and is to leave nothing behind."""
        rows = [row for row in fly.every(self.database) if row.state not in _STILL]
        return {row.id: self._engine.join(requests.STOP, row.id, Halt()) for row in rows}

    def cordon(self, row: Machine, nonce: str | None, *, cordoned: bool) -> None:
        self.check_lease(row, nonce)
        with self.database.transaction() as tx:
            fly.change(tx, row.id, cordoned=cordoned)

    def change_metadata(self, row: Machine, put: Mapping[str, str], drop: Collection[str] = ()) -> None:
        """Of what there is by now. No new version. `SpecError` beyond what is kept (`fly.metadata`)."""
        with self.database.transaction() as tx:
            kept = fly.by_id(tx, row.id).metadata
            made = metadata.changed(kept, put, drop)
            if made != kept:
                fly.change(tx, row.id, metadata=made)

    def replace_metadata(self, row: Machine, whole: Mapping[str, str]) -> None:
        """As `change_metadata`."""
        metadata.check(whole)
        with self.database.transaction() as tx:
            fly.change(tx, row.id, metadata=dict(whole))

    # Leases

    def lease(self, row: Machine) -> Lease | None:
        """None when it has ended."""
        return row.lease if row.lease is not None and row.lease.expires_us > now_us() else None

    def check_lease(self, row: Machine, nonce: str | None) -> None:
        """`LeaseHeld` when somebody else has it."""
        held = self.lease(row)
        if held is not None and held.nonce != nonce:
            until = timestamps.of_us(held.expires_us)
            raise LeaseHeld(f"machine ID {row.id} lease currently held by {held.owner}, expires at {until}")

    def acquire(self, row: Machine, nonce: str | None, ttl_s: int, owner: str, description: str) -> Lease:
        """A new one, or the same for longer. `LeaseHeld`."""
        self.check_lease(row, nonce)
        held = self.lease(row)
        expires_us = lease_end_us(ttl_s)
        kept = held.nonce if held is not None else secrets.token_hex(16)
        made = Lease(kept, owner, description or (held.description if held else ""), expires_us)
        with self.database.transaction() as tx:
            # Between the look and here somebody else may have come: what is there now decides.
            now = fly.by_id(self.database, row.id)
            self.check_lease(now, kept)
            fly.change(tx, row.id, lease=made)
        return made

    def release(self, row: Machine, nonce: str | None) -> None:
        """`NotFound` when there is none."""
        held = self.lease(row)
        if held is None:
            raise errors.NotFound(f"lease not found for machine {row.id}")
        self.check_lease(row, nonce)
        with self.database.transaction() as tx:
            fly.change(tx, row.id, lease=None)


def lease_end_us(ttl_s: int) -> int:
    """Of one that begins now: a second at least, MOST_LEASE_S at most."""
    return now_us() + min(max(ttl_s, 1), MOST_LEASE_S) * 1_000_000


def _is_taken_for_another(tx: Transaction, name: str) -> bool:
    """Of the names `shop` and `8080-shop` one is also the address of a port of the other."""
    split = addresses.split_port(name)
    if split is not None and split[1] in fly.app_names(tx, split[1]):
        return True
    others = map(addresses.split_port, fly.app_names(tx, f"-{name}"))
    return any(other is not None and other[1] == name for other in others)


def _parse(document: Mapping[str, object]) -> Config:
    """`SpecError`, also for checks and services that none can be, and for what could never begin."""
    config = configs.parse(document)
    checks.plan(config)
    services.plan(config)
    plausible.check(config)
    refused.check(config)
    return config


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_version() -> str:
    """A ULID: 48 bits of milliseconds, 80 of randomness, in Crockford's base 32."""
    number = (now_us() // 1000 << 80) | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
