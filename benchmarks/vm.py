"""Virtual machines of QEMU: a start from the template against a cold boot, and a boot against busybox init.

All have the same kernel, memory and processors. busybox boots from its own initramfs, mounts what every init mounts and
says so on the console; ours says so when its API answers. The accelerator is what this host really has.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.virtual import CACHE

from pilot import image
from pilot.host.vmm import MachineSpec
from pilot.host.vmm.qemu import accelerator, background, mux
from pilot.host.vmm.qemu import command as qemu_command
from pilot.host.vmm.qemu.machine import Qemu
from pilot.ids import MachineId
from pilot.image import cpio
from pilot.machine import dial, pilot_api
from pilot.wire import dial as ports

from . import harness
from .harness import Contender, Sample, Table

_MEMORY_BYTES = 384 << 20
_TAG = "vmbench"
_LIMIT_S = 75.0
_BOOT_S = 40.0
_MOST_ROUNDS = 8
_READY = b"busybox is ready"
_INITTAB = f"""::sysinit:/bin/busybox mount -t devtmpfs dev /dev
::sysinit:/bin/busybox mount -t proc proc /proc
::sysinit:/bin/busybox mount -t sysfs sys /sys
::sysinit:/bin/busybox mount -t tmpfs run /run
::sysinit:/bin/busybox echo {_READY.decode()}
"""


def run(rounds: int) -> Sequence[Table]:
    """One table; at most `_MOST_ROUNDS` rounds."""
    # The path of a socket is limited.
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as directory:
        machines = Machines(Path(directory))
        contenders = [
            Contender("clone of a template", machines.clone),
            Contender("cold boot", machines.boot),
            Contender("busybox init", machines.boot_busybox),
        ]
        samples = harness.interleave(contenders, min(rounds, _MOST_ROUNDS), 1, _LIMIT_S)
        note = f"Accelerator: {machines.host.accelerator.value}. The template is booted before."
        title = "virtual machine, to the first answer of its API"
        return [harness.make_table(title, samples, ["cold boot", "busybox init"], "wall_ms", note)]


class Machines:
    """Starts one machine at a time, in three ways, and ends it."""

    def __init__(self, directory: Path) -> None:
        kernel = image.ensure_kernel(CACHE)
        root = image.ensure_guest_disk(CACHE)
        self._artefacts = qemu_command.Artefacts(f"{kernel}/vmlinux", f"{kernel}/initramfs", root)
        self._directory = directory
        self.host = accelerator.detect(str(directory), self._artefacts)
        self._vmm = Qemu(str(directory), _TAG, lambda: self._artefacts, lambda: self.host)
        self._numbers = itertools.count(1)
        self._busybox = self._make_initramfs()

    def clone(self) -> Sample:
        """As pilotd starts a machine."""
        machine = MachineId(f"clone-{next(self._numbers)}")
        self._vmm.create(MachineSpec(machine, uid_base=500_000, memory_bytes=_MEMORY_BYTES, cpus=1))
        begin = time.perf_counter()
        try:
            self._vmm.start(machine)
            pilot_api.PilotApi(self._vmm.dial_path(machine)).status()
            return {"wall_ms": (time.perf_counter() - begin) * 1e3}
        finally:
            self._vmm.destroy(machine)

    def boot(self) -> Sample:
        """As a template is made, without its being saved."""
        directory = self._directory / f"cold-{next(self._numbers)}"
        directory.mkdir(0o700)
        memory = qemu_command.Memory(_MEMORY_BYTES)
        machine = qemu_command.Machine(str(directory), self._artefacts, self.host, memory, cpus=1)
        begin = time.perf_counter()
        try:
            background.start_qemu(machine)
            background.start_mux(machine.directory)
            path = os.path.join(machine.directory, mux.DIAL_SOCKET)
            dial.connect(path, ports.PORT_API, _BOOT_S).close()
            pilot_api.PilotApi(path).status()
            return {"wall_ms": (time.perf_counter() - begin) * 1e3}
        finally:
            background.kill(machine.directory)

    def boot_busybox(self) -> Sample:
        """Until its console says so."""
        kind = self.host.accelerator
        command = [qemu_command.PROGRAM, "-M", f"microvm,accel={kind.value}", "-cpu"]
        command += ["host" if kind is qemu_command.Accelerator.KVM else "max", "-m", f"{_MEMORY_BYTES >> 20}M"]
        command += ["-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-kernel", self._artefacts.vmlinux, "-initrd", str(self._busybox), "-serial", "stdio"]
        command += ["-append", qemu_command.kernel_command_line(self.host)]
        begin = time.perf_counter()
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0) as process:
            try:
                _await(process, _READY)
                return {"wall_ms": (time.perf_counter() - begin) * 1e3}
            finally:
                process.kill()

    def _make_initramfs(self) -> Path:
        program = shutil.which("busybox")
        assert program is not None, "busybox-static is not installed"
        content = Path(program).read_bytes()
        empty = {f"{name}/.keep": (0o644, b"") for name in ("dev", "proc", "sys", "run")}
        files = {"init": (0o755, content), "bin/busybox": (0o755, content), "etc/inittab": (0o644, _INITTAB.encode())}
        path = self._directory / "busybox.cpio"
        path.write_bytes(cpio.archive(files | empty))
        return path


def _await(process: subprocess.Popen[bytes], wanted: bytes) -> None:
    assert process.stdout is not None  # a pipe
    said = b""
    while piece := process.stdout.read(4096):
        said += piece
        if wanted in said:
            return
    raise RuntimeError(f"the machine ended: {said[-500:].decode(errors='replace')}")
