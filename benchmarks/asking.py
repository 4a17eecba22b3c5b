"""What a machine waits for when it asks who it is: the real agent, the real sockets of the host and its real rows,
all in one process.

`metadata` is asked of the host directly, with the machine's token, and by /.fly/api, where the agent adds it: what lies
between the two is what the proxy costs. A token of OpenID Connect is asked for as the broker does before a container's
first process, up to the file that is there then; its floor is the signature alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

from tests.support.fake_machine import FakeMachine
from tests.support.host import HostUnderTest

from pilot.agent.application import Application
from pilot.agent.identity.broker import Broker
from pilot.agent.inside import fly_places
from pilot.host.api.machines import own
from pilot.host.fly.containers import ImageOf
from pilot.host.identity.issuer import Issuer
from pilot.host.identity.machine_tokens import MachineTokens
from pilot.host.identity.oidc import Signer
from pilot.host.identity.rates import Rates
from pilot.host.outward import identity_rows
from pilot.host.outward.sockets import Outward
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId
from pilot.kernel import fds, mounts
from pilot.server import client
from pilot.wire import outward

from . import harness
from .harness import Contender, Sample, Table

ME, APP, NAME = MachineId("m1"), "0a" * 8, "shop"
_MANY = 20
_TOKEN = "a token of OpenID Connect, as a file before the first process"
_DIRECT, _SIGNATURE = "metadata, asked of the host with the token", "an RSA signature alone"
_ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/reader"}
_TARGET = f"/v1/apps/{NAME}/machines/{ME}/metadata"


def table(rounds: int) -> Table:
    with tempfile.TemporaryDirectory(prefix="pilot-bench-") as directory, _asking(pathlib.Path(directory)) as asking:
        contenders = [
            Contender(_DIRECT, lambda: asking.sample(asking.direct)),
            Contender("metadata, asked by /.fly/api", lambda: asking.sample(asking.by_fly_api)),
            Contender(_SIGNATURE, asking.signatures),
            Contender(
                "a token of OpenID Connect, as a file before the first process", lambda: asking.sample(asking.token)
            ),
        ]
        samples = harness.interleave(contenders, rounds, 2)
        return harness.make_table("what a machine asks its host", samples, [_DIRECT, _SIGNATURE], "us")


class Asking:
    """On `loop`, which is another thread's."""

    def __init__(self, app: Application, machine: FakeMachine, loop: asyncio.AbstractEventLoop, issuer: Issuer) -> None:
        self._app = app
        self._machine = machine
        self._loop = loop
        self._issuer = issuer
        self._numbers = itertools.count()
        self._shown = ""

    def sample(self, ask: Callable[[], Awaitable[None]]) -> Sample:
        async def many() -> float:
            begin = time.perf_counter()
            for _ in range(_MANY):
                await ask()
            return time.perf_counter() - begin

        return _of(asyncio.run_coroutine_threadsafe(many(), self._loop).result())

    def signatures(self) -> Sample:
        begin = time.perf_counter()
        for _ in range(_MANY):
            self._issuer.signer.sign({"sub": "x"})
        return _of(time.perf_counter() - begin)

    async def direct(self) -> None:
        if not self._shown:
            self._shown = (await self._app.outward.call(outward.CREATE_MACHINE_TOKEN, None, 10)).token
        stream = await self._app.outward.open(10)
        async with await client.request(stream, "GET", _TARGET, headers={"Authorization": self._shown}) as answer:
            assert (answer.status, await answer.body(1 << 16)) == (200, b"{}")

    async def by_fly_api(self) -> None:
        with fds.short_path(os.path.join(self._machine.paths.inside, fly_places.SOCKET)) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(f"GET {_TARGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        said = await reader.read()
        writer.close()
        assert said.startswith(b"HTTP/1.1 200 "), said
        assert said.endswith(b"\r\n\r\n{}"), said

    async def token(self) -> None:
        """Of a container that there was not before."""
        name = f"c{next(self._numbers)}"
        made = Broker(self._app.outward, self._machine.paths, self._app.events, dict)
        await made.before_use(name, _ROLE)
        await made.close()
        await asyncio.to_thread(self._forget, name)

    def _forget(self, container: str) -> None:
        place = fly_places.directory(self._machine.paths.run, container)
        os.unlink(os.path.join(place, "oidc_token"))  # it was there
        shutil.rmtree(place)


def _of(seconds: float) -> Sample:
    return {"us": seconds / _MANY * 1e6}


@contextlib.contextmanager
def _asking(directory: pathlib.Path) -> Iterator[Asking]:
    host = HostUnderTest(directory / "host")
    issuer = Issuer("https://pilot.test/oidc", Signer(str(directory / "identity"), bytes(32)))
    machine = FakeMachine(str(directory / "run"))
    machine_tokens = MachineTokens(host.roots)
    with host.database.transaction() as tx:
        fly.add_app(tx, App(APP, host.organisation.id, NAME, "default", 0))
        fly.add(tx, _row())
    rows = [*identity_rows.rows(host.database, issuer, machine_tokens), *own.rows(host.fly, machine_tokens)]
    asked = Outward(rows, Rates(1 << 30, 1 << 30))
    asked.ensure(ME, outward.socket_in(machine.paths.outward))
    try:
        with _agent(machine) as (app, loop):
            yield Asking(app, machine, loop, issuer)
    finally:
        with contextlib.suppress(OSError):  # where nothing is shown nothing is mounted
            mounts.umount(os.path.join(machine.paths.run, "view"), mounts.Unmount.DETACH)
        asked.close()
        machine.close()
        host.close()


def _row() -> Machine:
    image = ImageOf("app", "docker.io/library/box:1", "sha256:0f", "v")
    return Machine(
        ME, APP, "web", "local", "stopped", "v1", {"image": "box"}, {}, (image,), cordoned=False, lease=None,
        created_us=0, updated_us=0,
    )  # fmt: skip


@contextlib.contextmanager
def _agent(machine: FakeMachine) -> Iterator[tuple[Application, asyncio.AbstractEventLoop]]:
    """On a loop of its own thread."""
    started: list[tuple[Application, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with machine.agent() as app:
            end = asyncio.Event()
            started.append((app, asyncio.get_running_loop(), end))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="agent")
    thread.start()
    assert ready.wait(60)
    app, loop, end = started[0]
    try:
        yield app, loop
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
