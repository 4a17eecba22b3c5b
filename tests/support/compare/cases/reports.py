"""What public bug reports of runtimes and of those who call them were about, each as a bundle."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import cgroup, exists, left, state, tool

_FLAGS = "ro,nosuid,nodev,noexec"
_INFO = "cut -d' ' -f 5,6 /proc/self/mountinfo | grep -E '^/m' | sort"
_POD = "/sys/fs/cgroup/cpu$(grep :cpu: /proc/PID/cgroup | cut -d: -f 3)/.."
_DAMAGE = (
    "for file in BUNDLE/../state/*/state.json BUNDLE/../state/*/status; do test -e $file && echo x > $file; done; true"
)
_HOST_PIDS = [{"type": kind} for kind in ("mount", "ipc", "uts", "network", "cgroup")]


def _bind(at: str, *options: str, source: str = "source") -> dict[str, Any]:
    return {"destination": at, "type": "bind", "source": source, "options": ["bind", *options]}


def _tmpfs(at: str, *options: str) -> dict[str, Any]:
    return {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


_FROM_A_GUARDED_SOURCE = {
    "mounts+": [
        _bind("/m"),
        _bind("/m.ro", "ro"),
        _bind("/m.rw", "rw"),
        _bind("/m.exec", "exec"),
        _bind("/m.all", "rw", "suid", "dev", "exec"),
    ]
}

CASES = (
    Case(
        "a state that somebody damaged",
        ("runtime.list", "operation.delete"),
        running={"damage": tool("sh", "-c", _DAMAGE)},
        verbs=("state ID", "delete ID", "delete --force ID", "kill ID KILL", "exec ID true", "list --quiet"),
    ),
    Case(
        "a file at a link to nowhere",
        ("mounts[].destination",),
        {"mounts+": [_bind("/etc/localtime", source="source/zone")]},
        files={"source/zone": "zone\n"},
        links={"rootfs/etc/localtime": "/usr/share/zoneinfo/there"},
        inside={"cat": "cat /etc/localtime; ls -l /etc/localtime | wc -l; ls /usr/share/zoneinfo"},
    ),
    Case(
        "a tmpfs below an absolute link",
        ("mounts[].destination",),
        {"mounts+": [_tmpfs("/conf/stack", "noexec", "nosuid", "nodev", "rprivate")]},
        files={"rootfs/real/conf/keep": ""},
        links={"rootfs/conf": "/real/conf"},
        inside={"mount": "grep conf /proc/self/mounts | cut -d' ' -f 2"},
    ),
    Case(
        "sources with flags",
        ("mounts[].options",),
        _FROM_A_GUARDED_SOURCE,
        mounted={"source": _FLAGS},
        inside={"flags": _INFO},
    ),
    Case(
        "sources with flags in a user namespace",
        ("mounts[].options",),
        {"mounts+": [_bind("/m"), _bind("/m.ro", "ro")]},
        mounted={"source": _FLAGS},
        user_namespace=True,
        inside={"flags": _INFO},
        like="crun",
    ),
    Case(
        "a writable one of a read-only source in a user namespace",
        ("mounts[].options",),
        {"mounts+": [_bind("/m", "rw", "exec")]},
        mounted={"source": _FLAGS},
        user_namespace=True,
        inside={"flags": _INFO},
    ),
    Case(
        "a new file system in a user namespace without its network",
        ("mounts[].type",),
        {"linux.namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts")]},
        user_namespace=True,
        inside={"sys": "grep ' /sys ' /proc/self/mounts | cut -d' ' -f 3"},
    ),
    Case(
        "a name with everything in it",
        ("state.status", "state.pid"),
        {"process.args": ["/bin/a) R 1 (b"]},
        args=("x",),
        files={"rootfs/bin/a) R 1 (b": "#!/bin/sh\nsleep 1000\n"},
        running={"state": state()},
        verbs=("kill ID 0",),
    ),
    Case(
        "a terminal that nobody outside has",
        ("process.terminal",),
        {"process.terminal": True},
        inside={"tty": "tty", "size": "stty size"},
    ),
    Case(
        "executed beside it, in the pids of the host",
        ("operation.delete",),
        {"linux.namespaces": _HOST_PIDS},
        verbs=(
            "exec --detach ID sleep 1000",
            "exec --detach ID sh -c 'setsid sleep 1000 & sleep 1000'",
            "delete --force ID",
        ),
        changed={"state": state(), "left": left},
    ),
    Case(
        "asked when it has stopped",
        ("operation.exec", "operation.kill", "operation.pause", "operation.resume", "operation.events", "operation.ps"),
        inside={"ran": "true"},
        ended=(
            "exec ID true",
            "kill ID TERM",
            "kill ID KILL",
            "kill --all ID KILL",
            "pause ID",
            "resume ID",
            "events --stats ID",
            "start ID",
            "state ID",
            "update --pids-limit 9 ID",
            "list -q",
        ),
        after={"state": state(), "left": left},
    ),
    Case(
        "a shorter period below a pod's limit",
        ("operation.update",),
        {"linux.cgroupsPath": "/pod-ID/one", "linux.resources.cpu": {"quota": 500000, "period": 1000000}},
        created={
            "pod": tool("sh", "-c", f"echo 1000000 > {_POD}/cpu.cfs_period_us; echo 500000 > {_POD}/cpu.cfs_quota_us")
        },
        verbs=("update --cpu-period 10000 --cpu-quota 3000 ID", "update --cpu-period 100000 --cpu-quota 30000 ID"),
        changed={"cpu": cgroup("cpu.cfs_quota_us", "cpu.cfs_period_us")},
    ),
    Case(
        "cgroups made by the container",
        ("operation.delete",),
        {"mounts+": [{"destination": "/own", "type": "cgroup", "source": "cgroup", "options": ["rw"]}]},
        inside={"make": "mkdir -p /own/pids/a/b && cd /own/pids/a/b && echo $$ > cgroup.procs && wc -l < cgroup.procs"},
        running={"status": state("status")},
        after={"left": left},
    ),
    Case(
        "hidden subtrees of a pod",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "/pod-ID/with space/ü"},
        running={"status": state("status")},
        after={"left": left},
    ),
    Case(
        "a score that is better than the caller's",
        ("process.oomScoreAdj",),
        {"process.oomScoreAdj": -500},
        inside={"ran": "true"},
    ),
    Case(
        "more files than the host has",
        ("process.rlimits",),
        {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]},
        inside={"ran": "true"},
    ),
    Case(
        "a soft limit above the hard one",
        ("process.rlimits",),
        {"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 10, "hard": 5}]},
        inside={"ran": "true"},
    ),
    Case(
        "a working directory that only root may enter",
        ("process.cwd",),
        {"process.cwd": "/secret", "process.user": {"uid": 7, "gid": 8}},
        files={"rootfs/secret/keep": ""},
        mounted={"rootfs/secret": "nosuid"},
        inside={"pwd": "pwd"},
    ),
    Case(
        "a working directory that is a link to the outside",
        ("process.cwd",),
        {"process.cwd": "/link"},
        links={"rootfs/link": "/../../../tmp"},
        inside={"pwd": "pwd; ls | wc -l"},
    ),
    Case(
        "lines in arguments and variables",
        ("process.args", "process.env"),
        {"process.env": ["PATH=/bin", "A=one\ntwo", "B=\t", "1=2"]},
        inside={"a": 'echo "$A"; env | grep -c =', "raw": "tr '\\0' '|' < /proc/1/environ; echo"},
    ),
    Case("an empty program", ("process.args",), {"process.args": [""]}, args=("x",)),
    Case("a program that is a directory", ("process.args",), {"process.args": ["/etc"]}, args=("x",)),
    Case("a variable without a name", ("process.env",), {"process.env": ["PATH=/bin", "=x"]}, inside={"ran": "true"}),
    Case(
        "nulls",
        ("mounts", "hooks", "linux.resources"),
        {
            "hooks": None,
            "annotations": None,
            "linux.resources.memory": None,
            "linux.sysctl": None,
            "linux.devices": None,
        },
        inside={"ran": "true"},
    ),
    Case(
        "members that nobody knows",
        ("root", "process", "linux"),
        {"root.other": 1, "process.other": {"a": []}, "linux.other": "x", "other": None},
        inside={"ran": "true"},
    ),
    Case("text after the document", ("ociVersion",), appended="\n\n  \n", inside={"ran": "true"}),
    Case("another document after the document", ("ociVersion",), appended="{}", inside={"ran": "true"}),
    Case(
        "a limit beyond all numbers",
        ("linux.resources.memory.limit",),
        {"linux.resources.memory": {"limit": 1 << 63}},
        inside={"ran": "true"},
    ),
    Case(
        "sizes of a tmpfs",
        ("mounts[].options",),
        {
            "mounts+": [
                _tmpfs("/a", "size=10%", "nr_inodes=100", "mode=0700"),
                _tmpfs("/b", "size=1g", "huge=never", "noswap"),
            ]
        },
        inside={"options": "grep -E ' /(a|b) ' /proc/self/mounts"},
    ),
    Case(
        "a root that is read-only on a guarded mount",
        ("root.readonly",),
        {"root.readonly": True, "root.path": "guarded/rootfs", "mounts": []},
        mounted={"guarded": "nosuid,nodev"},
    ),
    Case(
        "annotations for systemd without systemd",
        ("annotations",),
        {"annotations": {"org.systemd.property.TimeoutStopUSec": "uint64 1000", "run.oci.nonesuch": "x"}},
        inside={"ran": "true"},
    ),
    Case(
        "groups of a user namespace that are not mapped",
        ("process.user.additionalGids",),
        {"process.user": {"uid": 0, "gid": 0, "additionalGids": [70000]}},
        user_namespace=True,
        inside={"id": "id"},
    ),
    Case(
        "a user of a user namespace that is not mapped",
        ("process.user.uid",),
        {"process.user": {"uid": 70000, "gid": 0}},
        user_namespace=True,
        inside={"id": "id"},
    ),
    Case(
        "mqueue of the host's ipc",
        ("mounts[].type",),
        {"linux.namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "network")]},
        inside={"mqueue": "grep -c mqueue /proc/self/mounts"},
    ),
    Case(
        "no /proc to mask",
        ("linux.maskedPaths",),
        {"mounts": [], "linux.maskedPaths": ["/proc/kcore"], "linux.readonlyPaths": ["/proc/sys"]},
        like="crun",
        inside={"proc": "ls /proc"},
    ),
    Case(
        "a pid file in a directory that there is not",
        ("operation.create",),
        options=("--pid-file", "BUNDLE/no/such/pid"),
        inside={"ran": "true"},
        after={"pid": exists("/nonesuch"), "left": left},
    ),
    Case(
        "a console socket that nobody is at",
        ("process.terminal",),
        {"process.terminal": True},
        options=("--console-socket", "BUNDLE/nobody.sock"),
        created={"state": state()},
        after={"left": left},
    ),
    Case(
        "a console socket without a terminal",
        ("process.terminal",),
        options=("--console-socket", "BUNDLE/nobody.sock"),
        created={"state": state("status")},
        after={"left": left},
    ),
    Case(
        "a bundle that is not there",
        ("operation.create",),
        verbs=("create --bundle /nonesuch other", "run -b /etc other"),
    ),
    Case(
        "killed by every name of a signal",
        ("operation.kill",),
        verbs=tuple(
            f"kill ID {name}"
            for name in (
                "WINCH",
                "SIGWINCH",
                "winch",
                "28",
                "SIGRTMIN",
                "RTMIN+1",
                "34",
                "-1",
                "65",
                "0x1c",
                "CONT",
                "",
            )
        ),
        running={"status": state("status")},
    ),
)
