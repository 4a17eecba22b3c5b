"""pilotd, put together: what `serve` starts, in order, and takes down in reverse.

    <state-dir>/    (0700)
        lock            flock: one pilotd per state directory
        token           the first token, 0600
        ca/             our own authority for TLS, once it is wanted (ingress/certificates.py)
        identity/       what macaroons are minted and machines' tokens signed with, sealed (identity/{roots,oidc}.py)
        visits.key      what cookies of visitors are sealed with, 0600
        secrets.key     what secrets (of apps, webhooks, connectors) are sealed with, 0600
        audit/          what was asked of whom, and what was decided (audit/journal.py)
        state.db        the store; `reserve` is what it has for a destroy when the disk is full
        volumed.sock    volumed, with volumes/ and volumed.log
        machines/<id>/  see vmm

lock → store → volumed → resolver → substrate → networks restored, machines heard (outward)
    → engine (resumes what an earlier pilotd left) → base volume → worlds adopted → HTTP

Machines, volumed and the resolver outlive pilotd; `stop_machines` is for demonstrations and tests, which want nothing
left behind.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator

from .. import errors, image
from ..image.oci.store import Store
from ..images.origins import Insecure, store_directory
from ..kernel import cgroups, files, hierarchies
from ..volume import client as volume_client
from . import backup, draining, edges, host_limits, log_files, tracing
from .api.machines import own as own_rows
from .api.machines import own_keys as own_key_rows
from .api.machines import own_volumes as own_volume_rows
from .api.sprites import own as own_sprite_rows
from .audit import egress as audit_egress
from .audit import forgetting as audit_forgetting
from .audit import journal
from .audit import shipping as audit_shipping
from .audit import signing as audit_signing
from .audit.subjects import Subjects
from .audit.writer import Writer
from .fly import addresses
from .fly.containers import MOST_STOP_S
from .fly.pulling import Images
from .fly.vault import Vault
from .fsm.engine import Engine
from .fsm.journal import Record
from .fsm.outcome import Outcome
from .identity import sealed
from .identity.authenticator import Authenticator
from .identity.authority import Authority
from .identity.issuer import Issuer
from .identity.machine_tokens import MachineTokens
from .identity.oidc import Signer
from .identity.roots import Roots
from .ingress import certificates, seals
from .ingress.apps import listeners
from .network import plan
from .network.addresses import DEFAULT_RANGE, parse_network, parse_range
from .network.destinations import Destinations
from .network.never import Never
from .network.policy import Egress
from .network.service import Networks
from .operations import machines, networks
from .operations.context import Host, VolumeService
from .operations.requests import SPRITE
from .operations.table import operations
from .outward import identity_rows, machine_rows
from .outward.audited import MachinesAudited
from .outward.sockets import Outward
from .relay import server
from .relay.access import Access
from .relay.auditing import Auditing
from .services import (
    fly_exits,
    fly_peers,
    fly_pruning,
    fly_rest,
    fly_schedule,
    fly_secret_files,
    idle,
    image_bases,
    mending,
    retention,
    showing,
    usage_days,
)
from .services import tokens as key_uses
from .services.addresses import DEFAULT_DOMAIN, Domain
from .services.creation_rate import CreationRate
from .services.fly import FlyMachines
from .services.fly_pool import FlyPool
from .services.metrics import Metrics
from .services.pool import Pool
from .services.running_limit import RunningLimit
from .services.spawning import Spawning
from .services.sprites import Sprites
from .store import networks as network_rows
from .store import tokens
from .store.database import Database
from .store.journal import SqlJournal
from .store.sprites import Sprite
from .store.sqlite import SqliteDatabase
from .tracing import Tracing
from .vmm import Isolation, Size, substrates
from .vmm.shape import Shape
from .volumed import Volumed

log = logging.getLogger(__name__)

ORGANISATION = "local"
SECRETS_KEY = "secrets.key"
BASE_TIMEOUT_S = 1800
STOP_TIMEOUT_S = 60
DRAIN_TIMEOUT_S = MOST_STOP_S + 2 * STOP_TIMEOUT_S  # a Machine may ask for as long, and takes its network down after it
RUNS_AT_ONCE = 64  # of sprites; each has a thread, and most of them wait for a kernel or a disk
ADOPTIONS_AT_ONCE = 16  # one machine that does not answer takes ten seconds


@dataclasses.dataclass
class Ending:
    """`is_drain`: nothing is to be left running. `left`: what is all the same; then neither its network nor its disks
    are taken from it."""

    is_drain: bool = False
    left: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line says. Times of 0 are never."""

    state_dir: str
    host: str = "127.0.0.1"
    port: int = 8080
    isolation: str = "container"
    variant: image.Variant = "minimal"
    cache_dir: str = "/var/cache/pilot"
    usual_size: Size = dataclasses.field(default_factory=Size)
    disk_bytes: int = 100 << 30
    quota_bytes: int | None = None
    keep_free_bytes: int = 64 << 20
    warm_after_s: float = 30.0
    cold_after_s: float = 300.0
    terminal_idle_s: float = 900.0
    stop_machines: bool = False
    pool_size: int = 0
    machine_pool_size: int = 0
    store: str | None = None
    durability: str | None = None
    cache_bytes: int | None = None
    egress: Egress = Egress.OPEN
    network_range: str = DEFAULT_RANGE
    allow_private: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    domain: str = DEFAULT_DOMAIN
    tls_listen: tuple[str, int] | None = None
    certificate: tuple[str, str] | None = None  # and its key
    allow_webhooks: tuple[str, ...] = ()
    network_limits: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    allow_registries: tuple[str, ...] = ()
    seal_key: str | None = None
    oidc_issuer: str | None = None
    keep_images_s: float = image_bases.KEEP_S
    autostop_after_s: float = fly_rest.AFTER_S
    service_addresses: str | None = addresses.DEFAULT
    create_limit: tuple[int, float] = (0, 60.0)
    running_limit: int = 0
    otlp: str | None = None
    audit_bytes: int = 8 << 20  # of each sprite's and Machine's log

    ending: Ending = dataclasses.field(default_factory=Ending)

    @property
    def leaves_nothing(self) -> bool:
        """Whether machines and what serves them end with pilotd."""
        return (self.stop_machines or self.ending.is_drain) and not self.ending.left

    @property
    def identity_directory(self) -> str:
        """Where keys that mint and sign are kept, sealed."""
        return os.path.join(self.state_dir, "identity")

    @property
    def seal_path(self) -> str:
        """Of the key that they are sealed with."""
        return self.seal_key or os.path.join(self.identity_directory, "seal")

    @property
    def volumed_options(self) -> tuple[str, ...]:
        """volumed's share of the command line; what is not said is volumed's to choose."""
        given = {"--store": self.store, "--durability": self.durability, "--cache-bytes": self.cache_bytes}
        return tuple(f"{option}={value}" for option, value in given.items() if value is not None)

    @property
    def tag(self) -> str:
        """Names this pilotd's cgroups and runtime state apart from those of others on the host."""
        return hashlib.sha256(os.path.realpath(self.state_dir).encode()).hexdigest()[:8]


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. `HostError` when this host lacks something."""
    if os.geteuid() != 0:
        raise errors.HostError("serve: not root", hint="pilotd makes namespaces, mounts and cgroups: run it as root")
    _make(settings.state_dir)
    _on_drain(settings.ending, lambda: None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(settings.state_dir, settings.ending))
        backup.sweep(settings.state_dir)
        host_limits.raise_descriptors()
        listener = server.listen(settings.host, settings.port)
        stack.callback(listener.close)
        # What is refused for its options is so before anything is started that stays.
        tls_doors = stack.enter_context(_tls_door(settings))
        roots, issuer = Roots(settings.identity_directory, settings.seal_key), _issuer(settings)
        for raised in host_limits.raise_limits(host_limits.plan(host_limits.memory_bytes())):
            log.info("limit raised", extra={"sysctl": raised.describe()})
        database = SqliteDatabase(os.path.join(settings.state_dir, "state.db"))
        stack.callback(database.close)
        _ensure_token(database, settings.state_dir)
        volumes = volume_client.VolumeClient(stack.enter_context(_volumed(settings)))
        made_networks = stack.enter_context(_networks(settings, database))
        authority, machine_tokens = Authority(database, roots), MachineTokens(roots)
        auditing = stack.enter_context(_auditing(settings, database, made_networks))
        traced = stack.enter_context(_tracing(settings))
        rows = [*machine_rows.rows(database), *identity_rows.rows(database, issuer, machine_tokens)]
        outward = Outward(rows, told=MachinesAudited(auditing.writer, auditing.subjects))
        sprites, fly = stack.enter_context(
            _services(settings, database, volumes, made_networks, outward, machine_tokens, traced)
        )
        authenticator = Authenticator(authority.authenticate)
        timing = idle.Timing(settings.warm_after_s, settings.cold_after_s, settings.terminal_idle_s)
        access = Access(authenticator, sprites, authority, issuer, Domain(settings.domain), auditing, traced, timing)
        relay = _relay(settings, access, fly)
        _on_signals(relay, settings.ending)
        stack.enter_context(log_files.watching(settings.state_dir))
        stack.enter_context(retention.watching(database))
        stack.enter_context(key_uses.watching(database, authenticator.uses))
        stack.enter_context(mending.watching(sprites))
        stack.enter_context(usage_days.watching(database, sprites))
        stack.enter_context(sprites.webhooks.deliveries.running())
        stack.enter_context(idle.watching(sprites, timing))
        stack.enter_context(_resting(fly, settings.autostop_after_s))
        stack.enter_context(fly_schedule.watching(fly))
        stack.enter_context(fly_pruning.watching(fly.volumes))
        doors = [server.Door(listener), *tls_doors]
        urls = " and ".join(door.address for door in doors)
        print(f"pilotd ready: {urls} (isolation {settings.isolation}, image {settings.variant})", flush=True)
        relay.serve_on(*doors)
        log.info("stopping")


def _relay(settings: Settings, access: Access, fly: FlyMachines) -> server.Server:
    """With what listens at addresses of apps beside it."""
    visits = _seals(settings.state_dir)
    apps = edges.apps_of(access, visits, fly)
    https_port = settings.tls_listen[1] if settings.tls_listen else None
    route = edges.route(access, visits, fly, apps, https_port=https_port)
    if settings.service_addresses is None:
        return server.Server(route)
    tls = functools.cache(lambda: certificates.server_context(certificates_of(settings)))
    listening = listeners.Listeners(fly.ways, apps, tls)
    return server.Server(route, beside=(listening.run,))


@contextlib.contextmanager
def _volumed(settings: Settings) -> Iterator[str]:
    """volumed's socket; it answers."""
    volumed = Volumed(settings.state_dir, settings.tag, settings.volumed_options)
    try:
        volumed.ensure()
        volumed.watch()
        yield volumed.socket_path
    finally:
        if settings.ending.is_drain:
            settings.ending.left += _attached(volume_client.VolumeClient(volumed.socket_path))
        if settings.leaves_nothing:
            volumed.stop()
            _remove_cgroups(settings.tag)
        else:
            volumed.release()


def _attached(volumes: VolumeService) -> list[str]:
    try:
        return [f"disk {each.volume}" for each in volumes.list() if each.attached]
    except errors.PilotError as error:
        return [f"volumed, which does not say what is attached: {error}"]


@contextlib.contextmanager
def _networks(settings: Settings, database: Database) -> Iterator[Networks]:
    """The host's side of all networks, and the resolver; machines' own are restored when there are substrates."""
    planned = plan.Settings(
        settings.tag,
        parse_range(settings.network_range),
        settings.egress,
        tuple(map(parse_network, settings.allow_private)),
        plan.parse_limits(settings.network_limits),
    )
    key_path = os.path.join(settings.state_dir, SECRETS_KEY)
    sealed.ensure_key(key_path)
    made = Networks(planned, settings.state_dir, settings.resolvers, key_path)
    made.start()
    try:
        yield made
    finally:
        if settings.leaves_nothing:
            for row in network_rows.every(database):
                made.remove(row.machine, row.number)
            made.stop()
        else:
            made.release()


@contextlib.contextmanager
def _services(
    settings: Settings,
    database: Database,
    volumes: VolumeService,
    made_networks: Networks,
    outward: Outward,
    machine_tokens: MachineTokens,
    traced: Tracing,
) -> Iterator[tuple[Sprites, FlyMachines]]:
    """Everything behind the API, running."""
    isolation = Isolation(settings.isolation)
    made = substrates.of_this_host(settings.state_dir, settings.tag, settings.cache_dir, settings.keep_free_bytes)
    made.of(isolation)  # or say now that this host cannot have it
    host = Host(
        database=database,
        volumes=volumes,
        substrates=made,
        isolation=isolation,
        variant=settings.variant,
        build_archive=lambda: str(image.ensure_world_tar(settings.cache_dir, settings.variant)),
        usual_size=settings.usual_size,
        disk_bytes=settings.disk_bytes,
        quota_bytes=settings.quota_bytes,
        keep_free_bytes=settings.keep_free_bytes,
        scratch=settings.state_dir,
        networks=made_networks,
        outward=outward,
        images=_images(settings),
        vault=Vault(sealed.ensure_key(os.path.join(settings.state_dir, SECRETS_KEY))),
        store_owner=tokens.ensure_organisation(database, ORGANISATION).id if settings.store else None,
    )
    metrics = Metrics()

    def told(run: Record, outcome: Outcome, seconds: float) -> None:
        metrics.run_ended(run, outcome, seconds)
        traced.ended(run, outcome, seconds)

    engine = Engine(SqlJournal(database), operations(host), {SPRITE: RUNS_AT_ONCE}, told, traced.begun)
    host.children.bind(engine)
    own = None if settings.service_addresses is None else addresses.parse_range(settings.service_addresses)
    pool = Pool(host, engine, {Shape(isolation, settings.variant, settings.usual_size): settings.pool_size})
    fly_pool = FlyPool(host, engine, settings.machine_pool_size)
    metrics.count_machines(fly_pool.__len__)
    sprites, fly = (
        Sprites(
            host,
            engine,
            pool,
            metrics,
            _webhook_destinations(settings),
            CreationRate(*settings.create_limit),
            RunningLimit(settings.running_limit),
        ),
        FlyMachines(host, engine, own, fly_pool),
    )
    try:
        networks.restore(host)
        kinds = (own_rows, own_key_rows, own_volume_rows)
        of_machines = [row for each in kinds for row in each.rows(fly, machine_tokens)]
        shown = showing.Showing(host)
        outward.bring([*of_machines, *own_sprite_rows.rows(sprites, Spawning(host, sprites), shown)])
        machines.answer_all(host)
        log.info("runs resumed", extra={"count": engine.resume()})
        sprites.sweep()
        _prepare_base(sprites, settings.variant)
        pool.start()
        fly_pool.start()
        _adopt(sprites)
        keep_s = settings.keep_images_s
        with (
            fly_exits.watching(host, engine),
            fly_peers.watching(host),
            fly_secret_files.watching(host),
            image_bases.watching(host, engine, keep_s),
            showing.watching(shown),
        ):
            yield sprites, fly
    finally:
        pool.stop()
        fly_pool.stop()
        if settings.leaves_nothing:
            pool.clear()
            fly_pool.clear()
            not_stopped = _stop_machines(sprites, fly, DRAIN_TIMEOUT_S if settings.ending.is_drain else STOP_TIMEOUT_S)
            if settings.ending.is_drain:
                settings.ending.left += not_stopped
            showing.clear(host)  # no machine runs that would have any
        if not engine.close(STOP_TIMEOUT_S):
            log.warning("runs still under way are left to the next start")
            if settings.ending.is_drain:
                settings.ending.left.append("runs under way")
        outward.close()


def _webhook_destinations(settings: Settings) -> Destinations:
    return _destinations(settings, settings.allow_webhooks, only_allowed=settings.egress is Egress.NONE)


def _images(settings: Settings) -> Images:
    insecure = Insecure(frozenset(settings.insecure_registries))
    permits = _destinations(settings, settings.allow_registries).permits
    return Images(Store(store_directory(settings.cache_dir)), insecure, permits)


def _destinations(settings: Settings, allowed: tuple[str, ...], *, only_allowed: bool = False) -> Destinations:
    own = parse_range(settings.network_range).networks
    private = tuple(map(parse_network, settings.allow_private))
    return Destinations(Never(private, own), tuple(map(parse_network, allowed)), only_allowed)


@contextlib.contextmanager
def _tls_door(settings: Settings) -> Iterator[list[server.Door]]:
    """None when it was not asked for."""
    if settings.tls_listen is None:
        yield []
        return
    found = certificates_of(settings)
    with server.listen(*settings.tls_listen) as listener:
        yield [server.Door(listener, certificates.server_context(found))]


def certificates_of(settings: Settings) -> certificates.Certificates:
    """The operator's, or our own authority's."""
    if settings.certificate is not None:
        return certificates.Given(*settings.certificate)
    return certificates.Authority(os.path.join(settings.state_dir, "ca"), Domain(settings.domain))


def _resting(fly: FlyMachines, after_s: float) -> contextlib.AbstractContextManager[None]:
    return fly_rest.watching(fly, after_s) if after_s else contextlib.nullcontext()


@contextlib.contextmanager
def _tracing(settings: Settings) -> Iterator[Tracing]:
    """Off, where nobody has said where to. `HostError` without its packages."""
    if settings.otlp is None:
        yield tracing.OFF
        return
    try:
        from . import otel
    except ImportError as error:
        raise errors.HostError(f"--otlp: {error}", hint="pip install 'pilot[otel]'") from error
    with contextlib.closing(otel.by_http(settings.otlp)) as made:
        yield made


@contextlib.contextmanager
def _auditing(settings: Settings, database: Database, made_networks: Networks) -> Iterator[Auditing]:
    """What is told from here on is written, and shipped where there is a store; all of it when this ends."""
    directory = os.path.join(settings.state_dir, "audit")
    bounds = journal.Bounds(files=max(2, settings.audit_bytes // journal.FILE_BYTES))
    signer = audit_signing.Signer(settings.identity_directory, sealed.ensure_key(settings.seal_path))
    auditing = Auditing(Writer(directory, signer, bounds), Subjects(database))
    with contextlib.ExitStack() as stack:
        if settings.store:
            stack.enter_context(audit_shipping.watching(directory, settings.store))
        stack.callback(auditing.writer.close)
        stack.enter_context(audit_forgetting.watching(auditing.writer, auditing.subjects))
        of_names, of_uses = made_networks.decisions_path, made_networks.uses_path
        stack.enter_context(audit_egress.watching(auditing, database, of_names, of_uses))
        yield auditing


def _issuer(settings: Settings) -> Issuer:
    """Its keys are there before the first machine asks."""
    signer = Signer(settings.identity_directory, sealed.ensure_key(settings.seal_path))
    signer.published()
    return Issuer(settings.oidc_issuer or f"https://api.{settings.domain}/oidc", signer)


def _seals(state_dir: str) -> seals.Seals:
    return seals.Seals(sealed.ensure_key(os.path.join(state_dir, "visits.key")))


def _prepare_base(sprites: Sprites, variant: str) -> None:
    outcome = sprites.prepare_base().result(BASE_TIMEOUT_S)
    if not outcome.done:
        raise errors.HostError(f"prepare the base volume of image {variant}: {outcome.error}")


def _adopt(sprites: Sprites) -> None:
    """The worlds that run on are known again; one that does not answer is woken when somebody needs it."""
    with concurrent.futures.ThreadPoolExecutor(ADOPTIONS_AT_ONCE, "adopt") as pool:
        list(pool.map(lambda sprite: _adopt_one(sprites, sprite), sprites.every()))


def _adopt_one(sprites: Sprites, sprite: Sprite) -> None:
    try:
        adopted = sprites.adopt(sprite)
    except errors.PilotError as error:
        log.warning("machine does not answer", extra={"sprite": sprite.name, "error": str(error)})
    else:
        log.info("sprite found", extra={"sprite": sprite.name, "running": adopted})


def _stop_machines(sprites: Sprites, fly: FlyMachines, timeout_s: float) -> list[str]:
    """Those that did not stop."""
    ended = [(f"sprite {sprite.name}", sprites.stop(sprite)) for sprite in sprites.every()]
    ended += [(f"machine {id}", stopping) for id, stopping in fly.stop_all().items()]
    concurrent.futures.wait([future for _, future in ended], timeout_s)
    left = [name for name, future in ended if not future.done() or not future.result().done]
    for name in left:
        log.error("not stopped", extra={"machine": name})
    return left


def _remove_cgroups(tag: str) -> None:
    group = cgroups.Cgroup(hierarchies.probe_hierarchies().paths(f"/pilot-{tag}"))
    if group.exists():
        group.delete()


def _on_signals(relay: server.Server, ending: Ending) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    _on_drain(ending, relay.stop)
    if ending.is_drain:  # asked for while all of this was being put together
        relay.stop()


def _on_drain(ending: Ending, stop: Callable[[], None]) -> None:
    def drain(*_: object) -> None:
        ending.is_drain = True
        stop()

    signal.signal(draining.SIGNAL, drain)


def _make(state_dir: str) -> None:
    """`HostError` where it cannot be."""
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "choose one on a disk of this host: --state-dir"
        raise errors.HostError(f"serve: make the state directory {state_dir!r}: {reason}", hint=hint) from error


@contextlib.contextmanager
def _locked(state_dir: str, ending: Ending) -> Iterator[None]:
    """Who waits for a drain finds in it whether all was ended. `HostError` when it was not."""
    lock_fd = os.open(os.path.join(state_dir, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draining.note(lock_fd)
        yield
        if ending.is_drain:
            if ending.left:
                raise errors.HostError(f"drain {state_dir}: left running: {', '.join(sorted(ending.left)[:20])}")
            draining.note_done(lock_fd)
    except BlockingIOError as error:
        raise errors.Conflict(f"serve {state_dir}: another pilotd serves it") from error
    finally:
        os.close(lock_fd)


def _ensure_token(database: Database, state_dir: str) -> None:
    """The first token, written where only root reads it. A crash before the rename leaves a token that nobody has.

    A database that never had one is new: the file that is there is of another, which was lost or moved away.
    """
    path = os.path.join(state_dir, "token")
    organisation = tokens.ensure_organisation(database, ORGANISATION)
    if not tokens.every(database, organisation):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    if os.path.exists(path):
        return
    token = tokens.issue(database, organisation, tokens.Wanted(description="first token"))
    files.replace(path, f"{token}\n".encode(), durable=True)


def parse_listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `[::1]:8080` or `:8080` (loopback)."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise errors.PilotError(f"invalid listen address {text!r}", hint="write it as host:port")
    return host.strip("[]") or "127.0.0.1", int(port)


def run(settings: Settings) -> int:
    """`serve`, with its errors told once; the exit status."""
    try:
        serve(settings)
    except errors.PilotError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"pilotd: {error}{hint}", file=sys.stderr)
        return 1
    return 0


def parse_variant(text: str) -> image.Variant:
    if text not in image.VARIANTS:
        raise errors.PilotError(f"no image {text!r}", hint=f"one of {', '.join(image.VARIANTS)}")
    return text
