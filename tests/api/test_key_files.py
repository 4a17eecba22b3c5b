"""/.fly/kms as files: the real mount of the real agent, over the real sockets of a host with real keys."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pathlib
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from pilot.agent.application import Application
from pilot.agent.keys import uses
from pilot.agent.mounted import Request
from pilot.host.fly import key_kinds
from pilot.host.identity.issuer import Issuer
from pilot.host.identity.oidc import Signer
from pilot.host.store import fly
from pilot.host.store.fly import App
from pilot.kernel import mounts
from pilot.kernel.fuse import ROOT
from pilot.wire import outward
from pilot.wire.secret_keys import MOST_BYTES, SecretKeys
from tests.api.test_identity import ME, THEIRS, Site
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private", "fuse")

DEADLINE_S = 90


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[Site]:
    made = Site(tmp_path / "host", Issuer("https://pilot.test/oidc", Signer(str(tmp_path / "identity"), bytes(32))))
    yield made
    made.close()


@pytest.fixture
def kms(place: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """For threads of this process, where the agent is as well: they are taken for processes of a container."""
    monkeypatch.setattr(Request, "is_ours", False)
    return place


@pytest.fixture
def place(host: Site, machine: FakeMachine) -> Iterator[str]:
    """Where the files are, once an agent serves them; taken away at last."""
    for name, kind in (("orders", "xaes256gcm"), ("seal", "nacl_sign"), ("mac", "hs384")):
        host.whole.fly.keys.add(app_of(host), name, kind)
    host.ensure(ME, outward.socket_in(machine.paths.outward))
    place = os.path.join(machine.paths.run, "kms")
    yield place
    with contextlib.suppress(OSError):
        mounts.umount(place, mounts.Unmount.DETACH)


def app_of(host: Site, machine: str = ME) -> App:
    return fly.app_of(host.whole.database, fly.by_id(host.whole.database, machine))


def run(machine: FakeMachine, *tests: Callable[[Application], Awaitable[None]]) -> None:
    """Each with an agent of its own, which is killed at its end."""

    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            for test in tests:
                async with machine.agent() as app:
                    app.keys.ensure_open()
                    await test(app)
                machine.die()

    asyncio.run(bounded())


def through(path: str, text: bytes, *, seek: bool = True) -> bytes:
    """As programs use it: unbuffered, written, and read from the beginning or from right behind."""
    with open(path, "r+b", buffering=0) as file:
        file.write(text)
        if seek:
            file.seek(0)
        return file.read()


def _use(place: str) -> None:
    assert sorted(os.listdir(place)) == ["mac", "macv0", "orders", "ordersv0", "seal", "sealv0"]
    for seek in (True, False):
        sealed = through(f"{place}/orders/encr", b"hello", seek=seek)
        assert through(f"{place}/orders/decr", sealed, seek=seek) == b"hello"
    whole = os.urandom(MOST_BYTES)
    assert through(f"{place}/orders/decr", through(f"{place}/ordersv0/encr", whole)) == whole
    shell = 'exec 3<>"$0"; printf hello >&3; cat <&3'
    said = subprocess.run(
        ["sh", "-c", shell, f"{place}/orders/encr"], check=True, capture_output=True, timeout=60
    ).stdout
    assert through(f"{place}/orders/decr", said) == b"hello"
    for name, size in (("seal", 64), ("mac", 48)):
        signature = through(f"{place}/{name}/sign", b"hello")
        assert len(signature) == size
        assert through(f"{place}/{name}/verify", signature + b"hello") == b"hello"
        with pytest.raises(OSError, match=os.strerror(errno.EBADMSG)):
            through(f"{place}/{name}/verify", signature + b"hullo")
    with open(f"{place}/orders/info") as file:
        assert file.read().startswith("label=orders\ntype=xaes256gcm\nversion=0\n")


def test_texts_pass_through_files(kms: str, machine: FakeMachine) -> None:
    async def test(_: Application) -> None:
        await asyncio.to_thread(_use, kms)

    run(machine, test)


def _refused(place: str, host: Site) -> None:
    sealed = through(f"{place}/orders/encr", b"hello")
    strange = host.whole.fly.keys.encrypt(app_of(host, THEIRS), "orders", b"hello")
    for wrong in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:10], b"x", strange):
        with pytest.raises(OSError, match=os.strerror(errno.EBADMSG)):
            through(f"{place}/orders/decr", wrong)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        through(f"{place}/orders/encr", bytes(MOST_BYTES + 300))
    for missing in ("theirs/encr", "orders/sign", "nothing"):
        with pytest.raises(FileNotFoundError):
            os.stat(f"{place}/{missing}")
    for name in ("orders/new", "new"):
        for make in (os.mkdir, os.mknod, lambda path: os.symlink("x", path), lambda path: os.open(path, os.O_CREAT)):
            with pytest.raises(PermissionError):
                make(f"{place}/{name}")
    for remove in (os.rmdir, lambda path: os.unlink(f"{path}/encr"), lambda path: os.rename(path, f"{place}/new")):
        with pytest.raises(PermissionError):
            remove(f"{place}/orders")
    for file in ("encr", "decr", "info"):
        with open(f"{place}/orders/{file}", "rb", buffering=0) as reading:
            assert (reading.read() == b"") == (file != "info"), "who looks through all files asks for nothing"


def test_what_was_changed_or_is_anothers_is_refused(kms: str, host: Site, machine: FakeMachine) -> None:
    host.whole.fly.keys.add(app_of(host, THEIRS), "orders", "xaes256gcm")
    host.whole.fly.keys.add(app_of(host, THEIRS), "theirs", "xaes256gcm")

    async def test(_: Application) -> None:
        await asyncio.to_thread(_refused, kms, host)

    run(machine, test)


def test_each_open_file_is_its_own(kms: str, machine: FakeMachine) -> None:
    def mixed() -> None:
        with (
            open(f"{kms}/orders/encr", "r+b", buffering=0) as one,
            open(f"{kms}/orders/encr", "r+b", buffering=0) as other,
        ):
            one.write(b"one")
            other.write(b"other")
            first, second = one.read(), other.read()
        assert through(f"{kms}/orders/decr", first) == b"one"
        assert through(f"{kms}/orders/decr", second) == b"other"

    async def test(_: Application) -> None:
        await asyncio.to_thread(mixed)

    run(machine, test)


def test_a_new_version_is_used_and_the_one_before_reads_on(kms: str, host: Site, machine: FakeMachine) -> None:
    async def test(_: Application) -> None:
        old = await asyncio.to_thread(through, f"{kms}/orders/encr", b"old")
        host.whole.fly.keys.add(app_of(host), "orders", "xaes256gcm")
        new = await asyncio.to_thread(through, f"{kms}/orders/encr", b"new")
        assert (old[0], new[0]) == (1, 2)
        for sealed, text in ((old, b"old"), (new, b"new")):
            assert await asyncio.to_thread(through, f"{kms}/orders/decr", sealed) == text
        host.whole.fly.keys.remove(app_of(host), "ordersv0")
        with pytest.raises(OSError, match=os.strerror(errno.EBADMSG)):
            await asyncio.to_thread(through, f"{kms}/orders/decr", old)

    run(machine, test)


def test_files_outlive_the_agent_and_texts_do_not(kms: str, machine: FakeMachine) -> None:
    """Whoever had written, and not read yet, is told; modes that root has given stay."""
    opened: list[int] = []

    async def first(_: Application) -> None:
        opened.append(await asyncio.to_thread(os.open, f"{kms}/orders/encr", os.O_RDWR))
        await asyncio.to_thread(os.write, opened[0], b"hello")
        await asyncio.to_thread(os.chmod, f"{kms}/orders/encr", 0o660)
        await asyncio.to_thread(os.chown, f"{kms}/orders/encr", 1000, 1001)

    async def second(_: Application) -> None:
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            await asyncio.to_thread(os.read, opened[0], 100)
        await asyncio.to_thread(os.close, opened[0])
        found = await asyncio.to_thread(os.stat, f"{kms}/orders/encr")
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o660, 1000, 1001)
        found = await asyncio.to_thread(os.stat, f"{kms}/orders/decr")
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o600, 0, 0)
        sealed = await asyncio.to_thread(through, f"{kms}/orders/encr", b"hello")
        assert await asyncio.to_thread(through, f"{kms}/orders/decr", sealed) == b"hello"

    run(machine, first, second)


def test_others_than_root_are_let_in_where_root_has_let_them(kms: str, machine: FakeMachine) -> None:
    def as_nobody(path: str) -> int:
        # Not `cwd=`: this process waits for such a child without letting the agent, which is in it, answer.
        program = 'cd "$0" && exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c \'exec 3<>"$0"\' "$1"'
        return subprocess.run(["sh", "-c", program, kms, path], check=False, capture_output=True, timeout=60).returncode

    def test_it() -> None:
        assert as_nobody("orders/encr") != 0
        for place, mode in ((kms, 0o711), (f"{kms}/orders", 0o711), (f"{kms}/orders/encr", 0o666)):
            os.chmod(place, mode)
        assert as_nobody("orders/encr") == 0
        assert as_nobody("orders/decr") != 0

    async def test(_: Application) -> None:
        await asyncio.to_thread(test_it)

    run(machine, test)


def test_the_agent_itself_is_refused_at_once(place: str, machine: FakeMachine) -> None:
    """A link of a container may lead it here on any of its threads, and one of them is to answer."""

    async def test(_: Application) -> None:
        rescue = threading.Timer(DEADLINE_S / 2, mounts.umount, (place, mounts.Unmount.FORCE | mounts.Unmount.DETACH))
        rescue.start()  # a thread that waits for itself could not even be killed
        try:
            for name in ("orders", "nothing"):
                with pytest.raises(PermissionError):
                    os.stat(f"{place}/{name}")  # on the loop, on purpose
                with pytest.raises(PermissionError):
                    await asyncio.to_thread(os.stat, f"{place}/{name}")
            assert os.path.ismount(place)
            listed = await asyncio.create_subprocess_exec("ls", place, stdout=subprocess.PIPE)
            assert b"orders" in (await listed.communicate())[0].split()
        finally:
            rescue.cancel()

    run(machine, test)


def test_many_who_look_ask_the_host_once(kms: str, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(app: Application) -> None:
        server = app.keys._server
        assert server is not None
        asked, begun, go_on, list_keys = 0, asyncio.Event(), asyncio.Event(), server._uses.list_keys

        async def list_late() -> SecretKeys:
            nonlocal asked
            asked += 1
            begun.set()
            await go_on.wait()
            return await list_keys()

        monkeypatch.setattr(server._uses, "list_keys", list_late)
        looking = [asyncio.create_task(server._tree()) for _ in range(20)]
        await begun.wait()
        go_on.set()
        assert {tree.path(ROOT) for tree in await asyncio.gather(*looking)} == {""}
        assert asked == 1

    run(machine, test)


def test_without_a_host_it_is_an_error_and_then_works(
    kms: str, host: Site, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(_: Application) -> None:
        sealed = await asyncio.to_thread(through, f"{kms}/orders/encr", b"hello")
        host.outward.remove(ME)
        with monkeypatch.context() as impatient:
            impatient.setattr(uses, "_ASK_S", 0.5)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                await asyncio.to_thread(through, f"{kms}/ordersv0/decr", sealed)
        host.ensure(ME, outward.socket_in(machine.paths.outward))
        assert await asyncio.to_thread(through, f"{kms}/orders/decr", sealed) == b"hello"

    run(machine, test)


def test_no_key_is_in_the_agent(kms: str, host: Site, machine: FakeMachine) -> None:
    """Of all that it asks and hears: what the host answers has none, in whichever form."""
    key = key_kinds.KINDS["xaes256gcm"].make()
    host.whole.fly.keys.add(app_of(host), "known", "xaes256gcm", key)

    async def test(app: Application) -> None:
        await asyncio.to_thread(through, f"{kms}/known/encr", b"hello")
        server = app.keys._server
        assert server is not None
        told = repr(await server._uses.list_keys()).encode() + server._known.info("known")
        assert key not in told
        assert key.hex().encode() not in told

    run(machine, test)
