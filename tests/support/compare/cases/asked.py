"""What an integration test may ask, as runc's manual pages, changelog and messages, and public reports, lead one to."""

from __future__ import annotations

from ..case import Case
from ..observers import said

CASES = (
    Case(
        "what hides a directory",
        ("linux.maskedPaths",),
        {"linux.maskedPaths": ["/hidden", "/hidden.txt", "/nonesuch"]},
        files={"rootfs/hidden/inner/file": "text\n", "rootfs/hidden.txt": "text\n"},
        inside={
            "mounts": "awk '$5 ~ /hidden/ {print $5, $(NF-2), $(NF-1)}' /proc/self/mountinfo",
            "list": "ls -A /hidden",
            "read": "cat /hidden.txt",
            "write": "touch /hidden/x",
            "written": "echo more > /hidden.txt; cat /hidden.txt",
        },
    ),
    Case(
        "a limit below what is used",
        ("operation.update",),
        running={"said": said("update --memory 4096 ID")},
    ),
    Case(
        "a rootfs that is the bundle",
        ("root.path",),
        {"root.path": "rootfs/../rootfs/."},
        inside={"ran": "pwd; ls -d /bin"},
    ),
    Case(
        "a link in a directory that is mounted after it",
        ("mounts[].source",),
        {
            "mounts+": [
                {"destination": "/t/link", "type": "bind", "source": "BUNDLE/second/link", "options": ["rbind"]},
                {"destination": "/t", "type": "bind", "source": "BUNDLE/second", "options": ["rbind"]},
                {"destination": "/u", "type": "bind", "source": "BUNDLE/second", "options": ["rbind"]},
                {"destination": "/u/link", "type": "bind", "source": "BUNDLE/second/link", "options": ["rbind"]},
            ]
        },
        files={"first/file": "text\n", "second/other": "text\n", "rootfs/first/file": "the root's\n"},
        links={"second/link": "../first/file"},
        inside={"list": "ls /t /u", "read": "cat /t/link; cat /u/link; cat /first/file"},
    ),
    Case(
        "destinations with dots and slashes",
        ("mounts[].destination",),
        {
            "mounts+": [
                {"destination": "/q/../etc/./dot", "type": "bind", "source": "here/../here/file", "options": ["bind"]},
                {
                    "destination": "//double//slash/",
                    "type": "bind",
                    "source": "BUNDLE/./here/file",
                    "options": ["bind"],
                },
            ]
        },
        files={"here/file": "text\n"},
        inside={"read": "cat /etc/dot /double/slash", "left": "ls -d /q"},
    ),
    Case(
        "what tells a container its own share",
        ("mounts[].destination",),
        {
            "mounts+": [
                {"destination": f"/proc/{name}", "type": "bind", "source": "own", "options": ["rbind", "ro"]}
                for name in ("cpuinfo", "meminfo", "stat", "uptime", "swaps", "diskstats", "loadavg")
            ]
        },
        files={"own": "mine\n"},
        inside={
            "read": "cd /proc; cat cpuinfo meminfo stat uptime swaps diskstats loadavg",
            "write": "echo > /proc/stat",
        },
    ),
    Case(
        "groups by the thousand",
        ("process.user.additionalGids",),
        {"process.user.additionalGids": list(range(1, 3000))},
        inside={"count": "id -G | wc -w"},
    ),
    Case(
        "a hook that says much",
        ("hooks.createRuntime",),
        {"hooks.createRuntime": [{"path": "BUNDLE/talks"}], "hooks.poststop": [{"path": "BUNDLE/talks"}]},
        files={"talks": "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x\n"},
        inside={"ran": "true"},
    ),
    Case(
        "a call that a profile names twice",
        ("linux.seccomp.syscalls",),
        {
            "linux.seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["mkdir", "mkdir"], "action": "SCMP_ACT_ERRNO"},
                    {"names": ["mkdir"], "action": "SCMP_ACT_KILL"},
                ],
            }
        },
        inside={"mkdir": "mkdir /tmp/x"},
    ),
)
