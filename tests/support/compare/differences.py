"""What pilot does otherwise than the runtime that a case is compared with, and why: all of it that is meant.

Case → observation → reason. docs/reference/conformance.md has the same table, and a test holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping

_SPEC = "the specification demands it"
_NOTHING_LEFT_OUT = "nothing that is asked for to isolate or to limit is left out in silence"
_POSTSTART = "after start, as the specification and later runcs have it; 1.1.5 runs them in create"
_USAGE = "255, as every other error of exec before the command runs"
_BIND = "a `type` of bind without the option is taken for one; the kernel knows no such filesystem"

_OTHER_NAMES = "known, by the other name of a signal"
_UNIFIED = "the hierarchy of v2 is there, too, on a host that has both"
_OF_NO_BIND = "an error, as in later runcs: a bind has no options of a file system"
_COMMA = "no letter of an id, as in later runcs"

MEANT: Mapping[str, Mapping[str, str]] = {
    "words behind two dashes": {"verb.exec ID -- true": "what is behind two dashes is the command, as in later runcs"},
    "version absent": {"status": f"`ociVersion` is required: {_SPEC}"},
    "a limit twice": {"status": f"an error: {_SPEC}"},
    "type bind, no options": {"status": _BIND},
    "tmpfs on /proc/scsi": {"status": "nothing is mounted below /proc, as in later runcs"},
    "a device of a default's name": {"inside.stat": "it has the owner that it is asked to have; runc 1.1.5 fails"},
    "root is runbindable": {"status": "works; crun and runc 1.1.5 fail at a bind"},
    "closID without resctrl": {"status": _NOTHING_LEFT_OUT},
    "enableCMT without resctrl": {"status": _NOTHING_LEFT_OUT},
    "enableMBM without resctrl": {"status": _NOTHING_LEFT_OUT},
    "no cgroup manager, with limits": {"status": _NOTHING_LEFT_OUT},
    "all hooks": {
        "created.order": _POSTSTART,
        "after.state of poststart": _POSTSTART,
    },
    "environment of hooks": {"after.state of poststart": _POSTSTART},
    "poststart fails": {"create": _POSTSTART},
    "poststart of no program": {"inside.ran": _POSTSTART},
    "poststart takes too long": {"inside.ran": _POSTSTART},
    "createContainer of a relative path": {"status": f"an error: {_SPEC}"},
    "startContainer of a relative path": {"status": f"an error: {_SPEC}"},
    "poststop of a relative path": {"status": f"an error: {_SPEC}"},
    "processes 0": {"running.files": "1, as in later runcs: no process may be added"},
    "number of an error where there is none": {"status": f"an error: {_SPEC}"},
    "default with a number": {"status": f"an error: {_SPEC}"},
    "sources with flags": {
        "inside.flags": "flags that are named, and those that are taken away, replace the source's, as in later runcs"
    },
    "a terminal that nobody outside has": {"status": "the container's terminal needs none outside"},
    "another document after the document": {"status": "config.json is one document: crun refuses it, too"},
    "a pid file in a directory that there is not": {"inside.ran": "nothing runs whose pid cannot be told"},
    "killed by every name of a signal": {"verb.kill ID SIGRTMIN": "known, as by crun"},
    "exec": {
        "verb.exec": _USAGE,
        "verb.exec ID -- id": "what is behind two dashes is the command, as in later runcs",
    },
    "usage": {"verb.exec --nonesuch ID true": _USAGE},
    "exec as a user of the container": {
        "verb.exec ID grep -E '^(Cap|Umask|Groups)' /proc/self/status": "the container's umask, as in later runcs"
    },
    "a process by a document": {
        f"verb.exec --process BUNDLE/{name}.json ID": "the container's umask, as in later runcs"
        for name in ("plain", "capable")
    },
    "spec": {"changed.spec": "without ambient capabilities, as later runcs"},
    "spec for an ordinary user": {
        "changed.spec": "without ambient capabilities and without cgroups, which need a right"
    },
    "exec with and without new privileges": {
        "verb.exec --no-new-privs=x ID grep NoNewPrivs /proc/self/status": _USAGE,
    },
    "a config.json that has gone while it runs": {
        "verb.exec ID true": "works, with the process that the container was created with, as in crun"
    },
    "options of exec, long and short": {
        "verb.exec --additional-gids 9,10 ID id -G": _USAGE,
        "verb.exec --additional-gids x ID id -G": _USAGE,
        "verb.exec --preserve-fds x ID true": _USAGE,
        "verb.exec -u 4294967296 ID id -u": "no user; runc takes it for root",
    },
    "kill, said in many ways": {
        "verb.kill ID --all WINCH": "options may stand after arguments, as in crun",
        "verb.kill ID SIGCLD": _OTHER_NAMES,
        "verb.kill ID SIGIOT": _OTHER_NAMES,
        "verb.kill ID SIGPOLL": _OTHER_NAMES,
    },
    "update by standard input": {"running.null": "no document of resources"},
    "update by a document of all kinds": {"changed.blkio": "limits of devices are changed, as in later runcs"},
    "statistics": {"running.names": "numbers that are 0 are said, too, where Go leaves them out"},
    "names of an id": {
        "verb.create --bundle BUNDLE ID,b": _COMMA,
        "changed.list": _COMMA,
    },
    "a pid file that is a directory": {"inside.ran": "nothing runs whose pid cannot be told"},
    "a value of --rootless that is none": {"verb.--rootless x state ID": "an error of every verb"},
    "the greatest of users": {"status": "a user as others: crun and the kernel know it"},
    "a working directory below a link to nowhere": {"status": "made, where the link leads"},
    "kernel file systems with options": {
        "inside.flags": "the mount is read-only, and not the file system, which other mounts may share"
    },
    "cgroups, read-only": {"inside.names": _UNIFIED},
    "cgroups without their namespace": {"inside.names": _UNIFIED},
    "a device of a relative path": {"status": f"an error: {_SPEC}"},
    "a cgroup that is another's": {
        "running.again": "an error, as in later runcs: limits and freezing would be another's"
    },
    "no action": {"status": f"an error: {_SPEC}"},
    "an empty seccomp": {"status": f"an error: {_SPEC}"},
    "paused, by the freezer of v1": {
        "changed.freezer": "by that of v2 where there is one, too: what it holds can still be killed"
    },
    "AppArmor, unconfined, where there is none": {"status": "it asks for nothing"},
    "directories that are made for destinations": {"after.left": "the mode of a file is 0644, as in later runcs"},
    "an option that a bind has not": {"inside.ran": _OF_NO_BIND, "status": _OF_NO_BIND},
    "a bind with an option of a file system": {"inside.ran": _OF_NO_BIND, "status": _OF_NO_BIND},
    "kept, and refused at the last": {"status": "127, as a shell says it, and as where it is created and started"},
    "what is no program, each in its way": {"running.said": "a directory is called one, as in later runcs"},
    "what is mounted below a read-only bind": {
        f"inside.{seen}": "of two that contradict each other the last counts, as in later runcs"
        for seen in ("flags", "written")
    },
    "offsets of time without a time namespace": {"status": "an error, as in later runcs: nothing would keep them"},
}
