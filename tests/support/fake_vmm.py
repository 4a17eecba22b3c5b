"""A machine without isolation: dial, descriptors, the pilot API and the Sprites exec framing, over a real Unix socket.

Commands run as local processes in the directory that was passed as the disk; files are that directory's. It speaks the
contract with other code than the agent's (websockets and h11 directly), so that the host is tested against that.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import pathlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from pilot import errors
from pilot.host.vmm import Disk, Isolation, Link, MachineSpec, MachineStatus, Unresumable, Usage
from pilot.ids import MachineId
from pilot.wire.schema import DiskReference


class FakeVmm:
    """`pilot.host.vmm.Vmm`; `machines` and `calls` are for tests to look at."""

    mounts_in_guest = False

    def __init__(self, root: pathlib.Path, isolation: Isolation = Isolation.CONTAINER) -> None:
        self._root = root
        self.isolation = isolation
        self.machines: dict[MachineId, FakeMachine] = {}
        self.made: dict[MachineId, MachineSpec] = {}
        self.calls: list[tuple[str, str]] = []
        self.fail_start = 0
        self.fail_freeze = 0
        self.resizes = True
        self.refuse_below_bytes = 0
        self.while_resizing: Callable[[], object] = lambda: None
        self.frozen: set[MachineId] = set()
        self.suspends_to_disk = False
        self.suspended: set[MachineId] = set()
        self.unresumable = False
        self.fail_end = 0  # what is suspended already

    def max_processes(self, spec: MachineSpec) -> int:
        return spec.pids

    def create(self, spec: MachineSpec) -> None:
        self.calls.append(("create", spec.id))
        self.made[spec.id] = spec
        (self._root / spec.id).mkdir(parents=True, exist_ok=True)

    def rejoin(self, machine: MachineId, link: Link) -> None:
        self.calls.append(("rejoin", machine))

    def grow_drive(self, machine: MachineId, number: int, size_bytes: int) -> None:
        self.calls.append(("grow_drive", machine))

    def drive(self, number: int) -> DiskReference:
        return DiskReference(serial=f"drive-{number}")

    def start(
        self, machine: MachineId, disk: Disk | None = None, link: Link | None = None, drives: Sequence[Disk] = ()
    ) -> DiskReference | None:
        self.calls.append(("start", machine))
        if self.fail_start:
            self.fail_start -= 1
            raise errors.HostError("start machine: no luck")
        if self.unresumable and machine in self.suspended:
            raise Unresumable("resume machine: its memory is of another machine")
        self.suspended.discard(machine)
        if machine not in self.machines:
            self.machines[machine] = FakeMachine(self.dial_path(machine))
        return self.attach(machine, disk) if disk else None

    def status(self, machine: MachineId) -> MachineStatus:
        if machine in self.suspended:
            return MachineStatus.SUSPENDED
        if machine in self.machines:
            return MachineStatus.FROZEN if machine in self.frozen else MachineStatus.RUNNING
        return MachineStatus.STOPPED if machine in self.made else MachineStatus.ABSENT

    def resize(self, spec: MachineSpec) -> bool:
        if not self.resizes or spec.id not in self.machines:
            return False
        self.calls.append((f"resize {spec.memory_bytes >> 20} MiB {spec.cpus} cpus", spec.id))
        self.while_resizing()
        if spec.memory_bytes < self.refuse_below_bytes:
            raise errors.HostError(f"set its limit: {self.refuse_below_bytes} are in use")
        self.made[spec.id] = spec
        return True

    def usage(self, machine: MachineId) -> Usage | None:
        return Usage(1.5, 30 << 20, 40 << 20, 7) if machine in self.machines else None

    def freeze(self, machine: MachineId) -> None:
        self.calls.append(("freeze", machine))
        if self.fail_freeze:
            self.fail_freeze -= 1
            raise errors.HostError("freeze machine: a process does not stand still")
        self.frozen.add(machine)

    def suspend(self, machine: MachineId) -> None:
        if machine not in self.suspended:
            self.freeze(machine)
        if self.suspends_to_disk:
            self.suspended.add(machine)
            if self.fail_end:
                self.fail_end -= 1
                raise errors.HostError("end machine: it is still there")
            self._end(machine)

    def thaw(self, machine: MachineId) -> None:
        if machine in self.frozen:
            self.calls.append(("thaw", machine))
            self.frozen.discard(machine)

    def stop(self, machine: MachineId) -> None:
        self.suspended.discard(machine)
        self._end(machine)

    def _end(self, machine: MachineId) -> None:
        self.frozen.discard(machine)
        running = self.machines.pop(machine, None)
        if running:
            running.close()

    def destroy(self, machine: MachineId) -> None:
        self.stop(machine)
        self.made.pop(machine, None)

    def dial_path(self, machine: MachineId) -> str:
        return str(self._root / machine / "dial.sock")

    def outward_path(self, machine: MachineId) -> str:
        return str(self._root / machine / "out.sock")

    def tcp_socket(self, machine: MachineId, family: socket.AddressFamily) -> socket.socket | None:
        return None

    def udp_socket(self, machine: MachineId) -> socket.socket | None:
        return None

    def ask(self, machine: MachineId) -> None:
        from pilot.machine import pilot_api

        pilot_api.PilotApi(self.dial_path(machine)).status()

    def grow_disk(self, machine: MachineId, size_bytes: int) -> None:
        self.calls.append((f"grow {size_bytes}", machine))

    def attach(self, machine: MachineId, disk: Disk) -> DiskReference:
        from pilot.machine import pilot_api

        mount_fd = disk.mount(self.made[machine].uid_base, 65536)
        try:
            pilot_api.send_descriptor(self.dial_path(machine), "disk", mount_fd)
        finally:
            os.close(mount_fd)
        return DiskReference(descriptor="disk")


class FakeMachine:
    """Serves until `close()`, in a thread of its own."""

    def __init__(self, dial_path: str) -> None:
        self.world = "none"
        self.disk_fd: int | None = None
        self.adopted: dict[str, Any] = {}
        self.refused: dict[str, str] = {}
        self.tasks: list[dict[str, str]] = []
        self.privileges: object = None
        self.read_only = False
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        pathlib.Path(dial_path).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(dial_path)
        self._listener.listen(64)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-machine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._stopping = asyncio.Event()
        self._loop.run_until_complete(self._serve())
        self._loop.close()
        self._listener.close()
        self._drop_disk()

    async def _serve(self) -> None:
        self._listener.setblocking(False)
        tasks: set[asyncio.Task[None]] = set()
        stopped = asyncio.ensure_future(self._stopping.wait())
        while not self._stopping.is_set():
            accepting = asyncio.ensure_future(self._loop.sock_accept(self._listener))
            await asyncio.wait({accepting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                accepting.cancel()
                break
            task = asyncio.ensure_future(self._connection(accepting.result()[0]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop_disk(self) -> None:
        if self.disk_fd is not None:
            os.close(self.disk_fd)
            self.disk_fd = None

    @property
    def root(self) -> str:
        assert self.disk_fd is not None
        return f"/proc/{os.getpid()}/fd/{self.disk_fd}/rootfs"

    async def _connection(self, stream: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += await self._loop.sock_recv(stream, 1)
        port = int(line.split()[1])
        if port > 65536:
            await self._tcp(stream, port - 65536)
            return
        await self._loop.sock_sendall(stream, b"OK %d\n" % port)
        if port == 10001:
            await self._descriptor(stream)
            return
        reader, writer = await asyncio.open_unix_connection(sock=stream)
        try:
            await self._http(reader, writer)
        finally:
            writer.close()

    async def _tcp(self, stream: socket.socket, port: int) -> None:
        """As the agent does, with the test's own loopback as the machine's."""
        reader, writer = await asyncio.open_unix_connection(sock=stream)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.write(b"ERR connection refused\n")
            writer.close()
            return
        writer.write(b"OK %d\n" % (port + 65536))
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    async def _descriptor(self, stream: socket.socket) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(stream, _resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(stream)
        _, ancillary, _, _ = stream.recvmsg(4096, socket.CMSG_LEN(4))
        descriptors = array.array("i")
        descriptors.frombytes(ancillary[0][2])
        self._drop_disk()
        self.disk_fd = descriptors[0]
        await self._loop.sock_sendall(stream, b"OK\n")
        stream.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"upgrade: websocket" in head.lower():
            await self._websocket(head, reader, writer)
            return
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        request, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                break
        assert request is not None
        target, method = request.target.decode(), request.method.decode()
        self.requests.append((method, target, {k.decode(): v.decode() for k, v in request.headers}))
        status, answer = self._answer(method, urlsplit(target).path, parse_qs(urlsplit(target).query), body)
        headers = [("content-length", str(len(answer))), ("x-from", "fake")]
        for item in (h11.Response(status_code=status, headers=headers), h11.Data(data=answer), h11.EndOfMessage()):
            writer.write(connection.send(item) or b"")
        await writer.drain()

    def _answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
        match method, path:
            case "GET", "/v1/status":
                status = {
                    "state": "ready",
                    "boot_id": "b",
                    "isolation": "container",
                    "sessions": 0,
                    "agent_restarts": 0,
                    "tasks": self.tasks,
                    "read_only": self.read_only,
                    "privileges": self.privileges if self.world == "running" else None,
                }
                return 200, json.dumps(status | {"world": self.world}).encode()
            case "POST", "/v1/adopt":
                self.adopted = json.loads(body)
                return 200, json.dumps({"name": "it", "applied": [], "refused": self.refused}).encode()
            case "PUT", "/v1/world":
                if self.disk_fd is None or json.loads(body)["disk"] != {"descriptor": "disk"}:
                    return 409, b'{"error": "no such disk", "code": "failed_precondition"}'
                self.world, self.privileges = "running", json.loads(body).get("privileges")
                return 200, b'{"status": "running", "pid": 2}'
            case "DELETE", "/v1/world":
                self.world = "none"
                self._drop_disk()
                return 200, b'{"status": "none"}'
            case "GET", "/v1/exec":
                return 200, b'{"count": 0, "sessions": []}'
            case "POST", "/v1/exec":
                return 200, b""
            case "PUT", "/v1/fs/write":
                target = self.root + query["path"][0]
                os.makedirs(os.path.dirname(target), exist_ok=True)
                pathlib.Path(target).write_bytes(body)
                return 200, json.dumps({"path": query["path"][0], "size": len(body), "mode": "0644"}).encode()
            case "GET", "/v1/fs/read":
                if os.path.exists(self.root + query["path"][0]):
                    return 200, pathlib.Path(self.root + query["path"][0]).read_bytes()
                return 404, b'{"error": "no such file", "code": "ENOENT"}'
        return 404, b'{"error": "not found"}'

    async def _websocket(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(head)
        request = next(event for event in protocol.events_received() if isinstance(event, Request))
        self.requests.append(("WS", request.path, {key.lower(): value for key, value in request.headers.raw_items()}))
        if self.world != "running":
            refusal = '{"error": "no world up", "code": "world_not_running"}'
            start = f"HTTP/1.1 503 no\r\nPilot-Fault: world_not_running\r\nContent-Length: {len(refusal)}\r\n\r\n"
            writer.write((start + refusal).encode())
            await writer.drain()
            return
        protocol.send_response(protocol.accept(request))
        writer.write(b"".join(protocol.data_to_send()))
        query = parse_qs(urlsplit(request.path).query)
        info = {"type": "session_info", "session_id": "7", "command": "x", "created": 1, "tty": False, "is_owner": True}
        _send(protocol, writer, json.dumps(info))
        process = await asyncio.create_subprocess_exec(
            *query["cmd"], cwd=self.root, stdin=-1, stdout=-1, stderr=-1, env={"PATH": os.environ["PATH"]}
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feeding = asyncio.ensure_future(_feed(protocol, reader, process.stdin))
        pumps = [_pump(protocol, writer, 1, process.stdout), _pump(protocol, writer, 2, process.stderr)]
        await asyncio.gather(*pumps)
        code = await process.wait()
        feeding.cancel()
        _send(protocol, writer, json.dumps({"type": "exit", "exit_code": code}))
        _send(protocol, writer, bytes([3, code]))
        protocol.send_close(1000)
        writer.write(b"".join(protocol.data_to_send()))
        await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()  # one side is gone, and so the other


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _send(protocol: ServerProtocol, writer: asyncio.StreamWriter, message: str | bytes) -> None:
    if isinstance(message, str):
        protocol.send_text(message.encode())
    else:
        protocol.send_binary(message)
    writer.write(b"".join(protocol.data_to_send()))


async def _pump(
    protocol: ServerProtocol, writer: asyncio.StreamWriter, number: int, source: asyncio.StreamReader
) -> None:
    while data := await source.read(32768):
        _send(protocol, writer, bytes([number]) + data)
        await writer.drain()


async def _feed(protocol: ServerProtocol, reader: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    message = b""
    while data := await reader.read(65536):
        protocol.receive_data(data)
        for frame in protocol.events_received():
            if not isinstance(frame, Frame) or frame.opcode not in (Opcode.BINARY, Opcode.CONT):
                continue
            message += frame.data
            if not frame.fin:
                continue
            if message[:1] == b"\4":
                sink.close()
            elif message[:1] == b"\0":
                sink.write(message[1:])
                await sink.drain()
            message = b""
