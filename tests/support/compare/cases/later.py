"""What later releases of runc do (changelog, manual pages), with what the runcs and cruns of today make of it."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import cgroup, left, said, state


def _bind(*options: str) -> dict[str, Any]:
    return {"destination": "/data", "type": "bind", "source": "source", "options": ["bind", *options]}


_SOURCE = {"source/file": "text\n"}

CASES = (
    Case(
        "a bind with an option of a file system",
        ("mounts[].options",),
        {"mounts+": [_bind("size=1m")]},
        files=_SOURCE,
        inside={"ran": "cat /data/file"},
        after={"left": left},
    ),
    Case(
        "a bind with defaults",
        ("mounts[].options",),
        {"mounts+": [_bind("defaults", "ro")]},
        files=_SOURCE,
        inside={"ran": "cat /data/file", "readonly": "touch /data/file"},
    ),
    Case(
        "kept, and never executed",
        ("operation.run",),
        {"process.args": ["nonesuch"]},
        args=("nonesuch",),
        options=("--keep",),
        after={"state": state("status")},
    ),
    Case(
        "kept, and refused at the last",
        ("operation.run",),
        {"process.args": ["/bad"]},
        args=("/bad",),
        options=("--keep",),
        files={"rootfs/bad": "#!/nonesuch\n"},
        after={"state": state("status")},
    ),
    Case(
        "two dashes before a command",
        ("operation.exec",),
        verbs=("exec -- ID echo one", "exec --cwd /etc -- ID pwd", "exec ID sh -c 'echo $0' --"),
    ),
    Case(
        "what is no program, each in its way",
        ("operation.exec",),
        links={"rootfs/loop": "loop", "rootfs/away": "/nonesuch"},
        running={
            "said": said(*(f"exec ID {name}" for name in ("/etc", "/loop", "/away", "/etc/passwd/x", "/etc/passwd"))),
        },
    ),
    Case(
        "a signal that is empty",
        ("operation.kill",),
        {"process.args": ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]},
        verbs=("kill ID WINCH",),
        changed={"state": state("status")},
    ),
    Case(
        "limits of a cgroup are those of the update alone",
        ("operation.update",),
        {"linux.resources": {"pids": {"limit": 50}, "cpu": {"shares": 100}}},
        verbs=("update --cpu-share 1 ID", "update --cpu-share 300 ID", "update --pids-limit 60 ID"),
        changed={"limits": cgroup("pids.max", "cpu.shares")},
    ),
)
