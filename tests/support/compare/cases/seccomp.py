"""config.json: linux.seccomp."""

from __future__ import annotations

from typing import Any

from ..case import Case
from ..observers import document, file, proc

_S = "linux.seccomp"
_ACTIONS = (
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_LOG",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
)
_OPERATORS = (
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
)
_BEST_EFFORT = 2 << 13
_CLASSES = {f"priority {n}": f"ionice -c 2 -n {n} echo yes" for n in range(8)}


def _profile(*rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"linux.seccomp": {"defaultAction": default, "syscalls": list(rules), **more}}


def _rule(action: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def _comparison(op: str) -> Case:
    args = [{"index": 2, "value": 7 if op == "SCMP_CMP_MASKED_EQ" else _BEST_EFFORT + 4, "valueTwo": 4, "op": op}]
    rows = tuple(f"{_S}.syscalls[].args{rest}" for rest in ("", "[].index", "[].value", "[].valueTwo", "[].op"))
    return Case(op, rows, _profile(_rule("SCMP_ACT_ERRNO", "ioprio_set", args=args)), inside=_CLASSES)


CASES = (
    *(
        Case(
            f"call under {action}",
            (_S, f"{_S}.syscalls", f"{_S}.syscalls[].names", f"{_S}.syscalls[].action"),
            _profile(_rule(action, "mkdir", "nonesuch_call")),
            running={"status": proc("status", "^Seccomp")},
            inside={"mkdir": "mkdir /tmp/x", "again": "mkdir /tmp/x/y"},
        )
        for action in _ACTIONS
    ),
    Case(
        "number of the error",
        (f"{_S}.syscalls[].errnoRet",),
        _profile(_rule("SCMP_ACT_ERRNO", "mkdir", errnoRet=28)),
        inside={"mkdir": "mkdir /tmp/x"},
    ),
    Case(
        "number of an error where there is none",
        (f"{_S}.syscalls[].errnoRet",),
        _profile(_rule("SCMP_ACT_KILL", "mkdir", errnoRet=28)),
        inside={"ran": "true"},
    ),
    Case("default of all", (f"{_S}.defaultAction",), _profile(default="SCMP_ACT_LOG"), inside={"ran": "true"}),
    Case(
        "default that refuses",
        (f"{_S}.defaultAction", f"{_S}.defaultErrnoRet"),
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}},
        inside={"ran": "true"},
    ),
    Case(
        "default with a number",
        (f"{_S}.defaultErrnoRet",),
        {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5, "syscalls": []}},
        inside={"ran": "true"},
    ),
    Case(
        "architectures",
        (f"{_S}.architectures",),
        _profile(
            _rule("SCMP_ACT_ERRNO", "mkdir"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        ),
        inside={"mkdir": "mkdir /tmp/x"},
    ),
    Case(
        "an architecture that there is not",
        (f"{_S}.architectures",),
        _profile(architectures=["SCMP_ARCH_NONE"]),
        inside={"ran": "true"},
    ),
    *(
        Case(
            f"flag {flag}",
            (f"{_S}.flags",),
            _profile(_rule("SCMP_ACT_ERRNO", "mkdir"), flags=[flag]),
            like="runc" if flag.endswith("NONE") else "crun",  # runc 1.1.5 knows none of them
            inside={"mkdir": "mkdir /tmp/x"},
        )
        for flag in (
            "SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_NONE",
        )
    ),
    *map(_comparison, _OPERATORS),
    Case(
        "two arguments",
        (f"{_S}.syscalls[].args",),
        _profile(
            _rule(
                "SCMP_ACT_ERRNO",
                "ioprio_set",
                args=[
                    {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                    {"index": 2, "value": _BEST_EFFORT + 4, "op": "SCMP_CMP_EQ"},
                ],
            )
        ),
        inside=_CLASSES,
    ),
    Case(
        "one argument twice",
        (f"{_S}.syscalls[].args",),
        _profile(
            _rule(
                "SCMP_ACT_ERRNO",
                "ioprio_set",
                args=[
                    {"index": 2, "value": _BEST_EFFORT + 2, "op": "SCMP_CMP_EQ"},
                    {"index": 2, "value": _BEST_EFFORT + 4, "op": "SCMP_CMP_EQ"},
                ],
            )
        ),
        inside=_CLASSES,
    ),
    Case(
        "an argument that there is not",
        (f"{_S}.syscalls[].args[].index",),
        _profile(_rule("SCMP_ACT_ERRNO", "ioprio_set", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])),
        inside={"ran": "true"},
    ),
    Case(
        "an operator that there is not",
        (f"{_S}.syscalls[].args[].op",),
        _profile(_rule("SCMP_ACT_ERRNO", "ioprio_set", args=[{"index": 1, "value": 1, "op": "SCMP_CMP_NONE"}])),
        inside={"ran": "true"},
    ),
    Case("no names", (f"{_S}.syscalls[].names",), _profile(_rule("SCMP_ACT_ERRNO")), inside={"ran": "true"}),
    Case(
        "listener",
        (
            f"{_S}.listenerPath",
            f"{_S}.listenerMetadata",
            *(f"containerProcessState.{name}" for name in ("ociVersion", "fds", "pid", "metadata", "state")),
        ),
        _profile(_rule("SCMP_ACT_NOTIFY", "mknod"), listenerPath="BUNDLE/agent.sock", listenerMetadata="some text"),
        agent=True,
        created={"message": document("agent.json", "fds", "pid", "metadata", "kinds")},
        after={"members": file("nothing")},
        running={"message": document("agent.json", "fds", "pid", "metadata", "kinds", "state")},
    ),
    Case(
        "listener that nobody is at",
        (f"{_S}.listenerPath",),
        _profile(_rule("SCMP_ACT_NOTIFY", "mknod"), listenerPath="BUNDLE/nobody.sock"),
        inside={"ran": "true"},
    ),
    Case(
        "notifications without a listener",
        (f"{_S}.listenerPath",),
        _profile(_rule("SCMP_ACT_NOTIFY", "mknod")),
        inside={"ran": "true"},
    ),
    Case(
        "a listener without notifications",
        (f"{_S}.listenerPath",),
        _profile(listenerPath="BUNDLE/nobody.sock"),
        inside={"ran": "true"},
    ),
    Case(
        "notified writes",
        (f"{_S}.listenerPath",),
        _profile(_rule("SCMP_ACT_NOTIFY", "write"), listenerPath="BUNDLE/agent.sock"),
        agent=True,
        inside={"ran": "true"},
    ),
    Case(
        "without new privileges",
        (_S,),
        {**_profile(_rule("SCMP_ACT_ERRNO", "mkdir")), "process.noNewPrivileges": False},
        inside={"mkdir": "mkdir /tmp/x", "status": "grep -E '^(Seccomp|NoNew)' /proc/self/status"},
    ),
)
