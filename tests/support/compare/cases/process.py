"""config.json: ociVersion, root, process, hostname and domainname."""

from __future__ import annotations

from ..case import Case
from ..observers import link, proc, signals, tool

_ID = {"id": "id", "status": "grep -E '^(Uid|Gid|Groups|Umask|NoNewPrivs|Cap|Seccomp)' /proc/self/status"}
_TTY = {
    # runc gives the size of the caller's terminal when the process runs already.
    "size": "n=0; until stty size 2> /dev/null || test $n = 100; do sleep 0.1; n=$((n + 1)); done",
    "tty": "tty",
    "settings": "stty -a | tail -n +2",
    "node": "stat -c '%a %u:%g %t:%T' $(tty) /dev/console",
    "console": "grep /dev/console /proc/self/mountinfo | cut -d' ' -f 4-6",
    "leader": "awk '{print $5 == $8, $6, $7}' /proc/self/stat",
}
# Of two sizes runc gives the second when the process runs already: until it is there, for ten seconds at most.
_SETTLED = "n=0; until test \"$(stty size)\" = '30 100' || test $n = 100; do sleep 0.1; n=$((n + 1)); done; stty size"

CASES = (
    Case("version of the future", ("ociVersion",), {"ociVersion": "2.0.0"}, like="crun", inside={"ran": "true"}),
    Case("version absent", ("ociVersion",), {"ociVersion": ""}, inside={"ran": "true"}),
    Case("root is absent", ("root",), without=("root",)),
    Case("root of an absolute path", ("root.path",), {"root.path": "BUNDLE/rootfs"}, inside={"root": "ls /"}),
    Case(
        "root through a link",
        ("root.path",),
        {"root.path": "link"},
        links={"link": "rootfs"},
        like="crun",
        inside={"root": "ls /"},
    ),
    Case("root with dots", ("root.path",), {"root.path": "./rootfs/../rootfs/."}, inside={"root": "ls /"}),
    Case(
        "root is read-only",
        ("root.readonly",),
        {"root.readonly": True},
        inside={
            "write": "touch /x",
            "tmp": "touch /dev/shm/x",
            "mount": "grep ' / / ' /proc/self/mounts | cut -d' ' -f 4 | cut -c 1-2",
        },
    ),
    Case(
        "user",
        (
            "process.user",
            "process.user.uid",
            "process.user.gid",
            "process.user.umask",
            "process.user.additionalGids",
            "process.user.username",
        ),
        {"process.user": {"uid": 7, "gid": 8, "umask": 0o27, "additionalGids": [9, 11, 8], "username": "root"}},
        inside={**_ID, "home": "echo $HOME", "file": "touch /tmp/x; stat -c '%a %u:%g' /tmp/x"},
    ),
    Case("user without groups", ("process.user.additionalGids",), {"process.user": {"uid": 0, "gid": 0}}, inside=_ID),
    Case("process", ("process",), inside={**_ID, "env": "env | sort", "cwd": "pwd"}),
    Case("terminal", ("process.terminal",), {"process.terminal": True}, terminal=(30, 100), inside=_TTY),
    Case(
        "terminal of a user",
        ("process.terminal",),
        {"process.terminal": True, "process.user": {"uid": 7, "gid": 8}},
        terminal=(30, 100),
        inside=_TTY,
    ),
    Case(
        "size of the console, and of the caller's terminal",
        ("process.consoleSize", "process.consoleSize.height", "process.consoleSize.width"),
        {"process.terminal": True, "process.consoleSize": {"height": 11, "width": 22}},
        terminal=(30, 100),
        inside={**_TTY, "size": _SETTLED},
    ),
    Case(
        "size of the console alone",
        ("process.consoleSize", "process.consoleSize.height", "process.consoleSize.width"),
        {"process.terminal": True, "process.consoleSize": {"height": 11, "width": 22}},
        terminal=(0, 0),
        like="crun",
        inside={"size": "stty size"},
    ),
    Case(
        "size of a console without a terminal",
        ("process.consoleSize",),
        {"process.consoleSize": {"height": 11, "width": 22}},
        inside={"ran": "true"},
    ),
    Case(
        "AppArmor where there is none",
        ("process.apparmorProfile",),
        {"process.apparmorProfile": "some"},
        inside={"ran": "true"},
    ),
    Case(
        "SELinux where there is none",
        ("process.selinuxLabel",),
        {"process.selinuxLabel": "system_u:system_r:some"},
        inside={"ran": "true"},
    ),
    Case(
        "label of mounts without SELinux",
        ("linux.mountLabel",),
        {"linux.mountLabel": "system_u:object_r:some"},
        inside={"ran": "true"},
    ),
    Case(
        "score of want of memory",
        ("process.oomScoreAdj",),
        {"process.oomScoreAdj": 321},
        inside={"score": "cat /proc/self/oom_score_adj"},
        verbs=("exec ID cat /proc/self/oom_score_adj",),
    ),
    Case("score that is too high", ("process.oomScoreAdj",), {"process.oomScoreAdj": 1001}, inside={"ran": "true"}),
    Case(
        "environment",
        ("process.env",),
        {"process.env": ["PATH=/bin", "A=1", "A=2", "B=", "C=x=y", "LONG=a b\tc"]},
        inside={"env": "env | sort", "first": "tr '\\0' '\\n' < /proc/1/environ"},
    ),
    Case(
        "home of a user without one",
        ("process.env",),
        {"process.user": {"uid": 4711, "gid": 1}},
        inside={"home": "echo $HOME"},
    ),
    Case(
        "home that is given",
        ("process.env",),
        {"process.env": ["PATH=/bin", "HOME=/here"]},
        inside={"home": "echo $HOME"},
    ),
    Case(
        "working directory",
        ("process.cwd",),
        {"process.cwd": "/new/one"},
        inside={"pwd": "pwd", "made": "stat -c '%a %u:%g' /new /new/one"},
    ),
    Case(
        "working directory of a user",
        ("process.cwd",),
        {"process.cwd": "/new/one", "process.user": {"uid": 7, "gid": 8}},
        inside={"made": "stat -c '%a %u:%g' /new /new/one"},
    ),
    Case(
        "names",
        ("hostname", "domainname"),
        {"hostname": "one.two"},
        inside={"names": "hostname; cat /proc/sys/kernel/domainname"},
    ),
    Case(
        "domain name",
        ("domainname",),
        {"domainname": "example.org"},
        like="crun",
        inside={"names": "cat /proc/sys/kernel/domainname"},
    ),
    Case(
        "name without its namespace",
        ("hostname",),
        {"linux.namespaces": [{"type": "mount"}, {"type": "pid"}], "hostname": "x"},
        inside={"ran": "true"},
    ),
    Case(
        "limits",
        ("process.rlimits",),
        {
            "process.rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 22},
            ]
        },
        inside={"limits": "cat /proc/self/limits"},
        verbs=("exec ID cat /proc/self/limits",),
    ),
    Case(
        "a limit twice",
        ("process.rlimits",),
        {
            "process.rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60},
            ]
        },
        inside={"ran": "true"},
    ),
    Case(
        "program is a script",
        ("process.args",),
        {"process.args": ["/script", "a b", ""]},
        files={"rootfs/script": '#!/bin/sh\necho @words; for w; do echo "[$w]"; done\n'},
        args=("x",),
    ),
    Case(
        "program by its path from the working directory",
        ("process.args",),
        {"process.args": ["./script"], "process.cwd": "/etc"},
        files={"rootfs/etc/script": "#!/bin/sh\necho @here; pwd\n"},
        args=("x",),
    ),
    Case(
        "what the process is",
        ("process", "runtime.descriptors"),
        running={
            "exe": link("exe"),
            "cwd": link("cwd"),
            "session": tool("sh", "-c", "cut -d' ' -f 5-8 /proc/PID/stat | awk '{print $1==PID0,$3,$4}'"),
            "signals": signals("^(SigBlk|SigIgn|SigCgt|Threads|THP|Speculation)"),
            "wchan": proc("coredump_filter"),
            "timers": proc("timerslack_ns"),
            "loginuid": proc("loginuid"),
        },
        inside={"fds": "ls /proc/self/fd | sort -n", "keyring": "cat /proc/self/sessionid"},
    ),
    Case(
        "descriptors that are handed on",
        ("runtime.descriptors",),
        preserve=3,
        options=("--preserve-fds", "3"),
        inside={"fds": "ls /proc/self/fd | sort -n"},
    ),
)
