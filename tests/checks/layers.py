"""Who may import whom (DESIGN 4), as data: names below `pilot`; everything may import `errors` and `ids`."""

from __future__ import annotations

EVERYWHERE = frozenset({"errors", "ids"})

ALLOWED: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "ids": frozenset(),
    "spec": frozenset(),
    "wire": frozenset(),
    "plan": frozenset({"spec"}),
    "kernel": frozenset(
        {
            "plan.program",
            "plan.facts",
            "plan.cgroup",
            "plan.seccomp",
            "plan.systemd",
            "plan.rdt",
            "plan.steps",
            "plan.abi",
            "plan.code",
        }
    ),
    "runtime": frozenset({"spec", "plan", "kernel"}),
    "command": frozenset({"cli", "agent", "image.cli", "planner.main", "volume.cli"}),
    "cli": frozenset({"runtime", "spec"}),
    "planner": frozenset({"cli", "runtime", "spec", "kernel", "plan.code"}),
    "server": frozenset({"wire", "kernel.fds"}),
    "agent": frozenset({"wire", "server", "runtime", "spec", "kernel"}),
    "volume": frozenset({"kernel"}),
    "host": frozenset({"wire", "server", "volume.client", "kernel", "image"}),
    "host.vmm.container": frozenset({"wire", "server", "volume.client", "kernel", "runtime", "spec"}),
    "host.fsm": frozenset(),
    "image": frozenset({"plan.program", "kernel"}),
    "client": frozenset({"wire"}),
}


def rule_for(module: str) -> str:
    """The most exact row of the table that speaks of `module` (a dotted name below `pilot`)."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in ALLOWED:
            return name
    raise KeyError(module)


def may_import(module: str, target: str) -> bool:
    """Whether `module` may import `target`; both are dotted names below `pilot`."""
    rule = rule_for(module)
    if target == "" or _within(target, {rule.split(".")[0]} if rule != "host.fsm" else {rule}):
        return True
    return _within(target, ALLOWED[rule] | EVERYWHERE)


def _within(target: str, allowed: frozenset[str] | set[str]) -> bool:
    return any(target == name or target.startswith(name + ".") for name in allowed)
