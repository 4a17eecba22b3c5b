"""config.json: hooks and annotations."""

from __future__ import annotations

from typing import Any

from ..case import Case, Observer
from ..observers import document, file, left, state

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_MEMBERS = ("", "[].path", "[].args", "[].env", "[].timeout")
# It is in the bundle and in the rootfs: startContainer hooks have the container's view, and write there.
_SCRIPT = """#!/bin/sh
where=BUNDLE; test -d $where || where=/; name=$1
echo "$name" >> $where/order
cat > $where/state.$name
{
    echo "$0"; for word; do echo "$word"; done
    env | grep -E '^(A|COMPARED)='; pwd; ls -d /bin/busybox; grep SigBlk /proc/self/status
} > $where/words.$name 2> /dev/null
exit 0
"""
_FILES = {"hook": _SCRIPT, "rootfs/hook": _SCRIPT}


def _hook(kind: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"path": "/hook" if kind == "startContainer" else "BUNDLE/hook", "args": ["zero", kind, *words], **more}


def _where(kind: str) -> str:
    return "rootfs/" if kind == "startContainer" else ""


def _looks() -> dict[str, Observer]:
    found: dict[str, Observer] = {"order": file("order"), "order inside": file("rootfs/order")}
    for kind in KINDS:
        found[f"state of {kind}"] = document(
            f"{_where(kind)}state.{kind}", "id", "status", "pid", "bundle", "annotations"
        )
        found[f"words of {kind}"] = file(f"{_where(kind)}words.{kind}")
    return found


def _rows(*members: str) -> tuple[str, ...]:
    return tuple(f"hooks.{kind}{member}" for kind in KINDS for member in members)


CASES = (
    Case(
        "all hooks",
        ("hooks", "annotations", *_rows("", "[].path", "[].args")),
        {"hooks": {kind: [_hook(kind)] for kind in KINDS}, "annotations": {"a.b": "c", "d": ""}},
        files=_FILES,
        verbs=("state ID",),
        created={"order": file("order")},
        after=_looks(),
    ),
    Case(
        "environment of hooks",
        _rows("[].env"),
        {"hooks": {kind: [_hook(kind, env=["A=1", "PATH=/bin:/usr/bin"])] for kind in KINDS}},
        files=_FILES,
        created={"state": state()},
        running={"state": state()},
        after=_looks(),
    ),
    Case(
        "hooks without arguments",
        _rows("[].args"),
        {"hooks": {kind: [{"path": "/bin/true"}] for kind in KINDS}},
        inside={"ran": "true"},
        after={"left": left},
    ),
    Case(
        "two hooks of a kind",
        ("hooks",),
        {"hooks": {kind: [_hook(kind), {**_hook(kind), "args": ["zero", kind + "2"]}] for kind in KINDS}},
        files=_FILES,
        running={"state": state()},
        after={"order": file("order"), "order inside": file("rootfs/order")},
    ),
    *(
        Case(
            f"{kind} fails",
            (f"hooks.{kind}",),
            {"hooks": {kind: [{"path": "/bin/false"}]}},
            inside={"ran": "true"},
            created={"state": state("status")},
            running={"state": state("status")},
            after={"left": left},
        )
        for kind in KINDS
    ),
    *(
        Case(
            f"{kind} of a relative path",
            (f"hooks.{kind}[].path",),
            {"hooks": {kind: [{"path": "bin/true"}]}},
            inside={"ran": "true"},
        )
        for kind in KINDS
    ),
    *(
        Case(
            f"{kind} of no program",
            (f"hooks.{kind}[].path",),
            {"hooks": {kind: [{"path": "/nonesuch"}]}},
            inside={"ran": "true"},
        )
        for kind in KINDS
    ),
    *(
        Case(
            f"{kind} takes too long",
            (f"hooks.{kind}[].timeout",),
            {"hooks": {kind: [{"path": "/bin/sleep", "args": ["sleep", "300"], "timeout": 1}]}},
            inside={"ran": "true"},
            after={"left": left},
            slow=kind != "createRuntime",
        )
        for kind in KINDS
    ),
)
