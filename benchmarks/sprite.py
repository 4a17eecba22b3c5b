"""Sprites, by way of a real pilotd and sprites-py, against runc and podman on the same Debian.

A command counts until its output has been read and its exit status is known, for everybody. What sprites-py costs
is in the numbers, where the row does not say otherwise. Each table ends after its time, whatever `rounds` says.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from . import harness, memory, processes, standin
from .harness import Contender, Sample, Table
from .standin import Sprites, Yardstick

_LIMIT_S = 25.0
_COMMAND = ("echo", "here")
_STREAM_BYTES = 64 << 20
_STREAM = ("head", "-c", str(_STREAM_BYTES), "/dev/zero")
# 6 MiB ten times a second, over and over the same 60 MiB.
_WRITER = (
    "while :; do for i in 0 1 2 3 4 5 6 7 8 9; do "
    "dd if=/dev/urandom of=/home/sprite/written bs=6M count=1 seek=$i conv=notrunc status=none; sleep 0.1; "
    "done; done"
)
_RESTART_S = 20.0
_PAUSE_S = 0.1  # before a checkpoint, as in benchmarks.checkpoint


def run(rounds: int) -> Sequence[Table]:
    """All tables; at most `rounds` of each, of exec ten times as many."""
    with standin.yardstick() as others, standin.sprites() as sprites:
        return [
            *_create(sprites, others, rounds),
            *_of_one_sprite(sprites, others, rounds),
            memory.table(sprites),
        ]


def _of_one_sprite(sprites: Sprites, others: Yardstick, rounds: int) -> Iterator[Table]:
    sprite = sprites.create()
    sprite.run("true")
    try:
        yield _exec(sprites, sprite, others, rounds * 10)
        yield _stream(sprite, others, min(rounds, 10))
        yield _checkpoints(sprites, sprite, 2 * rounds)
        yield _restore(sprite, rounds)
        yield _fork(sprites, sprite, rounds)
        yield _agent_restart(sprites, min(rounds, 20))
    finally:
        sprite.destroy()


@contextlib.contextmanager
def _timed(times: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    times[name] = (time.perf_counter() - begin) * 1e3


def _output(command: Sequence[str]) -> bytes:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=60)
    return done.stdout


def _check(output: bytes) -> None:
    if output != b"here\n":
        raise RuntimeError(f"{' '.join(_COMMAND)} wrote {output!r}")


def _first_command(sprite: Any) -> None:
    done = sprite.run(*_COMMAND, capture_output=True, check=True)
    _check(done.stdout)


# ---- create, fork, destroy ------------------------------------------------------------------------------------------


def _create(sprites: Sprites, others: Yardstick, rounds: int) -> Iterator[Table]:
    command = others.runc_run(*_COMMAND)
    title, note = "create, and the first command's output", "destroy_ms is not in wall_ms."
    yield _create_from_pool(f"{title}; from the pool", command, rounds, note)
    contenders = [Contender("sprite", _life(sprites.create)), Contender("runc run", lambda: _runc_run(command))]
    samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    yield harness.make_table(title, samples, ["runc run"], "wall_ms", note)
    yield harness.make_table("destroy", {"sprite": samples["sprite"]}, [], "destroy_ms")


def _create_from_pool(title: str, command: Sequence[str], rounds: int, note: str) -> Table:
    """Nobody begins before the pool is full again: filling it takes a processor for a while."""
    with standin.sprites(pool=1) as sprites:
        contenders = [
            Contender("sprite", _life(sprites.create, before=sprites.await_pool)),
            Contender("runc run", lambda: _runc_run(command, before=sprites.await_pool)),
        ]
        samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    return harness.make_table(title, samples, ["runc run"], "wall_ms", note)


def _life(make: Callable[[], Any], before: Callable[[], object] = lambda: None) -> harness.Run:
    """A sprite from its making to its end; `before` does not count."""

    def run() -> Sample:
        before()
        times: dict[str, float] = {}
        with _timed(times, "create_ms"):
            sprite = make()
        with _timed(times, "command_ms"):
            _first_command(sprite)
        with _timed(times, "destroy_ms"):
            sprite.destroy()
        return {"wall_ms": times["create_ms"] + times["command_ms"], **times}

    return run


def _runc_run(command: Sequence[str], before: Callable[[], object] = lambda: None) -> Sample:
    before()
    times: dict[str, float] = {}
    with _timed(times, "wall_ms"):
        _check(_output(command))
    return times


def _fork(sprites: Sprites, parent: Any, rounds: int) -> Table:
    contenders = [Contender("fork of a running sprite", _life(lambda: sprites.fork(parent)))]
    samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    return harness.make_table("fork, and the first command's output", samples, [], "wall_ms")


# ---- exec -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _others_exec(others: Yardstick) -> Iterator[dict[str, list[str]]]:
    """How exec begins elsewhere, by name."""
    with others.runc_exec() as runc, others.podman_exec() as podman:
        yield {"runc exec": runc} | ({"podman exec": podman} if podman else {})


def _exec(sprites: Sprites, sprite: Any, others: Yardstick, rounds: int) -> Table:
    def by_client() -> Sample:
        times: dict[str, float] = {}
        with _timed(times, "wall_ms"):
            _first_command(sprite)
        return times

    def by_post() -> Sample:
        times: dict[str, float] = {}
        with _timed(times, "wall_ms"):
            post(len(_COMMAND[1]) + 1)
        return times

    with _others_exec(others) as commands, _posting(sprites, sprite, _COMMAND) as post:
        contenders = [Contender("sprite, sprites-py", by_client), Contender("sprite, plain POST", by_post)]
        contenders += [Contender(name, _runner([*words, *_COMMAND])) for name, words in commands.items()]
        samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    return harness.make_table(f"exec `{' '.join(_COMMAND)}`", samples, list(commands), "wall_ms")


def _runner(command: Sequence[str]) -> harness.Run:
    return lambda: _runc_run(command)


@contextlib.contextmanager
def _posting(sprites: Sprites, sprite: Any, command: Sequence[str]) -> Iterator[Callable[[int], None]]:
    """POST /exec on a connection that stays. The call reads the answer, which must have so many bytes of output."""
    import httpx

    headers = {"Authorization": f"Bearer {sprites.daemon.token()}"}
    url = f"/v1/sprites/{sprite.name}/exec"
    with httpx.Client(base_url=sprites.daemon.url, headers=headers, timeout=60) as client:

        def post(size: int) -> None:
            with client.stream("POST", url, params=[("cmd", word) for word in command]) as answer:
                answer.raise_for_status()
                total = sum(len(piece) for piece in answer.iter_raw())
            # Each frame has a head beside the output.
            if total <= size:
                raise RuntimeError(f"{total} bytes of frames where {size} bytes of output were expected")

        yield post


# ---- a stream of output ---------------------------------------------------------------------------------------------


class _Sink:
    """Takes all and counts it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """There is nothing that it holds back."""


def _stream(sprite: Any, others: Yardstick, rounds: int) -> Table:
    """Over a WebSocket; POST waits between its frames, which have no length, and is not for streams."""
    with _others_exec(others) as commands:
        contenders = [Contender("sprite, sprites-py", lambda: _speed(lambda: _read_by_client(sprite)))]
        contenders += [Contender(name, _reader([*words, *_STREAM])) for name, words in commands.items()]
        samples = harness.interleave(contenders, rounds, 1, _LIMIT_S)
    title = f"exec, {_STREAM_BYTES >> 20} MiB of output"
    return harness.make_table(title, samples, list(commands), "mb_per_s", "More is better, ratios too.")


def _speed(act: Callable[[], None]) -> Sample:
    times: dict[str, float] = {}
    with _timed(times, "wall_ms"):
        act()
    return {"mb_per_s": _STREAM_BYTES / 1e3 / times["wall_ms"], **times}


def _read_by_client(sprite: Any) -> None:
    sink = _Sink()
    sprite.command(*_STREAM, stdout=sink).run()
    _check_size(sink.size)


def _reader(command: Sequence[str]) -> harness.Run:
    return lambda: _speed(lambda: _read_pipe(command))


def _read_pipe(command: Sequence[str]) -> None:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None  # a pipe
        size = sum(len(piece) for piece in _pieces(process.stdout))
    _check_size(size)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(1 << 16):
        yield piece


def _check_size(size: int) -> None:
    if size != _STREAM_BYTES:
        raise RuntimeError(f"{size} of {_STREAM_BYTES} bytes came")


# ---- checkpoint, restore --------------------------------------------------------------------------------------------


def _checkpoints(sprites: Sprites, sprite: Any, rounds: int) -> Table:
    """Both by the same sprite, one after the other: the writer stays once it has begun."""
    clean = harness.interleave([Contender("clean", lambda: _checkpoint(sprites, sprite))], rounds, 2, _LIMIT_S)
    with _writing(sprite):
        contender = Contender("under 60 MB/s of writes", lambda: _checkpoint(sprites, sprite))
        writing = harness.interleave([contender], rounds, 2, _LIMIT_S)
    note = (
        "wall_ms is the call; frozen_ms is how long writers had to wait; crash_consistent 1: the freeze was given up."
    )
    return harness.make_table("checkpoint", clean | writing, [], "wall_ms", note)


def _checkpoint(sprites: Sprites, sprite: Any) -> Sample:
    times: dict[str, float] = {}
    time.sleep(_PAUSE_S)
    with _timed(times, "wall_ms"):
        list(sprite.create_checkpoint("bench"))
    rows = sprites.call("GET", f"/v1/sprites/{sprite.name}/checkpoints").json()
    last = max((row for row in rows if row["id"] != "Current"), key=lambda row: int(row["id"][1:]))
    return {**times, "frozen_ms": last["frozen_ms"], "crash_consistent": float(not last["clean"])}


@contextlib.contextmanager
def _writing(sprite: Any) -> Iterator[None]:
    """A process in the sprite that writes all the time, in a group of its own so that all of it ends."""
    started = sprite.run("sh", "-c", f"setsid sh -c '{_WRITER}' >/dev/null 2>&1 & echo $!", capture_output=True)
    group = started.stdout.decode().strip()
    sprite.run("sh", "-c", "until [ -s /home/sprite/written ]; do sleep 0.01; done", timeout=30, check=True)
    try:
        yield
    finally:
        sprite.run("sh", "-c", f"kill -- -{group}; rm /home/sprite/written")


def _restore(sprite: Any, rounds: int) -> Table:
    list(sprite.create_checkpoint("to be restored"))
    checkpoint = max((point.id for point in sprite.list_checkpoints() if point.id != "Current"), key=_number)

    def run() -> Sample:
        sprite.run("touch", "/home/sprite/later", check=True)
        times: dict[str, float] = {}
        with _timed(times, "restore_ms"):
            list(sprite.restore_checkpoint(checkpoint))
        with _timed(times, "command_ms"):
            _first_command(sprite)
        if sprite.run("test", "-e", "/home/sprite/later").returncode == 0:
            raise RuntimeError("the restore changed nothing")
        return {"wall_ms": sum(times.values()), **times}

    samples = harness.interleave([Contender("sprite", run)], rounds, limit_s=_LIMIT_S)
    return harness.make_table("restore, and the first command's output", samples, [], "wall_ms")


def _number(checkpoint: str) -> int:
    return int(checkpoint.removeprefix("v"))


# ---- the agent ------------------------------------------------------------------------------------------------------


def _agent_restart(sprites: Sprites, rounds: int) -> Table:
    agent = sprites.agent()

    def run() -> Sample:
        (pid,) = processes.find(lambda _, words: words == processes.AGENT)
        restarts = agent.status().agent_restarts
        end = os.pidfd_open(pid)
        times: dict[str, float] = {}
        with _timed(times, "wall_ms"):
            signal.pidfd_send_signal(end, signal.SIGKILL)
            _await_restart(agent, restarts)
        os.close(end)
        return times

    # init waits longer and longer when agents die young: the first rounds are those that count.
    samples = harness.interleave([Contender("sprite", run)], rounds, 0, _LIMIT_S)
    return harness.make_table("agent killed with -9, until its API answers again", samples, [], "wall_ms")


def _await_restart(agent: Any, restarts: int) -> None:
    """Its socket is init's and never refuses: who dials waits for the next agent, or was cut off by the last one."""
    from pilot import errors

    deadline = time.monotonic() + _RESTART_S
    while time.monotonic() < deadline:
        try:
            if agent.status().agent_restarts > restarts:
                return
        except errors.PeerError:
            continue  # taken by the agent that was dying
    raise RuntimeError(f"no agent answered within {_RESTART_S:.0f} s")
