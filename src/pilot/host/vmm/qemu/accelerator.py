"""Which accelerator this host really has, and what its clock is.

That /dev/kvm opens says little: nested hosts offer a KVM whose guests never run their first instruction. So the guest
kernel is booted once with it, with nothing attached, until it says that it starts init. The answer holds for this boot
of the host and this kernel, and is kept in a file: `<boot id> <kernel> <accelerator>`.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time

from .... import errors
from ....kernel import files
from .command import Accelerator, Artefacts, Host

_PROBE_S = 8.0
_ALIVE = b"Run /init as init process"
_CACHE = "accelerator"


def detect(state_dir: str, artefacts: Artefacts) -> Host:
    """Accelerator and clock of this host; the first call of a boot may take `_PROBE_S` seconds."""
    return Host(_accelerator(os.path.join(state_dir, _CACHE), artefacts), read_tsc_khz())


def read_tsc_khz(path: str = "/proc/cpuinfo") -> int:
    """The frequency of the time stamp counter: BogoMIPS are twice its MHz where the delay loop uses it (x86)."""
    with open(path, encoding="ascii") as file:
        found = re.search(r"(?m)^bogomips\s*:\s*([\d.]+)", file.read())
    if found is None:
        raise errors.HostError(f"read {path}: it names no bogomips", hint="virtual machines need an x86 host")
    return round(float(found[1]) * 500)


def boots_with_kvm(artefacts: Artefacts, timeout_s: float = _PROBE_S) -> bool:
    """Whether a guest kernel comes as far as init with KVM."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = ["qemu-system-x86_64", "-M", "microvm,accel=kvm", "-cpu", "host", "-m", "128M", "-nodefaults"]
    command += ["-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", artefacts.vmlinux]
    command += ["-initrd", artefacts.initramfs, "-append", "console=ttyS0 panic=-1 reboot=t pilot.halt=reboot"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as probe:
        try:
            return _says(probe, _ALIVE, time.monotonic() + timeout_s)
        finally:
            probe.kill()


def _accelerator(path: str, artefacts: Artefacts) -> Accelerator:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        key = f"{file.read().strip()} {os.path.realpath(artefacts.vmlinux)}"
    known = _read(path)
    if known.startswith(f"{key} "):
        return Accelerator(known.removeprefix(f"{key} ").strip())
    found = Accelerator.KVM if boots_with_kvm(artefacts) else Accelerator.TCG
    files.replace(path, f"{key} {found.value}\n".encode())
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _says(process: subprocess.Popen[bytes], wanted: bytes, deadline: float) -> bool:
    """Whether the process's output contains `wanted` before the deadline (monotonic) and before it ends."""
    assert process.stdout is not None
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while wanted not in said:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return False
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return False
            said += data
    return True
