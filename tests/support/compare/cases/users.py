"""What users of podman, containerd, Docker and Kubernetes, and who builds runtimes, have reported of runc and crun."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import cgroup, left, tool

_INFO = "cut -d' ' -f 5,6 /proc/self/mountinfo | grep -E ' ?/m' | sort"
_MODES = "ls -ld {} | cut -c 1-10"
_OWNERS = "ls -ldn {} | awk '{{print $1, $3, $4}}'"
_CPUSET = "/sys/fs/cgroup/cpuset$(grep :cpuset: /proc/PID/cgroup | cut -d: -f 3)"
_USER = {"uid": 1000, "gid": 1000}
_DEVPTS = {
    "destination": "/dev/pts", "type": "devpts", "source": "devpts",
    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
}  # fmt: skip
_PROC = {"destination": "/proc", "type": "proc", "source": "proc"}


def _tmpfs(at: str, *options: str) -> dict[str, Any]:
    return {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def _bind(at: str, *options: str, source: str = "source") -> dict[str, Any]:
    return {"destination": at, "type": "bind", "source": source, "options": ["bind", *options]}


def _device(path: str, major: int, minor: int) -> dict[str, Any]:
    return {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}


def _notify(*names: str) -> dict[str, Any]:
    return {
        "linux.seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "BUNDLE/agent.sock",
            "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}],
        }
    }


_NO_CAPS: dict[str, Any] = {
    "process.capabilities": {name: [] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
}
_OF_THE_USER: dict[str, Any] = {
    "process.user": _USER,
    "process.cwd": "/work",
    "mounts+": [_tmpfs("/work", "mode=700", "uid=1000", "gid=1000")],
}

CASES = (
    # working directories, standard descriptors, users
    Case(
        "a directory of its user's, and root without capabilities",
        ("process.cwd", "operation.exec"),
        {**_OF_THE_USER, **_NO_CAPS},
        inside={"pwd": "pwd"},
        verbs=("exec ID pwd", "exec -u 0:0 ID pwd", "exec -u 7:8 ID pwd"),
    ),
    Case(
        "a directory of its user's in a user namespace",
        ("process.cwd", "linux.uidMappings"),
        _OF_THE_USER,
        user_namespace=True,
        inside={"pwd": "pwd; " + _OWNERS.format("/work")},
        verbs=("exec ID pwd", "exec -u 0:0 ID pwd"),
    ),
    Case(
        "standard output opened anew by a user",
        ("process.user", "runtime.descriptors"),
        {"process.user": _USER},
        inside={"again": "echo there >> /dev/stdout", "error": "echo there >> /dev/stderr"},
        ended=("state ID",),
    ),
    Case(
        "standard output opened anew by a user of a user namespace",
        ("process.user", "runtime.descriptors"),
        {"process.user": _USER},
        user_namespace=True,
        inside={"again": "echo there >> /dev/stdout", "error": "echo there >> /dev/stderr"},
        ended=("state ID",),
    ),
    Case(
        "home of a user that the host knows",
        ("process.user.uid", "process.env"),
        {"process.user": {"uid": 1, "gid": 1}},
        inside={"home": "echo $HOME"},
        verbs=("exec -u 7 ID sh -c 'echo $HOME'", "exec -u 2 ID sh -c 'echo $HOME'", "exec ID sh -c 'echo $HOME'"),
    ),
    Case(
        "a user of exec by its name",
        ("operation.exec",),
        verbs=("exec -u root ID id -u", "exec -u some ID id -u", "exec -u none ID id -u", "exec -u 7:x ID id -u"),
    ),
    Case(
        "a working directory of exec",
        ("operation.exec",),
        verbs=(
            "exec --cwd /etc ID pwd",
            "exec --cwd etc ID pwd",
            "exec --cwd /none/there ID pwd",
            "exec --cwd /etc/passwd ID pwd",
            "exec ID ls -d /none",
        ),
    ),
    Case(
        "variables of exec",
        ("operation.exec", "process.env"),
        {"process.env": ["PATH=/bin", "A=1", "B=2"]},
        verbs=(
            "exec -e A=3 -e C=4 ID sh -c 'echo $A $B $C $PATH'",
            "exec -e A ID sh -c 'echo $A'",
            "exec -e A= ID sh -c 'echo x$A'",
            "exec --env PATH=/none ID true",
        ),
    ),
    Case(
        "what exec cannot execute",
        ("operation.exec",),
        verbs=("exec ID /etc", "exec ID /etc/passwd", "exec ID /none", "exec ID none", "exec ID ''"),
    ),
    Case(
        "words behind two dashes",
        ("operation.exec",),
        verbs=("exec ID -- true", "exec ID echo -- -e", "exec -- ID echo x", "state -- ID"),
    ),
    Case(
        "exec detached, with a terminal that has nowhere to go",
        ("operation.exec",),
        verbs=("exec --detach --tty ID true", "exec --detach --tty=false ID true"),
    ),
    Case(
        "a cgroup of exec beside the container's",
        ("runtime.--cgroup",),
        verbs=(
            "exec --cgroup freezer:../IDx ID true",
            "exec --cgroup freezer:.. ID true",
            "exec --cgroup freezer:. ID true",
            "exec --cgroup none:/ ID true",
        ),
    ),
    Case(
        "AppArmor, unconfined, where there is none",
        ("process.apparmorProfile",),
        {"process.apparmorProfile": "unconfined"},
        inside={"ran": "true"},
    ),
    Case("no umask", ("process.user.umask",), inside={"umask": "umask; touch /tmp/x; " + _MODES.format("/tmp/x")}),
    # mounts
    Case(
        "links that are copied up",
        ("mounts[].options",),
        {"mounts+": [_tmpfs("/m", "tmpcopyup")]},
        files={"rootfs/m/plain": "text\n"},
        links={"rootfs/m/null": "/dev/null", "rootfs/m/nowhere": "/none/there", "rootfs/m/plainer": "plain"},
        inside={"list": "ls -l /m | awk '{print $1, $9, $10, $11}'", "cat": "cat /m/plainer"},
    ),
    Case(
        "modes of the roots of file systems",
        ("mounts[].type",),
        {"mounts+": [_tmpfs("/m", "mode=1777"), _tmpfs("/m.none"), _tmpfs("/etc")]},
        inside={"modes": _OWNERS.format("/proc /sys /dev /dev/shm /dev/mqueue /dev/pts /m /m.none /etc")},
    ),
    Case(
        "a /dev that is read-only",
        ("mounts[].destination",),
        {"mounts": [_PROC, _tmpfs("/dev", "nosuid", "strictatime", "mode=755", "size=65536k", "ro"), _DEVPTS]},
        inside={"list": "ls /dev; touch /dev/x", "null": "echo x > /dev/null && echo written"},
    ),
    Case(
        "a terminal's devices among those that are asked for",
        ("linux.devices",),
        {"linux.devices": [_device("/dev/tty", 5, 0), _device("/dev/ptmx", 5, 2)]},
        inside={"list": "ls -l /dev/tty /dev/ptmx | awk '{print $1, $3, $4, $5, $6, $(NF-2), $NF}'"},
    ),
    Case(
        "a terminal's devices among those that are asked for in a user namespace",
        ("linux.devices",),
        {"linux.devices": [_device("/dev/tty", 5, 0), _device("/dev/ptmx", 5, 2)]},
        user_namespace=True,
        inside={"list": "ls -l /dev/tty /dev/ptmx | cut -c 1"},
    ),
    Case(
        "directories that are made for destinations",
        ("mounts[].destination",),
        {"mounts+": [_bind("/a/b/file", source="source/file"), _bind("/x/y")]},
        files={"source/file": "text\n"},
        inside={"modes": _OWNERS.format("/a /a/b /x")},
        after={"left": tool("sh", "-c", "ls -lR BUNDLE/rootfs/a BUNDLE/rootfs/x | awk '{print $1, $3, $4, $9}'")},
    ),
    Case(
        "directories that are made below one that hands its group on",
        ("mounts[].destination",),
        {"mounts+": [_tmpfs("/sg", "mode=2777", "gid=8"), _bind("/sg/new/place")]},
        files={"source/file": "text\n"},
        inside={"modes": _OWNERS.format("/sg /sg/new"), "cat": "cat /sg/new/place/file"},
    ),
    Case(
        "read-only, and all that is below",
        ("mounts[].options",),
        {
            "mounts+": [
                _bind("/m", "ro"),
                {**_bind("/m.r", "ro"), "options": ["rbind", "ro"]},
                {**_bind("/m.rro"), "options": ["rbind", "rro"]},
            ]
        },
        mounted={"source/sub": "rw"},
        files={"source/file": "text\n"},
        inside={"flags": _INFO, "write": "for at in m m.r m.rro; do touch /$at/x /$at/sub/x; done"},
    ),
    Case(
        "a source on which no link is followed",
        ("mounts[].options",),
        {"mounts+": [_bind("/m"), _bind("/m.ro", "ro")]},
        mounted={"source": "nosymfollow"},
        inside={"flags": _INFO},
    ),
    Case(
        "options that say nothing",
        ("mounts[].options",),
        {"mounts+": [_tmpfs("/m", "defaults"), _tmpfs("/m.empty", ""), _bind("/m.bind", "defaults")]},
        files={"source/file": "text\n"},
        inside={"flags": _INFO},
        like="crun",
    ),
    Case(
        "options with commas",
        ("mounts[].options",),
        {"mounts+": [_tmpfs("/m", "size=1m,mode=700", "nodev,noexec")]},
        inside={"flags": _INFO, "mode": _MODES.format("/m")},
    ),
    Case(
        "cgroups, read-only, in a user namespace",
        ("mounts[].type",),
        {
            "mounts+": [
                {
                    "destination": "/sys/fs/cgroup",
                    "type": "cgroup",
                    "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
                }
            ],
            "linux.namespaces+": [{"type": "cgroup"}],
        },
        user_namespace=True,
        inside={
            "write": "mkdir /sys/fs/cgroup/memory/x",
            "there": "grep -q cgroup /proc/self/mounts && echo yes",
        },
    ),
    Case(
        "a file below /proc/net",
        ("mounts[].destination",),
        {"mounts+": [_bind("/proc/net/dev", source="source/dev")]},
        files={"source/dev": "of the bundle\n"},
        inside={"cat": "cat /proc/net/dev"},
    ),
    Case(
        "cgroup2 where there are both",
        ("mounts[].type",),
        {"mounts+": [{"destination": "/cg2", "type": "cgroup2", "source": "cgroup2"}]},
        inside={"type": "grep ' /cg2 ' /proc/self/mounts | cut -d' ' -f3"},
    ),
    Case(
        "cgroup2 where there are both, without a cgroup namespace",
        ("mounts[].type",),
        {
            "mounts+": [{"destination": "/cg2", "type": "cgroup2", "source": "cgroup2"}],
            "linux.namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        },
        inside={"type": "grep ' /cg2 ' /proc/self/mounts | cut -d' ' -f3"},
    ),
    # namespaces, sysctls
    Case(
        "a range of groups for ping that is not mapped",
        ("linux.sysctl",),
        {"linux.sysctl": {"net.ipv4.ping_group_range": "0 2147483647"}},
        user_namespace=True,
        inside={"ran": "true"},
    ),
    Case(
        "a range of groups for ping that is mapped",
        ("linux.sysctl",),
        {"linux.sysctl": {"net.ipv4.ping_group_range": "0 65535"}},
        user_namespace=True,
        inside={"range": "cat /proc/sys/net/ipv4/ping_group_range"},
    ),
    Case(
        "a domain name by sysctl in a user namespace",
        ("linux.sysctl",),
        {"linux.sysctl": {"kernel.domainname": "example.org"}},
        user_namespace=True,
        inside={"name": "cat /proc/sys/kernel/domainname"},
    ),
    Case(
        "offsets of time without a time namespace",
        ("linux.timeOffsets",),
        {"linux.timeOffsets": {"boottime": {"secs": 1000, "nanosecs": 0}}},
        inside={"ran": "true"},
    ),
    Case(
        "a user namespace without a root",
        ("linux.uidMappings", "linux.gidMappings"),
        {
            "linux.namespaces+": [{"type": "user"}],
            "linux.uidMappings": [{"containerID": 1000, "hostID": 1000, "size": 1}],
            "linux.gidMappings": [{"containerID": 1000, "hostID": 1000, "size": 1}],
            "process.user": _USER,
        },
        inside={"id": "id -u"},
    ),
    # seccomp
    Case(
        "notified of the call that hands the listener over",
        ("linux.seccomp.listenerPath",),
        _notify("sendmsg"),
        agent=True,
        inside={"ran": "true"},
    ),
    Case(
        "notified of calls on descriptors",
        ("linux.seccomp.listenerPath",),
        _notify("fcntl", "dup3", "lseek"),
        agent=True,
        inside={"ran": "true"},
    ),
    # life, cgroups
    Case(
        "poststop fails, and it is deleted again",
        ("hooks.poststop", "operation.delete"),
        {"hooks": {"poststop": [{"path": "/bin/false"}]}},
        inside={"ran": "true"},
        ended=("delete ID", "delete ID", "state ID", "delete --force ID"),
        after={"left": left},
    ),
    Case(
        "paused, by the freezer of v1",
        ("operation.pause",),
        inside={"ran": "true"},
        verbs=("pause ID",),
        changed={"freezer": cgroup("freezer.state")},
    ),
    Case(
        "started when it has ended",
        ("operation.start",),
        inside={"ran": "true"},
        ended=("start ID", "exec ID true", "pause ID", "resume ID", "kill ID TERM", "state ID"),
    ),
    Case(
        "fewer processors than a cgroup below has",
        ("operation.update",),
        inside={"ran": "true"},
        running={"below": tool("sh", "-c", f"mkdir {_CPUSET}/x && cat {_CPUSET}/cpuset.cpus >{_CPUSET}/x/cpuset.cpus")},
        verbs=("update --cpuset-cpus 0 ID", "update --cpuset-cpus 0-1 ID"),
    ),
    Case(
        "all namespaces of the host",
        ("linux.namespaces",),
        {"linux.namespaces": [{"type": "mount"}], "linux.maskedPaths": [], "linux.readonlyPaths": []},
        without=("hostname",),
        inside={"host": "test $(hostname) = $(cat /proc/sys/kernel/hostname) && echo same"},
    ),
)
