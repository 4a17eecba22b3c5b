"""What public bug reports and release notes of runc, crun and youki, of 2024 to 2026, were about.

Reports that go well together share a bundle: each observation is one.
"""

from __future__ import annotations

import json
from typing import Any

from ..case import Case
from ..observers import cgroup, left, state, tool, verbs


def _mount(at: str, *options: str, source: str = "source", type: str = "bind") -> dict[str, Any]:
    return {"destination": at, "type": type, "source": source, "options": list(options)}


def _process(**changed: Any) -> str:
    return json.dumps({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **changed})


_STATUS = ["grep", "-E", "^(Cap|NoNew|Groups|Umask)", "/proc/self/status"]
_DENY = {"allow": False, "access": "rwm"}
_DEVICES = cgroup("devices.list")
_LIMITS = cgroup(
    "pids.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us"
)

CASES = (
    Case(
        "a thousand mounts and more",
        ("mounts",),
        {
            "mounts+": [
                _mount("/data", type="tmpfs", source="tmpfs"),
                *(_mount(f"/data/{n}", "bind", "ro", source=f"source{n % 3}") for n in range(1500)),
            ]
        },
        files={f"source{n}/file": f"{n}\n" for n in range(3)},
        slow=True,
        inside={
            "mounts": "cut -d' ' -f 5 /proc/self/mountinfo | grep -c /data/",
            "some": "cat /data/0/file /data/1000/file /data/1499/file; touch /data/1200/x",
        },
    ),
    Case(
        "a destination through links to links",
        ("mounts[].destination", "mounts[].source"),
        {
            "mounts+": [
                _mount("/one/new/dir", "bind"),
                _mount("/one/logs", "bind", source="source/../source/./below"),
                _mount("//etc//hosts", "bind", source="source/file"),
                _mount("/up/../also/./here/", "bind"),
                _mount("/one/t", type="tmpfs", source="tmpfs"),
            ]
        },
        files={"source/file": "text\n", "source/below/more": "", "rootfs/three/x/keep": "", "rootfs/three/logs/x": ""},
        links={
            "rootfs/one": "/two/x",
            "rootfs/two": "three",
            "rootfs/up": "/../../three",
            "rootfs/three/x/logs": "../logs",
        },
        inside={
            "found": "find /three /also /etc/hosts | sort",
            "mounts": "cut -d' ' -f 5 /proc/self/mountinfo | grep -E '^/(one|two|three|also|etc)'",
        },
    ),
    Case(
        "a destination through a file",
        ("mounts[].destination",),
        {"mounts+": [_mount("/etc/passwd/below", "bind")]},
        files={"source/file": ""},
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case(
        "a program whose name begins with dots",
        ("process.args",),
        {"process.args": ["...test", "a"], "process.env": ["PATH=/none::/dir"]},
        args=("x",),
        files={"rootfs/dir/...test": "#!/bin/sh\necho @dots; echo $0 $1; pwd\n"},
    ),
    Case(
        "what is mounted below a read-only bind",
        ("mounts[].options",),
        {
            "mounts+": [
                _mount("/ro", "rbind", "ro"),
                _mount("/rro", "rbind", "rro"),
                _mount("/plain", "bind", "ro"),
                _mount("/both", "rbind", "ro", "rro", "rnosuid", "rnoexec"),
                _mount("/back", "rbind", "rro", "rrw"),
                _mount("/again", "rbind", "ro", "rrw"),
            ]
        },
        mounted={"source": "rw", "source/sub": "rw", "source/guarded": "ro,nosuid"},
        inside={
            "written": "for d in ro rro plain both back again; do for f in x sub/x guarded/x; do"
            " touch /$d/$f 2>/dev/null && echo $d/$f; done; done",
            "flags": "grep -E ' /(ro|rro|plain|both|back|again)[ /]' /proc/self/mountinfo | cut -d' ' -f 5,6 | sort",
        },
    ),
    Case(
        "users by their numbers",
        ("operation.exec", "process.env"),
        {"process.user": {"uid": 7, "gid": 8}, "process.env": ["PATH=/bin", "HOME="]},
        inside={"home": "echo $HOME; id"},
        verbs=(
            "exec --user 1 ID id",
            "exec -u 1 ID sh -c 'echo $HOME'",
            "exec -u 0 ID sh -c 'id; echo $HOME'",
            "exec -u 7 ID sh -c 'echo $HOME'",
            "exec --env HOME= ID sh -c 'echo $HOME'",
            "exec --env HOME=/here ID sh -c 'echo $HOME'",
            "exec -u some ID id",
            "exec -u 1: ID id",
            "exec -u :1 ID id",
            "exec -u 1:x ID id",
            "exec --env PATH=/none ID true",
        ),
    ),
    Case(
        "a process by a document",
        ("operation.exec",),
        {"process.user": {"uid": 0, "gid": 0, "umask": 0o27}, "process.noNewPrivileges": True},
        files={
            "plain.json": _process(args=_STATUS),
            "capable.json": _process(
                args=_STATUS,
                noNewPrivileges=True,
                capabilities={name: ["CAP_CHOWN"] for name in ("bounding", "effective", "permitted", "inheritable")},
            ),
            "limits.json": _process(
                args=["sh", "-c", "ulimit -n; ulimit -Hn; pwd; echo $A $HOME"],
                env=["A=1"],
                cwd="/etc",
                rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
            ),
            "relative.json": _process(cwd="etc"),
            "nothing.json": _process(args=[]),
            "nowhere.json": _process(cwd=""),
            "list.json": "[]",
        },
        verbs=tuple(
            f"exec --process BUNDLE/{name}.json ID"
            for name in ("plain", "capable", "limits", "relative", "nothing", "nowhere", "list")
        ),
    ),
    Case(
        "rules of devices that are said twice",
        ("linux.resources.devices", "operation.update"),
        {
            "linux.resources.devices": [
                _DENY,
                {**_DENY, "type": "c", "major": 10},
                {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
                {**_DENY, "type": "b"},
            ],
            "linux.resources.pids": {"limit": -1},
            "linux.resources.cpu": {"quota": 50000, "period": 200000},
            "linux.resources.memory": {"limit": 100000000, "swap": 200000000},
        },
        running={"rules": _DEVICES, "limits": _LIMITS},
        files={"update.json": '{"pids": {"limit": 55}, "devices": []}', "memory.json": '{"memory": {"limit": -1}}'},
        verbs=(
            "update --pids-limit 44 ID",
            "update -r BUNDLE/update.json ID",
            "update -r BUNDLE/memory.json ID",
            "update --cpu-quota -1 ID",
        ),
        changed={"rules": _DEVICES, "limits": _LIMITS},
    ),
    Case(
        "modes of a tmpfs",
        ("mounts[].options",),
        {
            "mounts+": [
                _mount("/sticky", type="tmpfs", source="tmpfs"),
                _mount("/etc", "tmpcopyup", "ro", type="tmpfs", source="tmpfs"),
                _mount("/sticky/a/b", "mode=1770", "uid=7", type="tmpfs", source="tmpfs"),
            ]
        },
        mounted={"rootfs/sticky": "rw"},
        inside={"modes": "stat -c '%n %a %u:%g' /sticky /etc /sticky/a /sticky/a/b; ls /etc; touch /etc/x"},
    ),
    Case(
        "what a created container lets",
        ("operation.exec", "operation.kill", "operation.pause", "operation.ps"),
        created={
            "verbs": verbs(
                "exec ID true",
                "exec ID sh -c 'exit 5'",
                "pause ID",
                "exec ID true",
                "start ID",
                "resume ID",
                "kill ID 0",
                "ps -f json ID",
                "events --stats ID",
                "update --pids-limit 100 ID",
                "delete other",
            ),
            "state": state("status"),
        },
        running={"state": state("status")},
        after={"left": left},
    ),
    Case(
        "a created container that is killed",
        ("operation.kill", "operation.delete"),
        created={"kill": verbs("kill ID KILL")},
        after={"left": left, "state": state()},
    ),
    Case(
        "ids that may be",
        ("operation.create", "operation.list"),
        # Each runtime has its own, as they name cgroups that all share.
        verbs=(
            "create --bundle=BUNDLE ID+b",
            "create -b=BUNDLE _ID",
            "create --bundle BUNDLE 0.ID-2",
            "create --bundle BUNDLE ID:b",
            "create --bundle BUNDLE ID@b",
            "list --quiet=false --format nonesuch",
            "delete ID+b",
            "delete --force=true _ID",
            "delete -f 0.ID-2 more",
            "delete -f 0.ID-2",
            "list -q",
        ),
    ),
    Case(
        "remains of a container",
        ("operation.delete", "operation.create"),
        files={"../state/half/keep": "", "../state/whole/below/keep": ""},
        inside={"ran": "true"},
        verbs=("state half", "list -q", "delete half", "delete --force whole", "delete --force never"),
        after={"root": tool("ls", "BUNDLE/../state"), "left": left},
    ),
    Case(
        "times and columns that cannot be",
        ("operation.events", "operation.ps"),
        verbs=(
            "events --interval 0 --stats ID",
            "events --interval 0s --stats ID",
            "events --interval -1s --stats ID",
            "events --interval x --stats ID",
            "events --interval 1 --stats ID",
            "ps ID -o comm",
            "ps ID --nonesuch",
            "ps --format json --nonesuch ID",
        ),
    ),
    Case(
        "paths that are masked through links",
        ("linux.maskedPaths", "linux.readonlyPaths"),
        {
            "linux.maskedPaths": ["/file", "/dir", "/dangling", "/same", "/same"],
            "linux.readonlyPaths": ["/ro", "/dangling"],
        },
        files={"rootfs/etc/secret": "secret\n", "rootfs/data/x": "", "rootfs/kept/x": "", "rootfs/same/x": ""},
        links={
            "rootfs/file": "etc/secret",
            "rootfs/dir": "/data",
            "rootfs/dangling": "nowhere",
            "rootfs/ro": "/kept",
        },
        inside={
            "masked": "cat /etc/secret; ls /data /same; ls -d /nowhere",
            "written": "touch /kept/y /data/y /same/y; echo x >> /etc/secret",
            "mounts": "cut -d' ' -f 5,6 /proc/self/mountinfo | grep -E '^/(etc/secret|data|same|kept|file|dir|ro) '",
        },
    ),
    Case(
        "many directories that are masked",
        ("linux.maskedPaths",),
        {"linux.maskedPaths": [f"/many/{n}" for n in range(40)], "linux.readonlyPaths": []},
        files={f"rootfs/many/{n}/x": "" for n in range(40)},
        inside={
            "left": "ls /many/* | grep -c x",
            "mounts": "grep -c ' /many/' /proc/self/mountinfo",
            "flags": "grep ' /many/' /proc/self/mountinfo | cut -d' ' -f 6 | sort -u",
        },
    ),
    Case(
        "a call under two actions",
        ("linux.seccomp.syscalls", "linux.seccomp.syscalls[].names", "linux.seccomp.architectures"),
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": None,
                "syscalls": [
                    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
                    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ALLOW"},
                    {"names": ["rename", "renameat", "renameat2", "nonesuch"], "action": "SCMP_ACT_ERRNO"},
                ],
            }
        },
        inside={"mkdir": "mkdir /x; ls -d /x", "rename": "mv /tmp /y; ls -d /tmp"},
    ),
    Case(
        "options that are not everybody's",
        ("mounts[].options",),
        {"mounts+": [_mount("/t", "acl", type="tmpfs", source="tmpfs")]},
        like="crun",  # runc since 1.2
        inside={"ran": "true"},
    ),
    Case(
        "a file in /dev, below a root that is read-only",
        ("runtime./dev links", "mounts[].destination"),
        {"mounts+": [_mount("/dev/own", "bind", source="source/file")], "root.readonly": True},
        files={"source/file": "text\n"},
        inside={"own": "cat /dev/own; stat -c %F /dev/own /dev/zero", "ro": "touch /x"},
    ),
    Case(
        "a mode for a tmpfs on what has another",
        ("mounts[].options",),
        {"mounts+": [_mount("/closed", "mode=0700", type="tmpfs", source="tmpfs")]},
        mounted={"rootfs/closed": "rw"},
        like="crun",  # runc since 1.1.8
        inside={"mode": "stat -c '%a %u:%g' /closed"},
    ),
    Case(
        "devices with whole modes, and where something is",
        ("linux.devices", "linux.devices[].fileMode"),
        {
            "linux.devices": [
                {"path": "/dev/full-mode", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20640},
                {"path": "/dev/sticky", "type": "c", "major": 1, "minor": 3, "fileMode": 0o1666},
                {"path": "/dev/without", "type": "c", "major": 1, "minor": 3},
            ]
        },
        inside={"stat": "stat -c '%n %a %F' /dev/full-mode /dev/sticky /dev/without"},
    ),
    Case(
        "a device where a file is",
        ("linux.devices[].path",),
        {"linux.devices": [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]},
        inside={"ran": "true"},
    ),
    Case("a name that is too long", ("hostname",), {"hostname": "x" * 65}, inside={"ran": "true"}),
    Case("a name of 64 letters", ("hostname",), {"hostname": "x" * 64}, inside={"name": "hostname"}),
    Case("a relative working directory", ("process.cwd",), {"process.cwd": "etc"}, inside={"ran": "true"}),
    Case("no working directory", ("process.cwd",), {"process.cwd": ""}, inside={"ran": "true"}),
    Case(
        "a umask beyond all permissions",
        ("process.user.umask",),
        {"process.user": {"uid": 0, "gid": 0, "umask": 0o7022}},
        inside={"umask": "umask; touch /tmp/x; stat -c %a /tmp/x"},
    ),
    Case(
        "many groups",
        ("process.user.additionalGids",),
        {"process.user": {"uid": 7, "gid": 8, "additionalGids": list(range(100, 400))}},
        inside={"groups": "grep ^Groups: /proc/self/status"},
    ),
    Case(
        "long variables",
        ("process.env",),
        {"process.env": ["PATH=/bin", *(f"V{n}={'x' * 100000}" for n in range(3))]},
        inside={"sizes": "for n in 0 1 2; do eval echo \\${#V$n}; done"},
    ),
    Case(
        "annotations of all kinds",
        ("annotations", "state.annotations"),
        {"annotations": {"a=b": "c=d", "ü": "☃\n", "empty": "", "bundle": "/other", "org.opencontainers.image.x": "1"}},
        like="crun",  # runc cuts at the first equals sign
        running={"state": state()},
        verbs=("state ID",),
    ),
    Case(
        "private without pivot_root",
        ("runtime.--no-pivot", "linux.rootfsPropagation"),
        {"linux.rootfsPropagation": "private"},
        options=("--no-pivot",),
        inside={"ran": "true"},
    ),
    Case(
        "sysctls of a network that is the caller's",
        ("linux.sysctl",),
        {
            "linux.namespaces": [
                {"type": "network", "path": "/proc/self/ns/net"},
                {"type": "mount"},
                {"type": "pid"},
                {"type": "uts"},
            ],
            "linux.sysctl": {"net.ipv4.ip_forward": "1"},
        },
        inside={"ran": "true"},
    ),
    Case(
        "sysctls written with slashes",
        ("linux.sysctl",),
        {"linux.sysctl": {"net/ipv4/conf/all/forwarding": "1", "kernel/msgmax": "65000", "net.ipv4.conf/x": "1"}},
        inside={"ran": "true"},
    ),
)
