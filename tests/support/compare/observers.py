"""What can be seen of a container from outside. Each function makes an observer, for the tables of cases."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from .case import Json, Observer, Seen
from .phrases import PHRASES

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
STATE = ("id", "status", "pid", "bundle", "annotations")  # of the document, what the specification has
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")


def cgroup_directories(pid: int) -> dict[str, str]:
    """Directory of each controller of a process, as /proc/PID/cgroup has it: v1 by name, v2 as `unified`."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(",") if controllers else ["unified"]:
            found[name.removeprefix("name=")] = path
    return found


def _directory(controller: str, path: str) -> Path:
    return Path("/sys/fs/cgroup", controller + path)


def cgroup(*names: str) -> Observer:
    """Files of the cgroup of the container's process; the controller is the first word of a name. None: not there."""

    def look(seen: Seen) -> Json:
        directories = cgroup_directories(seen.pid)
        found: dict[str, str | None] = {}
        for name in names:
            controller = name.partition(".")[0]
            file = _directory(controller, directories[controller]) / name
            found[name] = _content(file) if file.exists() else None
        return found

    return look


def _content(file: Path) -> str:
    """Of lists of rules the order says nothing."""
    return "; ".join(sorted(file.read_text().splitlines()))


def cgroup_path(seen: Seen) -> Json:
    """Where the container's process is, by controller, below where the observer is; the id as ID."""
    own = cgroup_directories(os.getpid())
    paths = cgroup_directories(seen.pid)
    return {
        name: "/" + os.path.relpath(path, own[name]).replace(seen.id, "ID")
        for name, path in paths.items()
        # Of hybrid hosts: crun uses no v2 directory, runc and pilot do.
        if name != "unified"
    }


def proc(name: str, pattern: str = "") -> Observer:
    """A file of /proc/PID, of which only lines that have the pattern."""

    def look(seen: Seen) -> Json:
        lines = Path(f"/proc/{seen.pid}/{name}").read_text().splitlines()
        return [" ".join(line.split()) for line in lines if re.search(pattern, line)]

    return look


def signals(pattern: str) -> Observer:
    """Lines of /proc/PID/status, SigIgn without the signals that a C library keeps for itself (32 and 33, signal(7)).

    Whoever runs the tests may have these ignored, which runc passes on and no program sees.
    """

    def look(seen: Seen) -> Json:
        found = proc("status", pattern)(seen)
        assert isinstance(found, list)
        return [_without_reserved(line) if line.startswith("SigIgn") else line for line in found]

    return look


def _without_reserved(line: str) -> str:
    name, mask = line.split()
    return f"{name} {int(mask, 16) & ~(0b11 << 31):016x}"


def link(name: str) -> Observer:
    """Where a link of /proc/PID leads."""
    return lambda seen: os.readlink(f"/proc/{seen.pid}/{name}").replace(os.fspath(seen.bundle), "BUNDLE")


def namespaces(seen: Seen) -> Json:
    """Of each kind, whose it is: the host's, the holder's, or a new one."""
    known = {os.readlink(f"/proc/{pid}/ns/{kind}"): who for kind in _NAMESPACES
             for pid, who in ((seen.holder, "holder"), (os.getpid(), "host"))}  # fmt: skip
    return {kind: known.get(os.readlink(f"/proc/{seen.pid}/ns/{kind}"), "new") for kind in _NAMESPACES}


def file(name: str) -> Observer:
    """Lines of a file of the bundle, which a hook or an agent has written; None: not there."""

    def look(seen: Seen) -> Json:
        path = seen.bundle / name
        return normalise(path.read_text(), seen).splitlines() if path.exists() else None

    return look


def document(name: str, *members: str) -> Observer:
    """A JSON document in the bundle: all of it, or some members; None: not there."""

    def look(seen: Seen) -> Json:
        path = seen.bundle / name
        if not path.exists():
            return None
        found = _without_version(json.loads(normalise(path.read_text(), seen)))
        return {member: found.get(member) for member in members} if members else found

    return look


def _without_version(found: Json) -> Json:
    """Each runtime names the version of the specification that it was made for."""
    if not isinstance(found, dict):
        return found
    return {name: _without_version(value) for name, value in found.items() if name != "ociVersion"}


def keys(name: str) -> Observer:
    """Names of the members in a file of JSON lines."""

    def look(seen: Seen) -> Json:
        path = seen.bundle / name
        lines = path.read_text().splitlines() if path.exists() else []
        return sorted({member for line in lines for member in json.loads(line)})

    return look


def called(what: str, *arguments: int) -> Observer:
    """What a function of `os` says of the process."""
    return lambda seen: str(getattr(os, what)(*arguments, seen.pid))


def tool(*words: str) -> Observer:
    """Exit status and output of a program of this machine; PID is the container's process, ID its name."""

    def look(seen: Seen) -> Json:
        command = [_named_in(word, seen) for word in words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return [done.returncode, *normalise(done.stdout, seen).splitlines()]

    return look


def verbs(*commands: str) -> Observer:
    """Exit statuses of commands of the runtime, one after the other; ID is the container."""

    def look(seen: Seen) -> Json:
        found = {}
        for words in commands:
            command = [*seen.runtime, *shlex.split(words.replace("ID", seen.id))]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
            found[words] = done.returncode
        return found

    return look


def said(*commands: str) -> Observer:
    """Of commands of the runtime that fail: the exit status, and which of the known phrases are in what it says."""

    def look(seen: Seen) -> Json:
        found = {}
        for words in commands:
            command = [*seen.runtime, *shlex.split(_named_in(words, seen))]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
            )
            found[words] = [done.returncode, *(phrase for phrase in PHRASES if phrase in done.stderr)]
        return found

    return look


def shell(script: str) -> Observer:
    """Exit status and output of a script of this machine; RUNTIME is the runtime's command."""
    return tool("sh", "-c", script)


def _named_in(words: str, seen: Seen) -> str:
    words = words.replace("RUNTIME", shlex.join(seen.runtime)).replace("PID", str(seen.pid))
    return words.replace("BUNDLE", os.fspath(seen.bundle)).replace("ID", seen.id)


def state(*names: str) -> Observer:
    """Members of the state document; none named: all that the specification has."""

    def look(seen: Seen) -> Json:
        done = subprocess.run(
            [*seen.runtime, "state", seen.id], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            return done.returncode
        document = json.loads(normalise(done.stdout, seen))
        return {name: document.get(name) for name in names or STATE}

    return look


def exists(path: str) -> Observer:
    """Whether there is something at a path, ID being the container's."""
    return lambda seen: os.path.lexists(path.replace("ID", seen.id))


def left(seen: Seen) -> Json:
    """What is left of a deleted container: directories in cgroups that have its id in their name."""
    here = cgroup_directories(os.getpid())
    found = {name: _named(_directory(name, path), seen.id) for name, path in here.items()}
    return {name: names for name, names in found.items() if names}


def _named(directory: Path, id: str) -> list[str]:
    """Directories below that have the id in their names; others may come and go meanwhile."""
    return [name.replace(id, "ID") for _, names, _ in os.walk(directory) for name in names if id in name]


def normalise(text: str, seen: Seen) -> str:
    """What differs by nature is called by a name: the bundle, the process, the container, the time."""
    text = text.replace(os.fspath(seen.bundle), "BUNDLE").replace(seen.id, "ID")
    text = _TIME.sub("TIME", text)
    if seen.pid == 0:
        return text
    return re.sub(rf"(?<![\w.]){seen.pid}(?![\w.])", '"PID"' if text.lstrip().startswith("{") else "PID", text)
