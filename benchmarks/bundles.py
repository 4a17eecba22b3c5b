"""What all runtimes are given: the configuration of `runc spec`, a busybox, and, where asked, a seccomp profile."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

_APPLETS = ("true", "sleep", "sh")
_NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
# What the profiles of container engines leave out, more or less.
_DENIED = frozenset(
    {
        "acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "delete_module", "finit_module", "fsconfig",
        "fsmount", "fsopen", "fspick", "get_mempolicy", "init_module", "ioperm", "iopl", "kcmp", "kexec_file_load",
        "kexec_load", "keyctl", "lookup_dcookie", "mbind", "mount", "mount_setattr", "move_mount", "move_pages",
        "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "process_vm_readv", "process_vm_writev",
        "quotactl", "reboot", "request_key", "set_mempolicy", "setns", "settimeofday", "swapoff", "swapon", "umount2",
        "unshare", "userfaultfd", "vhangup",
    }
)  # fmt: skip


def make_bundle(path: Path, *args: str, seccomp: bool = False) -> Path:
    """A bundle that runs `args`."""
    rootfs = path / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin")
    for name in _APPLETS:
        (rootfs / "bin" / name).symlink_to("busybox")
    subprocess.run(["runc", "spec"], cwd=path, check=True, timeout=30)
    config = json.loads((path / "config.json").read_text())
    config["process"].update({"terminal": False, "args": list(args)})
    if seccomp:
        config["linux"]["seccomp"] = make_profile()
    (path / "config.json").write_text(json.dumps(config))
    return path


def make_profile() -> dict[str, Any]:
    """Every system call of this machine's headers but some; one of them by its argument."""
    names = sorted(set(re.findall(r"__NR_(\w+)", _NUMBERS.read_text())) - _DENIED - {"personality"})
    personality = {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [personality]},
        ],
    }
