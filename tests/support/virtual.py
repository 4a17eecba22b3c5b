"""Virtual machines for tests: boot artefacts from the cache, small worlds on disks, and calls to their agents."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from pilot import image
from pilot.host.vmm import MachineSpec
from pilot.host.vmm.qemu import accelerator
from pilot.host.vmm.qemu import command as qemu_command
from pilot.host.vmm.qemu.machine import Qemu
from pilot.ids import MachineId, VolumeId
from pilot.machine import dial
from pilot.volume.client import VolumeClient
from pilot.wire.schema import DiskReference
from tests.support import pilotd
from tests.support.pilotd import Pilotd

CACHE = os.environ.get("PILOT_CACHE_DIR", "/var/cache/pilot")
MEMORY_BYTES = 384 << 20
TAG = "vmtest"
_CALL_S = 60.0
_NOTE_CHARACTERS = 4000
_DISK_BYTES = 256 << 20


def artefacts() -> qemu_command.Artefacts:
    """What a machine boots from; built when it is missing, which takes a while once."""
    kernel = image.ensure_kernel(CACHE)
    return qemu_command.Artefacts(f"{kernel}/vmlinux", f"{kernel}/initramfs", image.ensure_guest_disk(CACHE))


@contextlib.contextmanager
def machines() -> Iterator[Machines]:
    """A state directory with a short path (a socket's name is limited), its machines destroyed at the end."""
    directory = tempfile.mkdtemp(prefix="vm-", dir="/tmp")
    made = Machines(directory)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory)


@dataclasses.dataclass(frozen=True)
class Drive:
    """A `vmm.Disk` that is a file."""

    open: Callable[[], int]

    def mount(self, uid_base: int, uid_count: int) -> int:
        raise AssertionError("a virtual machine gets a file, never a mount")

    def file(self) -> int:
        return self.open()


class Machines:
    """A `Qemu`, the disks of its machines, and what the tests want to know of them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._artefacts = artefacts()
        self._made: list[MachineId] = []
        self.vmm = self.another()

    def another(self) -> Qemu:
        """A `Qemu` of the same state directory, as a pilotd that starts anew makes one."""
        os.makedirs(self.directory, exist_ok=True)
        host = qemu_command.Host(qemu_command.Accelerator.TCG, accelerator.read_tsc_khz())
        return Qemu(self.directory, TAG, lambda: self._artefacts, lambda: host)

    def create(self, name: str) -> MachineId:
        """A machine that is not started yet."""
        machine = MachineId(name)
        self._made.append(machine)
        self.vmm.create(
            MachineSpec(machine, uid_base=500_000 + 65536 * len(self._made), memory_bytes=MEMORY_BYTES, cpus=1)
        )
        return machine

    def disk(self, name: str, content: str) -> VolumeId:
        """A disk whose world is busybox and a file /content."""
        with tempfile.TemporaryDirectory() as tree:
            write_world(Path(tree, "rootfs"), content)
            Path(tree, "pilot").mkdir()
            path = os.path.join(self.directory, name)
            with open(path, "wb") as file:
                file.truncate(_DISK_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-d", tree, path], check=True)
        return VolumeId(name)

    def drive(self, volume: VolumeId) -> Drive:
        """What `volumed` does for a virtual machine."""
        return Drive(lambda: os.open(os.path.join(self.directory, volume), os.O_RDWR | os.O_CLOEXEC))

    def start_world(self, machine: MachineId, volume: VolumeId, client: VolumeClient | None = None) -> None:
        """Start the machine with this disk (of `client`, when it is none of ours) and the world on it."""
        drive = Drive(lambda: client.attach_file(volume)) if client else self.drive(volume)
        reference = self.vmm.start(machine, drive)
        assert reference is not None
        identity = {
            "name": machine,
            "hostname": machine,
            "time_ns": time.time_ns(),
            "entropy": base64.b64encode(os.urandom(32)).decode(),
        }
        self.call(machine, "POST", "/v1/adopt", {**identity, "environment": {}})
        self._put_world(machine, reference)

    def grow_world(self, machine: MachineId) -> None:
        """Have the filesystem of the world that runs follow its disk."""
        self._put_world(machine, DiskReference(serial=qemu_command.DISK_SERIAL))

    def _put_world(self, machine: MachineId, disk: DiskReference) -> None:
        body = {"disk": msgspec.to_builtins(disk), "hostname": machine, "environment": {}}
        self.call(machine, "PUT", "/v1/world", body)

    def call(self, machine: MachineId, method: str, path: str, body: Any = None) -> Any:
        """One request to the agent; its JSON answer."""
        status, answer = self._request(machine, method, path, b"" if body is None else json.dumps(body).encode())
        assert status < 300, f"{method} {path}: {status} {answer!r}"
        return json.loads(answer) if answer.strip() else None

    def run(self, machine: MachineId, *command: str) -> bytes:
        """Run a command in the world; everything that came back, frames and all."""
        query = urllib.parse.urlencode([("cmd", word) for word in command])
        status, answer = self._request(machine, "POST", f"/v1/exec?{query}", b"")
        assert status == 200, f"{command}: {status} {answer!r}"
        return answer

    def close(self) -> None:
        for machine in self._made:
            self.vmm.destroy(machine)

    def _request(self, machine: MachineId, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("machine", timeout=_CALL_S)
        connection.sock = dial.connect(self.vmm.dial_path(machine), 10000, _CALL_S)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                for console in Path(self.directory).glob(f"**/{machine}/{qemu_command.CONSOLE}"):
                    error.add_note(console.read_text(errors="replace")[-_NOTE_CHARACTERS:])
                raise


def write_world(rootfs: Path, content: str) -> None:
    """A root file system of one static program."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    for directory in ("bin", "etc", "proc", "sys", "dev", "run", "tmp", "root", ".sprite"):
        (rootfs / directory).mkdir(parents=True)
    shutil.copy(busybox, rootfs / "bin" / "busybox")
    for name in ("sh", "cat", "echo", "sync", "hostname", "sleep", "dd", "df", "wc"):
        (rootfs / "bin" / name).symlink_to("busybox")
    (rootfs / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (rootfs / "etc" / "group").write_text("root:x:0:\n")
    (rootfs / "content").write_text(content)


@contextlib.contextmanager
def serving(*extra: str) -> Iterator[Pilotd]:
    """A pilotd of virtual machines, which end with it, all of them."""
    with pilotd.serving(isolation="vm", extra=extra) as daemon:
        yield daemon
    assert processes_naming(f"{daemon.state}/machines") == []


def processes_naming(text: str) -> list[str]:
    """Command lines of processes that mention `text`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since the listing
        if text in words:
            found.append(words)
    return found
