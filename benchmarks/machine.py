"""The pilot API of a bare machine (a container), asked as `pilot machine` asks it, beside crun and podman.

All run the same busybox. Ours goes through the dial socket, a new connection for each call; theirs is a program that is
started. `wall_ms` is what a caller waits for, `whole_ms` with what is left of a container taken away.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tests.support import clients
from tests.support.clients import Client

from pilot import errors
from pilot.bare import machines
from pilot.machine import dial, web_socket
from pilot.machine.pilot_api import PilotApi
from pilot.wire import dial as lines
from pilot.wire import exec_frames, graph, operations, websocket

from . import bundles, harness, processes, runtime
from .harness import Contender, Sample, Table
from .runtime import Tool

_Asked = TypeVar("_Asked")
_MEMORY = 1 << 30
_ROOT = graph.Root(path="/run/disks/root")
_FOR_EVER = ["sleep", "100000"]
_MIB = 1 << 20
_STREAM_MIB, _WRITE_KIB = 256, 64
_INFRA = "localhost/infra"
_CONTAINERS = 10
_MACHINES, _FEW = 20, 3
_IDLE_S = 10.0
_LIMIT_S = 30.0
_PATIENCE_S = 60.0
_LOOK_S = 0.01


def run(rounds: int) -> Sequence[Table]:
    """All tables; `rounds` of each, of what is long fewer."""
    with runtime.directory() as place:
        plain = bundles.make_bundle(place / "plain", "true")
        tools = [tool for tool in runtime.tools(plain) if not runtime.is_ours(tool.name)]
        with _machine(place, plain / "rootfs") as api:
            tables = [
                _one(api, plain, tools, rounds),
                _exec(api, place, tools, rounds),
                _output(api, place, min(rounds, 10)),
                _graph(api, place, min(rounds, 10)),
            ]
        return [*tables, *_idle(place, _MACHINES if rounds >= 50 else _FEW)]


class Api(PilotApi):
    """Of a machine in which `box` runs."""

    def __init__(self, dial_path: str) -> None:
        super().__init__(dial_path)
        self.dial_path = dial_path


@contextlib.contextmanager
def _machine(place: Path, rootfs: Path) -> Iterator[Api]:
    directory = str(place / "machine")
    try:
        api = Api(machines.start(directory, {"root": str(rootfs)}, _MEMORY))
        spec = graph.ContainerSpec(root=_ROOT, command=_FOR_EVER, stop=graph.Stop(signal="KILL"))
        api.call(operations.PUT_CONTAINER, spec, name="box")
        api.call(operations.GET_CONTAINER, None, query=[("settled", "20")], name="box")
        yield api
    finally:
        machines.stop(directory)


def _timed(begin: float) -> float:
    return (time.perf_counter() - begin) * 1e3


# ---- one container --------------------------------------------------------------------------------------------------


def _one(api: Api, bundle: Path, tools: Sequence[Tool], rounds: int) -> Table:
    contenders = [Contender("the pilot API", lambda: _create_to_exit(api))]
    contenders += [Contender(f"{tool.name} run", lambda tool=tool: _run(tool, bundle)) for tool in tools]  # type: ignore[misc]
    samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    yardsticks = [f"{tool.name} run" for tool in tools]
    note = "Of a `run` all is in wall_ms. Of the API: to the answer that tells its exit code."
    return harness.make_table("a container of `true`, create to exit", samples, yardsticks, "wall_ms", note)


def _create_to_exit(api: Api) -> Sample:
    spec = graph.ContainerSpec(root=_ROOT, command=["true"], restart=graph.Restart(policy="no"))
    begin = time.perf_counter()
    api.call(operations.PUT_CONTAINER, spec, name="one")
    api.call(operations.GET_CONTAINER, None, query=[("settled", "20")], name="one")  # it has been started
    told = api.call(operations.WAIT_CONTAINER, None, name="one")
    wall_ms = _timed(begin)
    if told.exit_code:
        raise RuntimeError(f"`true` in a container of the API: exit code {told.exit_code}")
    api.call(operations.DELETE_CONTAINER, None, name="one")
    _gone(api, "one")
    whole_ms = _timed(begin)
    api.call(operations.ACKNOWLEDGE_EXIT, None, name="one", seq=str(told.seq))
    return {"wall_ms": wall_ms, "whole_ms": whole_ms}


def _gone(api: Api, name: str) -> None:
    with contextlib.suppress(errors.NotFound):
        while True:
            api.call(operations.GET_CONTAINER, None, query=[("settled", "20")], name=name)


def _run(tool: Tool, bundle: Path) -> Sample:
    sample = tool.execute("run", "--bundle", str(bundle), "bench-machine")
    return {"wall_ms": sample["wall_ms"], "whole_ms": sample["wall_ms"]}


# ---- exec -----------------------------------------------------------------------------------------------------------


def _exec(api: Api, place: Path, tools: Sequence[Tool], rounds: int) -> Table:
    bundle = bundles.make_bundle(place / "asleep-beside-a-machine", *_FOR_EVER)
    with contextlib.ExitStack() as stack:
        contenders = [Contender("the pilot API", lambda: _execute(api))]
        for number, tool in enumerate(tools):
            one = stack.enter_context(runtime.running(tool, f"machine-{number}", bundle))
            contenders.append(Contender(f"{tool.name} exec", one))
        samples = harness.interleave(contenders, rounds, limit_s=_LIMIT_S)
    return harness.make_table("exec of `true`, to its exit code", samples, [c.name for c in contenders[1:]], "wall_ms")


def _execute(api: Api) -> Sample:
    begin = time.perf_counter()
    answer = api.call(operations.EXECUTE, b"", query=[("container", "box"), ("cmd", "true")])
    wall_ms = _timed(begin)
    if answer != bytes([exec_frames.Stream.EXIT, 0]):
        raise RuntimeError(f"`true` by exec: {answer!r}")
    return {"wall_ms": wall_ms}


def _output(api: Api, place: Path, rounds: int) -> Table:
    # busybox's head goes through its output byte by byte, and would be all that is measured.
    words = ("busybox", "dd", "if=/dev/zero", f"bs={_WRITE_KIB}k", f"count={_STREAM_MIB * _MIB // (_WRITE_KIB << 10)}")
    contenders = [
        Contender("WebSocket, the bytes alone", lambda: _rate(_bytes_by_websocket, api, words)),
        Contender("WebSocket, `pilot machine exec`'s client", lambda: _rate(_read_by_client, api, words)),
    ]
    with contextlib.ExitStack() as stack:
        podman = stack.enter_context(_podman_asleep(place))
        yardsticks = []
        if podman is not None:
            contenders.append(Contender("podman exec", lambda: _rate(_bytes_of_podman, podman, words)))
            yardsticks = ["podman exec"]
        samples = harness.interleave(contenders, rounds, warmup=1, limit_s=2 * _LIMIT_S)
    title = f"{_STREAM_MIB} MiB of output by exec"
    note = f"A rate: the larger is the better one. Written {_WRITE_KIB} KiB at a time."
    return harness.make_table(title, samples, yardsticks, "mb_per_s", note)


def _rate(read: Callable[[_Asked, Sequence[str]], int], asked: _Asked, words: Sequence[str]) -> Sample:
    begin = time.perf_counter()
    count = read(asked, words)
    wall_s = time.perf_counter() - begin
    if count < _STREAM_MIB * _MIB:
        raise RuntimeError(f"{' '.join(words)}: {count} bytes came")
    return {"mb_per_s": _STREAM_MIB * _MIB / 1e6 / wall_s, "wall_ms": wall_s * 1e3}


def _target(words: Sequence[str]) -> str:
    return operations.OPEN_SESSION.target({}, [("container", "box"), *(("cmd", word) for word in words)])


def _read_by_client(api: Api, words: Sequence[str]) -> int:
    count = 0
    with web_socket.open_socket(api.dial_path, _target(words), _PATIENCE_S) as socket:
        while not isinstance(message := socket.receive(), websocket.Closed):
            event = exec_frames.parse_server_message(message, tty=False)
            count += len(event.data) if isinstance(event, exec_frames.Output) else 0
    return count


def _bytes_by_websocket(api: Api, words: Sequence[str]) -> int:
    """Frames and all, not looked at: what the machine can do, whatever reads it."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET {_target(words)} HTTP/1.1\r\nHost: machine\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    with dial.connect(api.dial_path, lines.PORT_API, _PATIENCE_S) as stream:
        stream.sendall(head.encode())
        buffer, count = bytearray(_MIB), 0
        while count < _STREAM_MIB * _MIB and (size := stream.recv_into(buffer)):
            count += size
    return count


# ---- podman ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _podman(place: Path) -> Iterator[Client | None]:
    """With an image of busybox; None where there is no podman."""
    if not shutil.which("podman"):
        yield None
        return
    home = place / "podman"
    is_new = not home.exists()
    home.mkdir(mode=0o755, exist_ok=True)
    client = clients.podman(home)
    if is_new:
        client.run("import", clients.make_image_tar(home / "image.tar"), clients.IMAGE)
    yield client


@contextlib.contextmanager
def _podman_asleep(place: Path) -> Iterator[Client | None]:
    with _podman(place) as client:
        if client is None:
            yield None
            return
        options = ("--runtime", "crun", "run", "--detach", "--network", "none", "--name", "bench-asleep")
        client.run(*options, clients.IMAGE, *_FOR_EVER)
        try:
            yield client
        finally:
            client.run("--runtime", "crun", "rm", "--force", "--time", "0", "bench-asleep")


def _bytes_of_podman(client: Client, words: Sequence[str]) -> int:
    command = [*client.words, "--runtime", "crun", "exec", "bench-asleep", *words]
    with subprocess.Popen(command, env=client.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        buffer, count = bytearray(_MIB), 0
        while size := os.readv(process.stdout.fileno(), [buffer]):
            count += size
    if process.returncode:
        raise RuntimeError(f"podman exec: exit status {process.returncode}")
    return count


# ---- a graph of ten -------------------------------------------------------------------------------------------------


def _graph(api: Api, place: Path, rounds: int) -> Table:
    with _podman(place) as client:
        contenders = [Contender("the pilot API, PUT /v1/graph", lambda: _apply(api))]
        yardsticks = []
        if client is not None and _plays(client, place):
            contenders.append(Contender("podman play kube", lambda: _play(client, place)))
            yardsticks = ["podman play kube"]
        samples = harness.interleave(contenders, rounds, warmup=1, limit_s=2 * _LIMIT_S)
    note = "Roots are ready. Until each has been started, for podman until the command has ended."
    return harness.make_table(f"a graph of {_CONTAINERS} containers up", samples, yardsticks, "wall_ms", note)


def _apply(api: Api) -> Sample:
    kill = graph.Stop(signal="KILL")
    wanted = [
        graph.Container(name=name, root=_ROOT, command=_FOR_EVER, stop=kill)
        for name in ("box", *(f"c{number}" for number in range(_CONTAINERS)))
    ]
    begin = time.perf_counter()
    api.call(operations.APPLY_GRAPH, graph.GraphRequest(containers=wanted))
    _settle(api, _CONTAINERS + 1)
    wall_ms = _timed(begin)
    api.call(operations.APPLY_GRAPH, graph.GraphRequest(containers=wanted[:1]))
    _settle(api, 1)
    return {"wall_ms": wall_ms, "whole_ms": _timed(begin)}


def _settle(api: Api, count: int) -> None:
    """Asked again and again, as `pilot machine run` does."""
    while True:
        told = api.call(operations.GET_GRAPH, None)
        if told.settled and [row.status for row in told.containers] == ["running"] * count:
            return
        time.sleep(_LOOK_S)


def _pod(place: Path) -> str:
    """A pod of as many containers; busybox is its infra container, too (`containers.conf`)."""
    path = place / "pod.yaml"
    row = f"    image: {clients.IMAGE}\n    imagePullPolicy: Never\n    command: [/bin/sleep, '100000']\n"
    rows = "".join(f"  - name: c{number}\n{row}" for number in range(_CONTAINERS))
    path.write_text(f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: bench\nspec:\n  containers:\n{rows}")
    return str(path)


def _plays(client: Client, place: Path) -> bool:
    """Whether it can here. Its infra container is of an image that it would make of a program which may be missing."""
    client.run("import", "--change", 'CMD ["/bin/sleep", "100000"]', place / "podman" / "image.tar", _INFRA)
    conf = Path(client.environment["CONTAINERS_CONF"])
    conf.write_text(conf.read_text().replace("[engine]\n", f'[engine]\ninfra_image = "{_INFRA}"\n', 1))
    try:
        _play(client, place)
    except RuntimeError as error:
        print(f"left out: {error}", file=sys.stderr)
        return False
    return True


def _play(client: Client, place: Path) -> Sample:
    pod = _pod(place)
    begin = time.perf_counter()
    played = client.call("--runtime", "crun", "play", "kube", "--network", "none", pod)
    wall_ms = _timed(begin)
    removed = client.call("--runtime", "crun", "pod", "rm", "--force", "--time", "0", "bench")
    if played.code or removed.code:
        raise RuntimeError(f"podman play kube: {played.err}{removed.err}")
    return {"wall_ms": wall_ms, "whole_ms": _timed(begin)}


# ---- what idle machines cost ----------------------------------------------------------------------------------------


def _idle(place: Path, count: int) -> Iterator[Table]:
    """Bare machines in which nothing runs."""
    with contextlib.ExitStack() as stack:
        for number in range(count):
            directory = str(place / f"idle-{number}")
            stack.callback(machines.stop, directory)
            PilotApi(machines.start(directory, {}, _MEMORY)).status()
        found = {
            kind: processes.find(lambda _, words, line=line: words == line)  # type: ignore[misc]
            for kind, line in (("agent", processes.AGENT), ("init", processes.INIT))
        }
        if [len(pids) for pids in found.values()] != [count, count]:
            raise RuntimeError(f"processes of {count} machines: {found}")
        yield harness.make_table(f"{count} idle machines: memory (PSS) of each", _memory(found), [], "agent_init_mib")
        yield harness.make_table(f"{count} idle machines: processor time", _processor(found), [], "cpu_ms_per_s")


def _memory(found: dict[str, list[int]]) -> dict[str, list[Sample]]:
    costs = {f"{kind}_mib": sorted(map(processes.pss_mib, pids)) for kind, pids in found.items()}
    rows = zip(*costs.values(), strict=True)
    samples = [dict(zip(costs, row, strict=True)) | {"agent_init_mib": sum(row)} for row in rows]
    return {"a machine": list(samples)}


def _processor(found: dict[str, list[int]]) -> dict[str, list[Sample]]:
    """Of agent and init of each machine, while nobody asks them anything."""
    before = {pid: processes.cpu_ms(pid) for pids in found.values() for pid in pids}
    begin = time.perf_counter()
    time.sleep(_IDLE_S)
    passed_s = time.perf_counter() - begin
    return {
        kind: [{"cpu_ms_per_s": (processes.cpu_ms(pid) - before[pid]) / passed_s} for pid in pids]
        for kind, pids in found.items()
    }
