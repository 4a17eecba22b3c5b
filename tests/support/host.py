"""The whole of pilotd's host side in this process, on fake machines and volumes: real store, engine, HTTP server."""

from __future__ import annotations

import os
import pathlib
import tarfile
import threading
import time
from collections.abc import Callable

from pilot.host import edges
from pilot.host.audit.signing import Signer as AuditSigner
from pilot.host.audit.subjects import Subjects
from pilot.host.audit.writer import Writer
from pilot.host.fly.addresses import DEFAULT, parse_range
from pilot.host.fly.pulling import Images
from pilot.host.fly.vault import Vault
from pilot.host.fsm.engine import Engine
from pilot.host.fsm.journal import Record
from pilot.host.fsm.outcome import Outcome
from pilot.host.identity.authenticator import Authenticator
from pilot.host.identity.authority import Authority
from pilot.host.identity.issuer import Issuer
from pilot.host.identity.oidc import Signer
from pilot.host.identity.roots import Roots
from pilot.host.ingress.front import Front
from pilot.host.ingress.seals import Seals
from pilot.host.network.destinations import Destinations
from pilot.host.operations.capacity import Capacity
from pilot.host.operations.context import Host
from pilot.host.operations.table import operations
from pilot.host.operations.uses import Uses
from pilot.host.relay import server
from pilot.host.relay.access import Access
from pilot.host.relay.auditing import Auditing
from pilot.host.relay.edge import Route
from pilot.host.services.fly import FlyMachines
from pilot.host.services.metrics import Metrics
from pilot.host.services.sprites import Sprites
from pilot.host.store import tokens
from pilot.host.store.journal import SqlJournal
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.tracing import OFF, Tracing
from pilot.host.vmm.substrates import Substrates
from pilot.image.oci.store import Store
from tests.support.fake_vmm import FakeMachine, FakeVmm
from tests.support.fake_volumes import FakeVolumes

WAIT_S = 60


class HostUnderTest:
    """`close()` it. `restart()` is what a new pilotd on the same state directory sees; machines live on."""

    quota_bytes: int | None = None
    keep_free_bytes = 0
    webhook_destinations: Destinations | None = None
    oidc_path: str | None = None  # below which its issuer is where it is served; at no real place else

    def __init__(
        self,
        root: pathlib.Path,
        authenticator: Authenticator | None = None,
        now_s: Callable[[], float] = time.monotonic,
        front: Front | None = None,
        vmm: Callable[[pathlib.Path], FakeVmm] = FakeVmm,
        tracing: Tracing = OFF,
    ) -> None:
        self._tracing = tracing
        self.authenticator = authenticator
        self.auditing: Auditing | None = None
        self.seal_key = os.urandom(32)
        self.front = front
        self._now_s = now_s
        self._root = root
        self.volumes = FakeVolumes(root / "volumes")
        self.vmm = vmm(root / "machines")
        self.database = SqliteDatabase(str(root / "state.db"))
        self._build()
        outcome = self.sprites.prepare_base().result(WAIT_S)
        assert outcome.done, outcome.error
        self.organisation = tokens.ensure_organisation(self.database, "local")
        self.token = tokens.issue(self.database, self.organisation, tokens.Wanted(description="test"))
        self._serve()

    def _build(self) -> None:
        self.host = Host(
            self.database,
            self.volumes,
            self._substrates(),
            self.vmm.isolation,
            "minimal",
            lambda: str(self._archive()),
            quota_bytes=self.quota_bytes,
            keep_free_bytes=self.keep_free_bytes,
            images=Images(Store(str(self._root / "images"))),
            vault=Vault(self.seal_key),
            uses=Uses(self._now_s),
            capacity=Capacity(lambda: 1 << 22),  # and not of this host, as nothing of these machines is
        )
        metrics = Metrics()

        def told(run: Record, outcome: Outcome, seconds: float) -> None:
            metrics.run_ended(run, outcome, seconds)
            self._tracing.ended(run, outcome, seconds)

        runs = operations(self.host)
        self.engine = Engine(SqlJournal(self.database), runs, told=told, begun=self._tracing.begun)
        self.host.children.bind(self.engine)
        self.sprites = Sprites(self.host, self.engine, metrics=metrics, webhook_destinations=self.webhook_destinations)
        self.fly = FlyMachines(self.host, self.engine, parse_range(DEFAULT))
        self.engine.resume()

    def _substrates(self) -> Substrates:
        return Substrates({self.vmm.isolation: lambda: self.vmm})

    def _archive(self) -> pathlib.Path:
        tree = self._root / "tree"
        (tree / "etc").mkdir(parents=True, exist_ok=True)
        (tree / "etc/os-release").write_text("ID=fake\n")
        path = self._root / "world-minimal-0123abcd.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(tree, ".")
        return path

    def _serve(self) -> None:
        self._listener = server.listen("127.0.0.1", 0)
        self.url = server.address(self._listener)
        self._server = server.Server(self.route())
        self._thread = threading.Thread(
            target=self._server.serve_on, args=(server.Door(self._listener),), name="pilotd-http"
        )
        self._thread.start()

    def route(self) -> Route:
        """What another listener may be given, too."""
        base = "https://pilot.test/oidc" if self.oidc_path is None else self.url + self.oidc_path
        self.issuer = Issuer(base, Signer(str(self._root / "identity"), bytes(32)))
        self.roots = Roots(str(self._root / "identity"))
        self.authority = Authority(self.database, self.roots)
        self._asked = self.authenticator or Authenticator(self.authority.authenticate)
        self._end_audit()
        signer = AuditSigner(str(self._root / "identity"), bytes(32))
        self.auditing = Auditing(Writer(str(self._root / "audit"), signer), Subjects(self.database))
        access = Access(
            self._asked, self.sprites, self.authority, self.issuer, auditing=self.auditing, tracing=self._tracing
        )
        seals = Seals(self.seal_key)
        self.apps = edges.apps_of(access, seals, self.fly)
        return edges.route(access, seals, self.fly, self.apps, self.front)

    def forget_tokens(self) -> None:
        """As if CACHE_S had passed."""
        self._asked.forget()

    def _end_audit(self) -> None:
        """What was told is written, and the log closed."""
        if self.auditing is not None:
            self.auditing.writer.close()
        self.auditing = None

    def _stop(self) -> None:
        self._server.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._listener.close()
        assert self.engine.close(WAIT_S)
        self._end_audit()
        self.database.close()

    def restart(self) -> None:
        self._stop()
        self.database = SqliteDatabase(str(self._root / "state.db"))
        self._build()
        self._serve()

    def machine(self, name: str) -> FakeMachine:
        """The running machine of a sprite."""
        row = self.sprites.find(self.organisation.id, name)
        assert row.machine is not None
        return self.vmm.machines[row.machine]

    def close(self) -> None:
        self._stop()
        for machine in list(self.vmm.machines):
            self.vmm.stop(machine)
