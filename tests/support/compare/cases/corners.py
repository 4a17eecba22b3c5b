"""Members of config.json at values that no other case has: every limit, flag and set by its name."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import cgroup, left, link, shell, state

_CAPS = "grep ^Cap /proc/self/status"
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_FLAGS = "cut -d' ' -f 5,6 /proc/self/mountinfo | grep -E '^/m' | sort"
_LIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS",
           "RTPRIO", "RTTIME", "SIGPENDING", "STACK")  # fmt: skip


def _mount(at: str, *options: str, source: str = "tmpfs", type: str = "tmpfs") -> dict[str, Any]:
    return {"destination": at, "type": type, "source": source, "options": list(options)}


def _bind(at: str, *options: str, source: str = "source") -> dict[str, Any]:
    return _mount(at, "bind", *options, source=source, type="bind")


def _sets(**named: list[str]) -> dict[str, Any]:
    return {"process.capabilities": {name: named.get(name, []) for name in _SETS}}


def _of(*caps: str) -> dict[str, Any]:
    return _sets(**{name: list(caps) for name in _SETS})


CASES = (
    # process
    Case(
        "every limit, below the caller's",
        ("process.rlimits", "process.rlimits[].type", "process.rlimits[].soft", "process.rlimits[].hard"),
        {
            "process.rlimits": [
                {
                    "type": f"RLIMIT_{name}",
                    "soft": 0 if name in {"NICE", "RTPRIO"} else 1 << 30,
                    "hard": 0 if name in {"NICE", "RTPRIO"} else 1 << 31,
                }
                for name in _LIMITS
                if name not in {"NOFILE", "NPROC", "MEMLOCK", "MSGQUEUE", "SIGPENDING", "AS", "CPU"}
            ]
        },
        inside={"limits": "cat /proc/self/limits"},
        verbs=("exec ID cat /proc/self/limits",),
    ),
    Case(
        "a limit that there is not",
        ("process.rlimits[].type",),
        {"process.rlimits": [{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]},
        inside={"ran": "true"},
    ),
    Case(
        "a limit in small letters",
        ("process.rlimits[].type",),
        {"process.rlimits": [{"type": "rlimit_core", "soft": 1, "hard": 1}]},
        inside={"ran": "true"},
    ),
    Case(
        "a limit without its prefix",
        ("process.rlimits[].type",),
        {"process.rlimits": [{"type": "CORE", "soft": 1, "hard": 1}]},
        inside={"ran": "true"},
    ),
    Case(
        "a limit below nothing",
        ("process.rlimits[].soft",),
        {"process.rlimits": [{"type": "RLIMIT_CORE", "soft": -1, "hard": 5}]},
        inside={"ran": "true"},
    ),
    Case("no capabilities", ("process.capabilities",), _sets(), inside={"caps": _CAPS}, verbs=(f"exec ID {_CAPS}",)),
    Case(
        "capabilities left out",
        ("process.capabilities",),
        without=("process.capabilities",),
        inside={"caps": _CAPS},
        verbs=(f"exec ID {_CAPS}",),
    ),
    Case(
        "capabilities in small letters", ("process.capabilities",), _of("cap_kill", "CAP_chown"), inside={"caps": _CAPS}
    ),
    Case("capabilities without a prefix", ("process.capabilities",), _of("KILL"), inside={"caps": _CAPS}),
    Case(
        "ambient ones that are not inheritable",
        ("process.capabilities.ambient",),
        _sets(bounding=["CAP_KILL"], permitted=["CAP_KILL"], effective=["CAP_KILL"], ambient=["CAP_KILL"]),
        inside={"caps": _CAPS},
    ),
    Case(
        "effective ones that are not permitted",
        ("process.capabilities.effective",),
        _sets(bounding=["CAP_KILL"], effective=["CAP_KILL"]),
        inside={"caps": _CAPS},
    ),
    Case(
        "permitted ones that are not bounded",
        ("process.capabilities.bounding",),
        _sets(permitted=["CAP_KILL"], effective=["CAP_KILL"], inheritable=["CAP_KILL"]),
        inside={"caps": _CAPS},
    ),
    Case(
        "capabilities of a user",
        ("process.capabilities",),
        {**_of("CAP_KILL", "CAP_CHOWN"), "process.user": {"uid": 7, "gid": 8}},
        inside={"caps": _CAPS},
        verbs=(f"exec ID {_CAPS}", f"exec -u 0 ID {_CAPS}"),
    ),
    Case(
        "capabilities twice",
        ("process.capabilities",),
        _of("CAP_KILL", "CAP_KILL", "CAP_AUDIT_READ"),
        inside={"caps": _CAPS},
    ),
    Case(
        "a program without a PATH",
        ("process.env", "process.args"),
        {"process.env": [], "process.args": ["true"]},
        args=("x",),
    ),
    Case(
        "a program by its path without a PATH",
        ("process.env", "process.args"),
        {"process.env": [], "process.args": ["/bin/sh", "-c", "echo @env; env | sort"]},
        args=("x",),
    ),
    Case(
        "a PATH that is said twice",
        ("process.env",),
        {"process.env": ["PATH=/none", "PATH=/bin"]},
        inside={"path": "echo $PATH; env | grep -c ^PATH"},
    ),
    Case("a PATH that is empty", ("process.env",), {"process.env": ["PATH="], "process.args": ["true"]}, args=("x",)),
    Case(
        "no environment at all",
        ("process.env",),
        without=("process.env",),
        args=("/bin/sh", "-c", "echo @env; env | sort"),
    ),
    Case("no arguments", ("process.args",), {"process.args": []}, args=("x",), after={"left": left}),
    Case("arguments left out", ("process.args",), without=("process.args",), args=("x",), after={"left": left}),
    Case(
        "a variable without an equals sign",
        ("process.env",),
        {"process.env": ["PATH=/bin", "NOTHING"]},
        inside={"env": "env | sort"},
    ),
    Case("no user", ("process.user",), without=("process.user",), inside={"id": "id"}),
    Case("a group alone", ("process.user.gid",), {"process.user": {"gid": 5}}, inside={"id": "id"}),
    Case(
        "the greatest of users",
        ("process.user.uid",),
        {"process.user": {"uid": 4294967294, "gid": 4294967294}},
        inside={"id": "id"},
    ),
    Case(
        "a user beyond the greatest",
        ("process.user.uid",),
        {"process.user": {"uid": 4294967295, "gid": 0}},
        inside={"id": "id"},
    ),
    Case("a user below nobody", ("process.user.uid",), {"process.user": {"uid": -1, "gid": 0}}, inside={"id": "id"}),
    Case(
        "scores at their ends",
        ("process.oomScoreAdj",),
        {"process.oomScoreAdj": 1000},
        inside={"score": "cat /proc/self/oom_score_adj"},
        verbs=("exec ID cat /proc/self/oom_score_adj",),
    ),
    Case("a score below all", ("process.oomScoreAdj",), {"process.oomScoreAdj": -1001}, inside={"ran": "true"}),
    Case(
        "the root as the working directory, in many words",
        ("process.cwd",),
        {"process.cwd": "//etc/./../bin//"},
        inside={"cwd": "pwd"},
        running={"cwd": link("cwd")},
    ),
    Case(
        "a working directory that is a file", ("process.cwd",), {"process.cwd": "/etc/passwd"}, inside={"ran": "true"}
    ),
    Case(
        "a working directory below a link to nowhere",
        ("process.cwd",),
        {"process.cwd": "/gone/below"},
        links={"rootfs/gone": "/nowhere"},
        inside={"cwd": "pwd"},
    ),
    Case(
        "a working directory that is a link",
        ("process.cwd",),
        {"process.cwd": "/short"},
        links={"rootfs/short": "etc"},
        inside={"cwd": "pwd -P"},
    ),
    # mounts
    Case(
        "times of files, on new mounts",
        ("mounts[].options",),
        {
            "mounts+": [
                _mount(f"/m.{option}", option)
                for option in (
                    "noatime",
                    "atime",
                    "relatime",
                    "norelatime",
                    "strictatime",
                    "nostrictatime",
                    "nodiratime",
                    "diratime",
                    "sync",
                    "async",
                    "dirsync",
                    "iversion",
                    "noiversion",
                    "mand",
                    "nomand",
                    "silent",
                    "loud",
                )
            ]
        },
        inside={"flags": _FLAGS, "options": "cut -d' ' -f 5,11- /proc/self/mountinfo | grep ^/m | sort"},
    ),
    Case(
        "times of files, on binds",
        ("mounts[].options",),
        {
            "mounts+": [
                _bind(f"/m.{option}", option)
                for option in (
                    "noatime",
                    "relatime",
                    "strictatime",
                    "nodiratime",
                    "sync",
                    "nosuid",
                    "suid",
                    "nodev",
                    "noexec",
                    "defaults",
                )
            ]
        },
        files={"source/x": ""},
        inside={"flags": _FLAGS},
    ),
    Case(
        "links that are not followed",
        ("mounts[].options",),
        {"mounts+": [_bind("/m", "nosymfollow")]},
        files={"source/x": ""},
        links={"source/l": "x"},
        inside={"cat": "cat /m/l", "flags": _FLAGS},
    ),
    Case(
        "a bind of devices, sockets and links",
        ("mounts[].source",),
        {
            "mounts+": [
                _bind("/m/null", source="/dev/null"),
                _bind("/m/sock", source="agent.sock"),
                _bind("/dev/more", source="/dev/zero"),
                _bind("/m/link", source="link"),
            ]
        },
        files={"plain": "text\n"},
        links={"link": "plain"},
        agent=True,
        inside={"kinds": "stat -c '%n %F' /m/null /m/sock /dev/more /m/link; cat /m/link; echo x > /m/null"},
    ),
    Case(
        "a source that is a link to nowhere",
        ("mounts[].source",),
        {"mounts+": [_bind("/m", source="link")]},
        links={"link": "nowhere"},
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case(
        "kernel file systems with options",
        ("mounts[].type", "mounts[].options"),
        {
            "mounts+": [
                _mount("/m/proc", "nosuid", "noexec", "nodev", "ro", source="proc", type="proc"),
                _mount("/m/sys", "ro", source="sysfs", type="sysfs"),
                _mount("/m/pts", "newinstance", "ptmxmode=0600", "mode=0620", "gid=5", source="devpts", type="devpts"),
                _mount("/m/mq", source="mqueue", type="mqueue"),
            ]
        },
        inside={"flags": "grep ' /m' /proc/self/mountinfo | cut -d' ' -f 5,6,8- | sort; stat -c %a /m/pts/ptmx"},
    ),
    Case(
        "cgroups, read-only",
        ("mounts[].type",),
        {
            "mounts+": [
                _mount("/sys/fs/cgroup", "ro", "nosuid", "noexec", "nodev", "relatime", source="cgroup", type="cgroup")
            ]
        },
        inside={
            "names": "ls /sys/fs/cgroup | sort",
            "write": "mkdir /sys/fs/cgroup/pids/x",
            "own": "cat /sys/fs/cgroup/pids/cgroup.procs | head -n 1",
            "links": "readlink /sys/fs/cgroup/cpu /sys/fs/cgroup/cpuacct",
        },
    ),
    Case(
        "cgroups without their namespace",
        ("mounts[].type",),
        {
            "linux.namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network")],
            "mounts+": [_mount("/sys/fs/cgroup", "ro", "nosuid", source="cgroup", type="cgroup")],
        },
        inside={
            "names": "ls /sys/fs/cgroup | sort",
            "write": "mkdir /sys/fs/cgroup/pids/x",
            "own": "wc -l < /sys/fs/cgroup/pids/cgroup.procs",
        },
    ),
    Case(
        "an overlay of its own",
        ("mounts[].type",),
        {
            "mounts+": [
                _mount(
                    "/m",
                    "lowerdir=BUNDLE/low,upperdir=BUNDLE/up/u,workdir=BUNDLE/up/w",
                    source="overlay",
                    type="overlay",
                )
            ]
        },
        files={"low/a": "low\n", "up/u/b": "up\n", "up/w/keep": ""},
        inside={"ls": "ls /m; echo x > /m/a; cat /m/a"},
        after={"low": shell("cat BUNDLE/low/a")},
    ),
    Case(
        "a tmpfs that is too small",
        ("mounts[].options",),
        {"mounts+": [_mount("/m", "size=64k")]},
        inside={"write": "dd if=/dev/zero of=/m/x bs=1k count=128 2>&1 | tail -n 1 | cut -c 1-5; stat -c %s /m/x"},
    ),
    Case(
        "a tmpfs with options that it has not",
        ("mounts[].options",),
        {"mounts+": [_mount("/m", "nonesuch=1")]},
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case(
        "a tmpfs with sizes that are none",
        ("mounts[].options",),
        {"mounts+": [_mount("/m", "size=many")]},
        inside={"ran": "true"},
    ),
    Case(
        "mounts one in the other, out of order",
        ("mounts",),
        {"mounts+": [_mount("/m/a/b"), _mount("/m"), _mount("/m/c")]},
        inside={"all": "cut -d' ' -f 5 /proc/self/mountinfo | grep ^/m; ls /m"},
    ),
    Case("a destination of the root", ("mounts[].destination",), {"mounts+": [_mount("/")]}, inside={"ran": "true"}),
    Case("no destination", ("mounts[].destination",), {"mounts+": [_mount("")]}, inside={"ran": "true"}),
    # linux
    Case(
        "masked twice, and what lies below",
        ("linux.maskedPaths",),
        {"linux.maskedPaths": ["/etc", "/etc", "/etc/passwd", "/proc/timer_list", "/"]},
        inside={"ran": "ls /"},
    ),
    Case(
        "read-only root by its path",
        ("linux.readonlyPaths",),
        {"linux.readonlyPaths": ["/"], "linux.maskedPaths": []},
        inside={"write": "touch /x; touch /dev/shm/x; touch /tmp/x"},
    ),
    Case(
        "no masks at all",
        ("linux.maskedPaths", "linux.readonlyPaths"),
        {"linux.maskedPaths": [], "linux.readonlyPaths": []},
        inside={"proc": "grep ' /proc' /proc/self/mounts | wc -l; touch /proc/sys/kernel/domainname"},
    ),
    Case(
        "namespaces twice",
        ("linux.namespaces",),
        {"linux.namespaces": [{"type": "mount"}, {"type": "mount"}, {"type": "pid"}]},
        without=("hostname",),
        inside={"ran": "true"},
    ),
    Case(
        "a time namespace",
        ("linux.namespaces[].type",),
        {"linux.namespaces": [{"type": "mount"}, {"type": "time"}]},
        without=("hostname",),
        like="crun",
        inside={"ran": "true"},
    ),
    Case(
        "devices one by one",
        ("linux.devices",),
        {
            "linux.devices": [
                {"path": "/dev/a", "type": "c", "major": 1, "minor": 3, "uid": 70000, "gid": 70000, "fileMode": 0},
                {"path": "/dev/deep/er/b", "type": "b", "major": 7, "minor": 1},
                {"path": "/x/p", "type": "p"},
            ]
        },
        inside={"stat": "stat -c '%n %F %a %u:%g %t:%T' /dev/a /dev/deep/er/b /x/p /dev/deep"},
    ),
    Case(
        "a device twice",
        ("linux.devices",),
        {
            "linux.devices": [
                {"path": "/dev/a", "type": "c", "major": 1, "minor": 3},
                {"path": "/dev/a", "type": "c", "major": 1, "minor": 5},
            ]
        },
        inside={"stat": "stat -c '%n %F %t:%T' /dev/a"},
    ),
    Case(
        "a device of a relative path",
        ("linux.devices[].path",),
        {"linux.devices": [{"path": "dev/a", "type": "c", "major": 1, "minor": 3}]},
        inside={"stat": "stat -c %F /dev/a"},
    ),
    Case(
        "a device that leads out",
        ("linux.devices[].path",),
        {"linux.devices": [{"path": "/dev/../../../dev/a", "type": "c", "major": 1, "minor": 3}]},
        inside={"stat": "stat -c %F /dev/a"},
    ),
    Case(
        "a device below the root, in a bound /dev",
        ("linux.devices",),
        {
            "mounts": [_mount("/proc", source="proc", type="proc"), _bind("/dev", "rbind", source="/dev")],
            "linux.devices": [{"path": "/x", "type": "c", "major": 1, "minor": 3}],
        },
        inside={"stat": "stat -c %F /x /dev/null"},
    ),
    Case(
        "a cgroup that is another's",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "/cmp-ID/shared"},
        running={
            "again": shell(
                "RUNTIME run -d --bundle BUNDLE ID-b > /dev/null 2>&1 < /dev/null; echo $?; RUNTIME delete -f ID-b"
            )
        },
        verbs=("state ID",),
        after={"left": left},
    ),
    Case(
        "a cgroup of one name",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "cmp-ID"},
        running={"pids": cgroup("pids.max")},
        after={"left": left},
    ),
    Case(
        "a cgroup as systemd names it, without systemd",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "user.slice:cmp:ID"},
        running={"pids": cgroup("pids.max")},
        after={"left": left},
    ),
    Case(
        "a cgroup that begins with dots",
        ("linux.cgroupsPath",),
        {"linux.cgroupsPath": "../cmp-ID"},
        running={"status": state("status")},
        after={"left": left},
    ),
    Case(
        "limits of what is started",
        ("linux.resources.pids.limit",),
        {"linux.resources.pids": {"limit": 2}},
        inside={"fork": "(true) 2> /dev/null; echo forked; (sleep 0 & sleep 0 & sleep 0 & wait) 2>&1 | grep -c fork"},
    ),
    Case(
        "resources that are nothing",
        ("linux.resources",),
        {"linux.resources": {}},
        running={"devices": cgroup("devices.list")},
    ),
    Case(
        "a sysctl that is a directory", ("linux.sysctl",), {"linux.sysctl": {"net.ipv4": "1"}}, inside={"ran": "true"}
    ),
    Case(
        "a sysctl of a value that is none",
        ("linux.sysctl",),
        {"linux.sysctl": {"net.ipv4.ip_forward": "many"}},
        inside={"ran": "true"},
    ),
    Case(
        "a sysctl in a user namespace",
        ("linux.sysctl",),
        {"linux.sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "65000"}},
        user_namespace=True,
        inside={"values": "sysctl -n net.ipv4.ip_forward kernel.msgmax"},
    ),
    Case("a name with odd letters", ("hostname",), {"hostname": "a b/ü"}, inside={"name": "hostname"}),
    Case(
        "an empty name",
        ("hostname",),
        {"hostname": ""},
        running={"same": shell("test $(nsenter -t PID -u hostname) = $(hostname)")},
    ),
    Case(
        "masked paths in a user namespace",
        ("linux.maskedPaths",),
        {"linux.maskedPaths": ["/etc/passwd", "/etc"], "linux.readonlyPaths": ["/bin"]},
        user_namespace=True,
        inside={"etc": "ls /etc; cat /etc/passwd; touch /bin/x"},
    ),
    Case(
        "a root that is read-only in a user namespace",
        ("root.readonly",),
        {"root.readonly": True},
        user_namespace=True,
        inside={"write": "touch /x", "flags": "grep ' / / ' /proc/self/mounts | cut -d' ' -f 4 | cut -c 1-2"},
    ),
    Case(
        "a root that is a file",
        ("root.path",),
        {"root.path": "config.json"},
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case("a root that is empty", ("root.path",), {"root.path": ""}, inside={"ran": "true"}, after={"left": left}),
    Case("a root that leads out", ("root.path",), {"root.path": "../bundle/rootfs"}, inside={"ls": "ls /"}),
    Case(
        "a root that is a mount",
        ("root.path",),
        {"process.args": ["sh"]},
        mounted={"rootfs/extra": "ro"},
        args=("sh", "-c", "echo @extra; ls /extra; touch /extra/x || echo no"),
    ),
    # hooks
    Case(
        "a hook that writes to the container's output",
        ("hooks.createRuntime",),
        {
            "hooks": {
                kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo @{kind}; echo said"]}]
                for kind in ("prestart", "createRuntime", "createContainer", "poststop")
            }
        },
        inside={"ran": "true"},
    ),
    Case(
        "a hook by a name that it has not",
        ("hooks.createRuntime[].args",),
        {"hooks": {"createRuntime": [{"path": "/bin/sh", "args": ["other", "-c", "echo $0 > BUNDLE/name"]}]}},
        inside={"ran": "true"},
        after={"name": shell("cat BUNDLE/name")},
    ),
    Case(
        "a timeout of nothing",
        ("hooks.createRuntime[].timeout",),
        {"hooks": {"createRuntime": [{"path": "/bin/true", "timeout": 0}]}},
        inside={"ran": "true"},
    ),
    Case(
        "a timeout below nothing",
        ("hooks.createRuntime[].timeout",),
        {"hooks": {"createRuntime": [{"path": "/bin/true", "timeout": -1}]}},
        inside={"ran": "true"},
    ),
    Case(
        "a hook without a path",
        ("hooks.createRuntime[].path",),
        {"hooks": {"createRuntime": [{"args": ["true"]}]}},
        inside={"ran": "true"},
    ),
    Case("no hooks of any kind", ("hooks",), {"hooks": {}}, inside={"ran": "true"}),
    Case(
        "environment that hooks inherit",
        ("hooks.createRuntime[].env",),
        {
            "hooks": {
                "createRuntime": [
                    {
                        "path": "/bin/sh",
                        "args": ["sh", "-c", "env | grep -c . > BUNDLE/count; env | grep COMPARED > BUNDLE/own"],
                    }
                ]
            }
        },
        inside={"ran": "true"},
        after={"own": shell("cat BUNDLE/own")},
    ),
    # seccomp
    Case(
        "an action by number alone",
        ("linux.seccomp.syscalls",),
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}],
            }
        },
        inside={"name": "hostname other; echo $?; hostname"},
    ),
    Case(
        "actions that kill",
        ("linux.seccomp.syscalls[].action",),
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"},
                    {"names": ["mknod", "mknodat"], "action": "SCMP_ACT_TRAP"},
                ],
            }
        },
        inside={"kill": "(hostname x) 2> /dev/null; echo $?", "trap": "(mknod /tmp/x p) 2> /dev/null; echo $?"},
    ),
    Case(
        "actions in small letters",
        ("linux.seccomp.defaultAction",),
        {"linux.seccomp": {"defaultAction": "scmp_act_allow"}},
        inside={"ran": "true"},
    ),
    Case("no action", ("linux.seccomp.defaultAction",), {"linux.seccomp": {"syscalls": []}}, inside={"ran": "true"}),
    Case(
        "no names of calls",
        ("linux.seccomp.syscalls[].names",),
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}},
        inside={"ran": "true"},
    ),
    Case("an empty seccomp", ("linux.seccomp",), {"linux.seccomp": {}}, inside={"ran": "true"}),
    # documents
    Case("numbers as texts", ("process.user.uid",), {"process.user": {"uid": "0", "gid": 0}}, inside={"ran": "true"}),
    Case("a list where one is", ("mounts",), {"mounts": {}}, inside={"ran": "true"}),
    Case(
        "a number with a point", ("process.user.uid",), {"process.user": {"uid": 0.0, "gid": 0}}, inside={"ran": "true"}
    ),
    Case(
        "names of members in other letters",
        ("process.terminal",),
        {"process.Terminal": False, "process.NoNewPrivileges": True},
        inside={"status": "grep NoNewPrivs /proc/self/status"},
    ),
    Case(
        "other platforms' members",
        ("ociVersion",),
        {"windows": {"layerFolders": ["x"]}, "solaris": {}, "vm": {"kernel": {"path": "/x"}}, "zos": {}},
        inside={"ran": "true"},
    ),
)
