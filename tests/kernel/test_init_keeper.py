"""pilot-init as the keeper of a host's descriptors, and as the reaper of the user's world."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support import underinit

from pilot import errors
from pilot.kernel import initlink

pytestmark = pytest.mark.requires("root", "private")

Keep = Callable[..., underinit.UnderInit]


@pytest.fixture(scope="module", params=sorted(underinit.BUILDS))
def init(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return underinit.build_init_or_skip(request.param, tmp_path_factory.mktemp("init"))


@pytest.fixture
def keep(init: Path, tmp_path: Path) -> Iterator[Keep]:
    with ExitStack() as stack:

        def start(name: str, *options: str) -> underinit.UnderInit:
            (tmp_path / name).mkdir()
            keeper = underinit.UnderInit(init, tmp_path / name, "--keeper", *options, namespace=False)
            return stack.enter_context(keeper)

        yield start


def _bystander(stack: ExitStack) -> subprocess.Popen[bytes]:
    process = stack.enter_context(subprocess.Popen(["sleep", "1000"]))
    stack.callback(process.kill)
    return process


def _wait_for_end(pid_fd: int) -> None:
    poll = select.poll()
    poll.register(pid_fd, select.POLLIN)
    assert poll.poll(20_000), "the process lives on"
    os.close(pid_fd)


def test_keeper_adopts_orphans_and_ends_only_its_own(keep: Keep) -> None:
    with ExitStack() as stack:
        bystander = _bystander(stack)
        keeper = keep("one", "--grace-ms", "10")
        agent = keeper.agent()
        agent.call("orphans", [3])
        (record,) = agent.call("records", 1)
        assert os.waitstatus_to_exitcode(record["status"]) == 3
        stubborn = os.pidfd_open(agent.call("stubborn"))
        os.kill(keeper.init_pid(), signal.SIGTERM)
        assert keeper.wait() == 0
        _wait_for_end(stubborn)
        assert bystander.poll() is None


def test_agent_dies_with_its_keeper(keep: Keep) -> None:
    keeper = keep("one")
    agent = keeper.agent()
    end = os.pidfd_open(agent.pid)
    keeper.process.kill()
    _wait_for_end(end)


def test_new_keeper_takes_the_store_of_the_old(keep: Keep) -> None:
    old = keep("old")
    agent = old.agent()
    for number in range(50):
        agent.call("put", f"disk{number}", f"content {number}")
    agent.call("drop", "disk7")
    old_agent = os.pidfd_open(agent.pid)
    new = keep("new", "--take-from", str(old.init_pid()))
    assert new.agent().inherited == {f"disk{n}": f"content {n}" for n in range(50) if n != 7}
    assert old.wait() == -signal.SIGKILL
    _wait_for_end(old_agent)


def test_process_that_is_no_keeper_is_left_alone(keep: Keep) -> None:
    with ExitStack() as stack:
        bystander = _bystander(stack)
        keeper = keep("one", "--take-from", str(bystander.pid))
        assert keeper.wait() == 1
        assert "take the store of the old keeper: No such process" in keeper.log.read_text()
        state = Path(f"/proc/{bystander.pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state in ("S", "R", "D"), "it goes on, neither stopped nor ended"


class Door:
    """A keeper that listens, and visits to it."""

    def __init__(self, init: Path, directory: Path) -> None:
        self._init = init
        self._log = open(directory / "door.log", "wb")  # noqa: SIM115 - closed below
        self._path = str(directory / "door")
        self.children: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self._path)
        self._listener.listen(1)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        fd = self._listener.fileno()
        given = () if "--take-from" in options else (fd,)
        child = subprocess.Popen(
            [self._init, "--keeper", "--listen", "door", *options],
            env={"PILOT_FDS": f"door:{fd}"} if given else {}, pass_fds=given, stderr=self._log,
        )  # fmt: skip
        self.children.append(child)
        return child

    def connect(self) -> int:
        """A socket that waits at the door; the caller owns it."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self._path)
        return sock.detach()

    def visit(self) -> initlink.InitLink:
        return initlink.InitLink(self.connect())

    def close(self) -> None:
        self._listener.close()
        for child in self.children:
            child.kill()
            child.wait()
        self._log.close()


@pytest.fixture
def door(init: Path, tmp_path: Path) -> Iterator[Door]:
    made = Door(init, tmp_path)
    yield made
    made.close()


def _memfd(content: str) -> int:
    fd = os.memfd_create("content")
    os.write(fd, content.encode())
    return fd


def _contents(link: initlink.InitLink) -> dict[str, bytes]:
    return {name: os.pread(fd, 20, 0) for name, fd in link.inherited.items() if name != "door"}


def test_visitors_are_handed_what_was_put_and_the_last_one_ends_it(door: Door) -> None:
    first = door.connect()
    child = door.start()
    fds = [_memfd(text) for text in ("one", "two")]
    with initlink.InitLink(first) as link:
        link.put("a", fds[0])
        link.put("b", fds[1])
        with door.visit() as second:
            assert _contents(second) == {"a": b"one", "b": b"two"}
            with pytest.raises(errors.PeerError):
                link.put("c", fds[0])  # one at a time: the newer has taken its place
    os.kill(child.pid, signal.SIGTERM)
    with door.visit() as third:
        assert _contents(third) == {"a": b"one", "b": b"two"}
        third.drop("a", wait=True)
        targets = [os.readlink(entry) for entry in Path(f"/proc/{child.pid}/fd").iterdir()]
        assert sum("memfd:content" in target for target in targets) == 1
        third.drop("b")
    assert child.wait(timeout=20) == 0, "with nothing to keep and nobody inside it ends"
    for fd in fds:
        os.close(fd)


def test_a_door_that_nobody_waits_at_is_closed_at_once(door: Door) -> None:
    os.close(door.connect())
    assert door.start().wait(timeout=20) == 0


def test_a_new_keeper_takes_the_door_too(door: Door) -> None:
    first = door.connect()
    old = door.start()
    fd = _memfd("one")
    with initlink.InitLink(first) as link:
        link.put("a", fd)
        new = door.start("--take-from", str(old.pid))
        assert old.wait(timeout=20) == -signal.SIGKILL
        with pytest.raises(errors.PeerError):
            link.put("b", fd)
    with door.visit() as link:
        assert _contents(link) == {"a": b"one"}
        link.drop("a")
    assert new.wait(timeout=20) == 0
    os.close(fd)


def test_a_door_that_is_no_socket_is_refused(init: Path) -> None:
    fd = _memfd("no socket")
    command = [str(init), "--keeper", "--listen", "door"]
    for name in ("door", "window"):
        result = subprocess.run(
            command, env={"PILOT_FDS": f"{name}:{fd}"}, pass_fds=[fd], check=False, stderr=subprocess.PIPE, timeout=30
        )
        assert result.returncode == 1
        assert b"listen at the stored descriptor" in result.stderr
    os.close(fd)


def _wait_until(true: Callable[[], bool]) -> None:
    """For what the kernel tells nobody: that a zombie is gone."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        os.sched_yield()


def _listens(pid: int, init: Path) -> bool:
    """Whether it is init and takes signals by its descriptor; until then the kernel drops what is sent to process 1."""
    masks = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line[:6] == "SigBlk"]
    blocked = int(masks[0], 16) >> (signal.SIGTERM - 1) & 1
    return bool(blocked) and Path(f"/proc/{pid}/exe").samefile(init)


def test_reaper_reaps_and_ends_all_when_told(init: Path) -> None:
    own = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    script = f"echo $$; exec {init} --reaper --grace-ms 10"
    with subprocess.Popen([*own, "sh", "-c", script], stdout=subprocess.PIPE) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stdout.readline() == b"1\n"
            reaper = underinit.child_of(outer.pid)
            _wait_until(lambda: _listens(reaper, init))
            enter = ["nsenter", "--target", str(reaper), "--pid", "--mount", "--", "sh", "-c"]
            stubborn = "sh -c 'trap \"\" TERM; while :; do sleep 1000; done' >&- 2>&- &"
            orphan = subprocess.check_output([*enter, f"{stubborn} true & echo $!"], timeout=30)
            _wait_until(lambda: not Path(f"/proc/{reaper}/root/proc/{int(orphan)}").exists())
            os.kill(reaper, signal.SIGTERM)
            assert outer.wait(timeout=30) == 0
        finally:
            outer.kill()


_TRUE = ["--", "/bin/true"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--keeper"],
        ["--reaper", *_TRUE],
        ["--take-from", "1", *_TRUE],
        ["--grace-ms", "x", *_TRUE],
        ["--grace-ms", "-1", *_TRUE],
        ["--grace-ms"],
        ["--name"],
        ["--unknown", *_TRUE],
        ["--listen", "door"],
        ["--keeper", "--listen", "door", *_TRUE],
        ["--keeper", "--reaper", "--listen", "door"],
    ],
)
def test_bad_command_line_is_refused(init: Path, words: list[str]) -> None:
    result = subprocess.run([init, *words], check=False, stderr=subprocess.PIPE, text=True, timeout=30)
    assert result.returncode == 2
    assert "usage: pilot-init" in result.stderr
