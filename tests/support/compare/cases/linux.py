"""config.json: linux, but for resources and seccomp."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import cgroup_path, left, namespaces, proc

_NS = ("linux", "linux.namespaces", "linux.namespaces[].type")
_MAPS = tuple(
    f"linux.{kind}{rest}"
    for kind in ("uidMappings", "gidMappings")
    for rest in ("", "[].containerID", "[].hostID", "[].size")
)
_DEVICE = tuple(f"linux.devices[].{name}" for name in ("path", "type", "major", "minor", "fileMode", "uid", "gid"))
_RDT = "linux.intelRdt"


def _only(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in kinds]


def _joined(kind: str, file: str, *others: str) -> list[dict[str, str]]:
    return [{"type": kind, "path": f"/proc/HOLDER/ns/{file}"}, *_only(*others)]


def _range(inside: int, outside: int, size: int) -> dict[str, int]:
    return {"containerID": inside, "hostID": outside, "size": size}


def _rdt(name: str, value: Any) -> Case:
    return Case(
        f"{name} without resctrl", (_RDT, f"{_RDT}.{name}"), {"linux.intelRdt": {name: value}}, inside={"ran": "true"}
    )


_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")
_MASKED = ["/proc/kcore", "/proc/keys", "/etc", "/etc/passwd", "/nonesuch", "/proc/acpi", "/sys/firmware", "/dev/null"]
_READONLY = ["/proc/sys", "/proc/sysrq-trigger", "/etc", "/nonesuch", "/bin/busybox", "/dev/shm"]

CASES = (
    Case("all namespaces", _NS, running={"whose": namespaces}),
    Case(
        "mount namespace alone",
        _NS,
        {"linux.namespaces": _only("mount")},
        without=("hostname",),
        running={"whose": namespaces},
    ),
    Case(
        "no pid namespace",
        _NS,
        {"linux.namespaces": _only("mount", "ipc", "uts", "network", "cgroup")},
        running={"whose": namespaces},
        inside={"pids": "test $$ -gt 1 && echo many"},
    ),
    Case(
        "user namespace",
        (*_NS, *_MAPS),
        user_namespace=True,
        running={
            "whose": namespaces,
            "uids": proc("uid_map"),
            "gids": proc("gid_map"),
            "setgroups": proc("setgroups"),
            "status": proc("status", "^(Uid|Gid|Groups|Cap)"),
        },
        inside={"id": "id", "root": "stat -c '%u:%g' / /proc /dev /dev/null"},
    ),
    Case(
        "several ranges of ids",
        _MAPS,
        {
            "linux.uidMappings": [_range(0, 100000, 10), _range(10, 0, 1), _range(1000, 300000, 1000)],
            "linux.gidMappings": [_range(0, 200000, 100), _range(5000, 5000, 5)],
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        },
        user_namespace=True,
        running={"uids": proc("uid_map"), "gids": proc("gid_map")},
    ),
    Case(
        "ranges that overlap",
        _MAPS,
        {"linux.uidMappings": [_range(0, 100000, 10), _range(5, 0, 1)]},
        user_namespace=True,
        inside={"ran": "true"},
    ),
    Case("ids without a user namespace", _MAPS, {"linux.uidMappings": [_range(0, 100000, 10)]}, inside={"ran": "true"}),
    Case(
        "a size of nothing",
        _MAPS,
        {"linux.uidMappings": [_range(0, 100000, 0)]},
        user_namespace=True,
        inside={"ran": "true"},
    ),
    Case(
        "network namespace joined",
        ("linux.namespaces[].path",),
        {"linux.namespaces": _joined("network", "net", "mount", "pid", "uts", "ipc")},
        running={"whose": namespaces},
    ),
    Case(
        "uts namespace joined",
        ("linux.namespaces[].path",),
        {"linux.namespaces": _joined("uts", "uts", "mount", "pid", "ipc")},
        without=("hostname",),
        running={"whose": namespaces},
        inside={"name": "hostname"},
    ),
    Case(
        "uts namespace joined, with a name",
        ("linux.namespaces[].path",),
        {"linux.namespaces": _joined("uts", "uts", "mount", "pid", "ipc")},
        inside={"name": "hostname"},
    ),
    Case(
        "ipc namespace joined",
        ("linux.namespaces[].path",),
        {"linux.namespaces": _joined("ipc", "ipc", "mount", "pid", "uts")},
        running={"whose": namespaces},
    ),
    Case(
        "a path of another kind",
        ("linux.namespaces[].path",),
        {"linux.namespaces": _joined("network", "ipc", "mount", "pid", "uts")},
        inside={"ran": "true"},
    ),
    Case(
        "a path to nothing",
        ("linux.namespaces[].path",),
        {"linux.namespaces": [{"type": "network", "path": "/nonesuch"}, *_only("mount", "pid")]},
        without=("hostname",),
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case(
        "a kind that there is not",
        ("linux.namespaces[].type",),
        {"linux.namespaces": _only("mount", "nonesuch")},
        inside={"ran": "true"},
    ),
    Case(
        "devices",
        ("linux.devices", *_DEVICE),
        {
            "linux.devices": [
                {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o600, "uid": 3, "gid": 4},
                {"path": "/dev/own", "type": "b", "major": 7, "minor": 9, "fileMode": 0o660},
                {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3, "fileMode": 0o666},
                {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 5},
                {"path": "/elsewhere/x", "type": "c", "major": 1, "minor": 5},
            ]
        },
        inside={
            "stat": "cd /dev; stat -c '%n %F %t:%T %a %u:%g' net net/tun own unbuffered pipe /elsewhere/x",
        },
    ),
    Case(
        "a device of a default's name",
        ("linux.devices", *_DEVICE),
        {
            "linux.devices": [
                {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 3, "gid": 4}
            ]
        },
        like="crun",
        inside={"stat": "stat -c '%n %F %t:%T %a %u:%g' /dev/null"},
    ),
    Case(
        "a device without a kind",
        ("linux.devices[].type",),
        {"linux.devices": [{"path": "/dev/x", "major": 1, "minor": 3}]},
        inside={"ran": "true"},
    ),
    Case(
        "cgroup by an absolute path",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "/cmp-ID/deep/one"},
        running={"path": cgroup_path},
        after={"left": left},
    ),
    Case(
        "cgroup by a relative path",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "cmp-ID/one"},
        running={"path": cgroup_path},
        after={"left": left},
    ),
    Case("cgroup without a path", ("linux.cgroupsPath",), running={"path": cgroup_path}, after={"left": left}),
    Case(
        "cgroup above all",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "/../../cmp-ID"},
        running={"path": cgroup_path},
    ),
    *(
        Case(
            f"root is {kind}",
            ("linux.rootfsPropagation",),
            {"linux.rootfsPropagation": kind},
            like="crun" if "shared" in kind or "unbindable" in kind else "runc",  # runc since 1.2
            inside={
                "root": "awk '$5 == \"/\" {print $7, $8}' /proc/self/mountinfo | sed -E 's/[0-9]+/N/g'",
                "tmpfs": "awk '$5 == \"/dev/shm\" {print $7, $8}' /proc/self/mountinfo | sed -E 's/[0-9]+/N/g'",
            },
        )
        for kind in _PROPAGATIONS
    ),
    Case(
        "masked paths",
        ("linux.maskedPaths",),
        {"linux.maskedPaths": _MASKED, "linux.readonlyPaths": []},
        inside={
            path: f"stat -c '%F' {path}; ls {path} | wc -l; head -c 1 {path} | wc -c; touch {path}/x"
            for path in _MASKED[:-1]
        },
    ),
    Case(
        "read-only paths",
        ("linux.readonlyPaths",),
        {"linux.readonlyPaths": _READONLY, "linux.maskedPaths": []},
        inside={
            path: f"touch {path}; ls {path} | wc -l; touch {path}/x; grep ' {path} ' /proc/self/mounts | cut -d' ' -f 4"
            for path in _READONLY
        },
    ),
    Case(
        "masked and read-only",
        ("linux.maskedPaths", "linux.readonlyPaths"),
        {"linux.maskedPaths": ["/etc"], "linux.readonlyPaths": ["/etc"]},
        inside={"etc": "ls /etc; touch /etc/x; grep -c ' /etc ' /proc/self/mountinfo"},
    ),
    Case(
        "a masked path that is relative", ("linux.maskedPaths",), {"linux.maskedPaths": ["etc"]}, inside={"ran": "true"}
    ),
    Case(
        "execution domain",
        ("linux.personality", "linux.personality.domain"),
        {"linux.personality": {"domain": "LINUX32"}},
        like="crun",
        inside={"machine": "uname -m"},
        running={"personality": proc("personality")},
    ),
    Case(
        "execution domain LINUX",
        ("linux.personality", "linux.personality.domain"),
        {"linux.personality": {"domain": "LINUX"}},
        like="crun",
        inside={"machine": "uname -m"},
        running={"personality": proc("personality")},
    ),
    Case(
        "execution domain that there is not",
        ("linux.personality.domain",),
        {"linux.personality": {"domain": "NONE"}},
        like="crun",
        inside={"ran": "true"},
    ),
    Case(
        "flags of a personality",
        ("linux.personality.flags",),
        {"linux.personality": {"domain": "LINUX", "flags": ["X"]}},
        like="crun",
        inside={"ran": "true"},
    ),
    _rdt("closID", "some"),
    _rdt("l3CacheSchema", "L3:0=f"),
    _rdt("memBwSchema", "MB:0=20"),
    _rdt("enableCMT", True),
    _rdt("enableMBM", True),
    Case(
        "sysctls",
        ("linux.sysctl",),
        {
            "linux.sysctl": {
                "kernel.shm_rmid_forced": "1",
                "net.ipv4.ip_forward": "1",
                "kernel.msgmax": "65000",
                "fs.mqueue.msg_max": "20",
                "net/ipv4/ip_default_ttl": "63",
            }
        },
        inside={
            "values": "sysctl -n kernel.shm_rmid_forced net.ipv4.ip_forward kernel.msgmax fs.mqueue.msg_max"
            " net.ipv4.ip_default_ttl",
        },
    ),
    *(
        Case(f"sysctl {name}", ("linux.sysctl",), {"linux.sysctl": {name: "1"}}, inside={"ran": "true"})
        for name in (
            "kernel.panic",
            "vm.swappiness",
            "kernel.hostname",
            "kernel.domainname",
            "net.nonesuch",
            "",
            "fs.file-max",
            "net./../../x",
        )
    ),
    Case(
        "sysctl of the host's network",
        ("linux.sysctl",),
        {"linux.namespaces": _only("mount", "pid", "uts", "ipc"), "linux.sysctl": {"net.ipv4.ip_forward": "1"}},
        inside={"ran": "true"},
    ),
    Case(
        "sysctl of the host's ipc",
        ("linux.sysctl",),
        {"linux.namespaces": _only("mount", "pid", "uts", "network"), "linux.sysctl": {"kernel.msgmax": "65000"}},
        inside={"ran": "true"},
    ),
)
