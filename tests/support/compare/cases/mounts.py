"""config.json: mounts."""

from __future__ import annotations

from typing import Any

from ..case import Case, Observer
from ..observers import file, left

_INFO = "grep ' {} ' /proc/self/mountinfo | sed -E 's/^[^/]*//; s/(shared|master):[0-9]+/\\1/; s/ - .*//'"
_FILES = {"source/file": "text\n", "source/below/file": "more\n"}


def _info(*places: str) -> dict[str, str]:
    return {f"mount {place}": _INFO.format(place) for place in places}


def _bind(*options: str, at: str = "/m", source: str = "source", **more: Any) -> dict[str, Any]:
    return {"destination": at, "type": "bind", "source": source, "options": list(options), **more}


def _tmpfs(*options: str, at: str = "/t") -> dict[str, Any]:
    return {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


_EACH = (
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "atime",
    "nodiratime",
    "diratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "sync",
    "async",
    "dirsync",
    "defaults",
    "silent",
    "loud",
    "mand",
    "nomand",
    "iversion",
    "noiversion",
)
_EACH_OF_TMPFS = tuple(name for name in _EACH if name != "defaults")  # runc 1.1.5 takes that for a datum
_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
_RECURSIVE = ("rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rrelatime", "rstrictatime")
_AFTER: dict[str, Observer] = {"left": left}

CASES = (
    Case(
        "mounts in order",
        ("mounts", "mounts[].destination"),
        {"mounts+": [_tmpfs(at="/a"), _bind("bind", at="/a/b"), _tmpfs(at="/a/c"), _bind("bind", at="/d/e/f")]},
        files=_FILES,
        inside={"ls": "ls /a /a/b /a/c /d/e/f", "order": "cut -d' ' -f 5 /proc/self/mountinfo | grep -E '^/(a|d)'"},
        after=_AFTER,
    ),
    Case(
        "destination that is relative",
        ("mounts[].destination",),
        {"mounts+": [_bind("bind", at="m/x")]},
        files=_FILES,
        inside={"ls": "ls /m/x"},
    ),
    Case(
        "destination through links",
        ("mounts[].destination",),
        {"mounts+": [_bind("bind", at="/link/x"), _bind("bind", "ro", at="/up/y")]},
        files={**_FILES, "rootfs/etc/keep": ""},
        links={"rootfs/link": "/etc", "rootfs/up": "../../etc/../tmp"},
        inside={"ls": "ls -d /link /up"},
    ),
    Case(
        "destination is a file",
        ("mounts[].destination",),
        {"mounts+": [_bind("bind", at="/new/file", source="source/file")]},
        files=_FILES,
        inside={"cat": "cat /new/file", "stat": "stat -c '%F %a' /new /new/file"},
    ),
    Case(
        "a directory on a file",
        ("mounts[].destination",),
        {"mounts+": [_bind("bind", at="/etc/passwd")]},
        files=_FILES,
        inside={"ran": "true"},
    ),
    Case(
        "a file on a directory",
        ("mounts[].destination",),
        {"mounts+": [_bind("bind", at="/etc", source="source/file")]},
        files=_FILES,
        inside={"ran": "true"},
    ),
    Case(
        "twice at a place",
        ("mounts[].destination",),
        {"mounts+": [_tmpfs(), _bind("bind", at="/t")]},
        files=_FILES,
        inside={"ls": "ls /t"},
    ),
    Case(
        "types",
        ("mounts[].type",),
        {
            "mounts+": [
                _tmpfs("size=64k", "mode=1700", "uid=3", "gid=4"),
                {"destination": "/p", "type": "proc", "source": "proc"},
                {"destination": "/q", "type": "mqueue", "source": "mqueue"},
                {"destination": "/v", "type": "devpts", "source": "devpts", "options": ["newinstance", "mode=600"]},
                {"destination": "/s", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            ]
        },
        inside={
            "stat": "stat -c '%n %a %u:%g' /t /q /v",
            "df": "df /t | tail -1 | awk '{print $1, $2, $6}'",
            **_info("/t", "/p", "/q", "/v", "/s"),
            "kinds": "grep -E ' /[tpqvs] ' /proc/self/mounts | cut -d' ' -f 1-3",
        },
    ),
    Case(
        "type none, options bind",
        ("mounts[].type",),
        {"mounts+": [{**_bind("bind"), "type": "none"}]},
        files=_FILES,
        inside={"ls": "ls /m"},
    ),
    Case("type bind, no options", ("mounts[].type",), {"mounts+": [_bind()]}, files=_FILES, inside={"ls": "ls /m"}),
    Case(
        "no type, options bind",
        ("mounts[].type",),
        {"mounts+": [{"destination": "/m", "source": "source", "options": ["bind"]}]},
        files=_FILES,
        inside={"ls": "ls /m"},
    ),
    Case(
        "no type and no options",
        ("mounts[].type",),
        {"mounts+": [{"destination": "/m", "source": "source"}]},
        files=_FILES,
        inside={"ls": "ls /m"},
    ),
    Case(
        "a type that there is not",
        ("mounts[].type",),
        {"mounts+": [{"destination": "/m", "type": "nonesuch", "source": "x"}]},
        inside={"ran": "true"},
        after=_AFTER,
    ),
    Case(
        "on /proc", ("mounts[].type",), {"mounts+": [_bind("bind", at="/proc")]}, files=_FILES, inside={"ran": "true"}
    ),
    Case(
        "below /proc",
        ("mounts[].type",),
        {"mounts+": [_bind("bind", at="/proc/fs")]},
        files=_FILES,
        inside={"ran": "true"},
    ),
    Case(
        "on /proc/meminfo",
        ("mounts[].type",),
        {"mounts+": [_bind("bind", at="/proc/meminfo", source="source/file")]},
        files=_FILES,
        inside={"cat": "cat /proc/meminfo"},
    ),
    Case("tmpfs on /proc/scsi", ("mounts[].type",), {"mounts+": [_tmpfs("ro", at="/proc/fs")]}, inside={"ran": "true"}),
    Case("a tmpfs on /proc", ("mounts[].type",), {"mounts+": [_tmpfs(at="/proc")]}, inside={"ran": "true"}),
    Case(
        "source",
        ("mounts[].source",),
        {
            "mounts+": [
                _bind("bind", at="/a"),
                _bind("bind", at="/b", source="BUNDLE/source/below"),
                _bind("bind", at="/c", source="./source/../source/file"),
            ]
        },
        files=_FILES,
        inside={"ls": "ls /a /b", "cat": "cat /c"},
    ),
    Case(
        "source absent",
        ("mounts[].source",),
        {"mounts+": [{"destination": "/m", "type": "bind", "options": ["bind"]}]},
        inside={"ran": "true"},
    ),
    Case(
        "source of a tmpfs absent",
        ("mounts[].source",),
        {"mounts+": [{"destination": "/m", "type": "tmpfs"}]},
        like="crun",  # runc mounts it without a name, which shifts the columns of /proc/mounts
        inside={"source": "grep ' /m ' /proc/self/mounts"},
    ),
    Case(
        "options of a bind, each",
        ("mounts[].options",),
        {"mounts+": [_bind("bind", name, at=f"/m.{name}") for name in _EACH]},
        files=_FILES,
        inside=_info(*(f"/m.{name}" for name in _EACH)),
    ),
    Case(
        "options of a tmpfs, each",
        ("mounts[].options",),
        {"mounts+": [_tmpfs(name, at=f"/m.{name}") for name in _EACH_OF_TMPFS]},
        inside=_info(*(f"/m.{name}" for name in _EACH_OF_TMPFS)),
    ),
    Case(
        "propagation of a bind, each",
        ("mounts[].options",),
        {"mounts+": [_bind("rbind", name, at=f"/m.{name}") for name in _PROPAGATION]},
        files=_FILES,
        inside=_info(*(f"/m.{name}" for name in _PROPAGATION)),
    ),
    Case(
        "options of all that is below",
        ("mounts[].options",),
        {"mounts+": [_bind("rbind", name, at=f"/m.{name}") for name in _RECURSIVE]},
        files=_FILES,
        inside=_info(*(f"/m.{name}" for name in _RECURSIVE)),
    ),
    Case(
        "an option that there is not", ("mounts[].options",), {"mounts+": [_tmpfs("nonesuch")]}, inside={"ran": "true"}
    ),
    Case(
        "an option that a bind has not",
        ("mounts[].options",),
        {"mounts+": [_bind("bind", "nonesuch=1")]},
        files=_FILES,
        inside={"ran": "true"},
    ),
    Case(
        "two that contradict",
        ("mounts[].options",),
        {"mounts+": [_bind("bind", "ro", "rw"), _tmpfs("rw", "ro")]},
        files=_FILES,
        inside=_info("/m", "/t"),
    ),
    Case(
        "copies up",
        ("mounts[].options",),
        {"mounts+": [_tmpfs("tmpcopyup", at="/etc")]},
        inside={"ls": "ls -l /etc | awk '{print $1,$3,$4,$9}'"},
    ),
    Case(
        "remount of nothing",
        ("mounts[].options",),
        {"mounts+": [_bind("bind", "remount")]},
        files=_FILES,
        inside={"ran": "true"},
    ),
    Case(
        "remount of what is mounted",
        ("mounts[].options",),
        {"mounts+": [_bind("bind"), _bind("bind", "remount", "ro")]},
        files=_FILES,
        inside=_info("/m"),
    ),
    Case(
        "mapped ids",
        ("mounts[].uidMappings", "mounts[].gidMappings"),
        {
            "mounts+": [
                _bind(
                    "bind",
                    uidMappings=[{"containerID": 0, "hostID": 1000, "size": 10}],
                    gidMappings=[{"containerID": 0, "hostID": 2000, "size": 10}],
                )
            ]
        },
        user_namespace=True,
        like="crun",
        files=_FILES,
        inside={"stat": "stat -c '%u:%g' /m /m/file"},
    ),
    Case(
        "idmap without a mapping",
        ("mounts[].uidMappings", "mounts[].gidMappings"),
        {"mounts+": [_bind("bind", "idmap")]},
        user_namespace=True,
        like="crun",
        files=_FILES,
        inside={"stat": "stat -c '%u:%g' /m /m/file"},
    ),
    Case(
        "a mapping of users alone",
        ("mounts[].gidMappings",),
        {"mounts+": [_bind("bind", uidMappings=[{"containerID": 0, "hostID": 1000, "size": 10}])]},
        user_namespace=True,
        like="crun",
        files=_FILES,
        inside={"ran": "true"},
    ),
    Case(
        "without pivot_root",
        ("runtime.--no-pivot",),
        options=("--no-pivot",),
        inside={
            "root": "ls /",
            "up": "ls /../..",
            "mounts": "cut -d' ' -f 5 /proc/self/mountinfo | grep -v cgroup | sort",
        },
    ),
    Case(
        "default filesystems",
        ("runtime.default filesystems",),
        {"mounts": []},
        like="crun",  # runc needs a /proc
        inside={"mounts": "ls /proc /sys; ls -A /dev | grep -v core | sort"},
    ),
    Case(
        "links and nodes of /dev",
        ("runtime./dev links",),
        inside={
            "dev": "cd /dev; find . | grep -v pts/ | sort"
            " | while read f; do stat -c '%n %F %t:%T %a %u:%g' $f; readlink $f; done; true"
        },
    ),
    Case(
        "a /dev that is a bind",
        ("runtime./dev links",),
        {"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, _bind("bind", at="/dev")]},
        files=_FILES,
        inside={"dev": "ls /dev"},
        after={"source": file("source/null")},
    ),
)
