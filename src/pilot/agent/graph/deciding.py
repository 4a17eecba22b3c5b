"""What is to be done next: a function of what is wanted, what is known, and the time. No effects, no memory.

For each container there is a verdict: its status, why, the actions that are due, and when to look again. One that an
action is under way for (`busy`) gets none. Containers are started when what they depend on is so, and stopped after
all that depend on them and are to be stopped, too; whatever did not change is left alone.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Mapping, Set
from typing import Final

from ...wire.graph import Check, Container, ContainerState, Dependency, Limits
from . import health, state
from .state import Cause, Node, Probed

_MOST_DOUBLINGS = 32


@dataclasses.dataclass(frozen=True)
class Start:
    """Make it, and let it run."""

    name: str


@dataclasses.dataclass(frozen=True)
class Stop:
    """Send the signal that it ends by."""

    name: str
    cause: Cause


@dataclasses.dataclass(frozen=True)
class Kill:
    """It did not end in time."""

    name: str


@dataclasses.dataclass(frozen=True)
class Clean:
    """Remove from the kernel what is left of it."""

    name: str


@dataclasses.dataclass(frozen=True)
class Forget:
    """It is not wanted any more, and nothing of it is left."""

    name: str


@dataclasses.dataclass(frozen=True)
class Probe:
    """Ask a check."""

    name: str
    check: Check


@dataclasses.dataclass(frozen=True)
class Limit:
    """Give it other limits while it runs."""

    name: str
    limits: Limits


@dataclasses.dataclass(frozen=True)
class Refile:
    """Show it other content in files that may have it while it runs."""

    name: str
    wanted: Container


Action = Start | Stop | Kill | Clean | Forget | Probe | Limit | Refile


@dataclasses.dataclass(frozen=True)
class View:
    """`elsewhere`: containers that run, and are none of the graph (the user's world). `draining`: all is to end."""

    wanted: Mapping[str, Container]
    nodes: Mapping[str, Node]
    now: float
    busy: Set[str] = frozenset()
    probing: Set[tuple[str, str]] = frozenset()
    elsewhere: Set[str] = frozenset()
    draining: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Of one container."""

    status: ContainerState
    why: str
    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    waits_for: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Decision:
    """Of all. `wake_at`: look again then, if nothing happens before."""

    verdicts: Mapping[str, Verdict]
    actions: tuple[Action, ...]
    wake_at: float | None


_PASSING: Final = frozenset({"waiting", "starting", "stopping", "backing_off", "removing"})
_FOR_GOOD: Final = frozenset({"exited", "stopped", "blocked"})


def decide(view: View) -> Decision:
    """All verdicts; at most one action other than probes for each container."""
    judge = _Judge(view)
    verdicts = {name: judge.verdict(name) for name in sorted({*view.wanted, *view.nodes})}
    wakes = [verdict.wake_at for verdict in verdicts.values() if verdict.wake_at is not None]
    actions = tuple(action for verdict in verdicts.values() for action in verdict.actions)
    return Decision(verdicts, actions, min(wakes, default=None))


def is_settled(view: View, decision: Decision) -> bool:
    """Nothing is under way, and nothing will happen by itself."""
    starting = any(
        view.nodes[name].runs and health.health_of(wanted, view.nodes[name]) == "starting"
        for name, wanted in view.wanted.items()
        if name in view.nodes
    )
    passing = any(not is_lasting(verdict.status) for verdict in decision.verdicts.values())
    return not (starting or passing or view.busy)


def is_lasting(status: ContainerState) -> bool:
    """It stays so until something happens."""
    return status not in _PASSING


def delay_s(wanted: Container, failures: int) -> float:
    """Between an end and the next start."""
    restart = wanted.restart
    doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return min(restart.most_delay_s, restart.first_delay_s * 2.0**doublings)


class _Judge:
    def __init__(self, view: View) -> None:
        self._view = view
        self._verdicts: dict[str, Verdict] = {}

    def verdict(self, name: str) -> Verdict:
        """Known for this view; dependencies have no cycles."""
        if name not in self._verdicts:
            self._verdicts[name] = self._judge(name)
        return self._verdicts[name]

    def _judge(self, name: str) -> Verdict:
        view, node = self._view, self._view.nodes.get(name, Node())
        wanted = view.wanted.get(name)
        if name in view.busy:
            return _under_way(node, wanted)
        if node.process is not None:
            return self._of_running(name, node, wanted)
        if node.remains or node.starting:
            status: ContainerState = "removing" if wanted is None else "stopping"
            return Verdict(status, "what is left of it is removed", (Clean(name),))
        if wanted is None:
            return Verdict("removing", "it is not wanted any more", (Forget(name),))
        if view.draining:
            return Verdict("stopped", "the machine is ending")
        if node.held:
            return Verdict("stopped", "it was asked to stop")
        return self._of_ended(name, node, wanted)

    # ---- one that runs ----------------------------------------------------------------------------------------------

    def _of_running(self, name: str, node: Node, wanted: Container | None) -> Verdict:
        cause = self._cause_to_end(node, wanted)
        status: ContainerState = "removing" if wanted is None else "stopping"
        if node.stopping is not None:
            return _being_stopped(name, node, status, self._view.now)
        if cause != "none":
            dependants = self._ending_dependants(name)
            if dependants:
                return Verdict(status, f"{WHY[cause]}; first {_list(dependants)} stops", waits_for=dependants)
            return Verdict(status, WHY[cause], (Stop(name, cause),))
        assert wanted is not None
        if node.made is not None and node.made.limits != wanted.limits:
            return Verdict("running", "it gets other limits", (Limit(name, wanted.limits),))
        refile_at = state.refile_at(node, wanted)
        if refile_at is not None and refile_at <= self._view.now:
            return Verdict("running", "it gets other content in its files", (Refile(name, wanted),))
        return self._of_healthy(name, node, wanted)

    def _cause_to_end(self, node: Node, wanted: Container | None) -> Cause:
        if node.stopping is not None:
            return node.cause
        if wanted is None:
            return "removed"
        if self._view.draining:
            return "drained"
        if node.held:
            return "held"
        if not state.same(node.made, wanted):
            return "changed"
        if node.again:
            return "restarted"
        stops = any(check.unhealthy == "stop" for check in health.failing(wanted, node))
        return "unhealthy" if stops else "none"

    def _ending_dependants(self, name: str) -> tuple[str, ...]:
        """Those that run, need this one, and are to end as well."""
        found = []
        for other, node in self._view.nodes.items():
            made = node.made
            if other == name or node.process is None or made is None or name not in needs(made):
                continue
            if self._cause_to_end(node, self._view.wanted.get(other)) != "none":
                found.append(other)
        return tuple(sorted(found))

    def _of_healthy(self, name: str, node: Node, wanted: Container) -> Verdict:
        view, started = self._view, node.started or 0.0
        times = {
            check.name: health.next_probe(check, node.probed.get(check.name, Probed()), started)
            for check in wanted.checks
            if (name, check.name) not in view.probing
        }
        due = tuple(Probe(name, check) for check in wanted.checks if times.get(check.name, view.now + 1) <= view.now)
        later = [*times.values(), state.refile_at(node, wanted) or 0.0]
        wake_at = min((time for time in later if time > view.now), default=None)
        return Verdict("running", _health_why(wanted, node), due, wake_at)

    # ---- one that does not ------------------------------------------------------------------------------------------

    def _of_ended(self, name: str, node: Node, wanted: Container) -> Verdict:
        if not _is_fresh(node, wanted):
            restart = wanted.restart
            ended = _how_it_ended(node)
            if restart.policy == "no" or (restart.policy == "on-failure" and _succeeded(node)):
                return Verdict("exited", f"{ended}; its restart policy is {restart.policy}")
            if restart.max_retries is not None and node.failures > restart.max_retries:
                return Verdict("exited", f"{ended}; it was started again {restart.max_retries} times, and no more")
            due = (node.ended or 0.0) + delay_s(wanted, node.failures)
            if due > self._view.now:
                return Verdict("backing_off", f"{ended}, {node.failures} times in a row", wake_at=due)
        return self._of_startable(name, wanted)

    def _of_startable(self, name: str, wanted: Container) -> Verdict:
        if wanted.within is not None and not self._hosts(wanted.within):
            why = f"waits for {wanted.within}, in which it is to run"
            return Verdict("waiting", why, waits_for=(wanted.within,))
        unmet = [(dependency, hopeless) for dependency in wanted.depends_on for hopeless in self._unmet(dependency)]
        if not unmet:
            return Verdict("starting", "it is started", (Start(name),))
        waits_for = tuple(dependency.name for dependency, _ in unmet)
        dependency, hopeless = next((each for each in unmet if each[1]), unmet[0])
        why = self._unmet_why(dependency)
        return Verdict("blocked" if hopeless else "waiting", why, waits_for=waits_for)

    def _hosts(self, name: str) -> bool:
        if name in self._view.elsewhere:
            return True
        node, wanted = self._view.nodes.get(name), self._view.wanted.get(name)
        return node is not None and wanted is not None and node.runs and state.same(node.made, wanted)

    def _unmet(self, dependency: Dependency) -> tuple[()] | tuple[bool]:
        """Nothing when it is met; else whether it never will be, as things are."""
        wanted = self._view.wanted[dependency.name]
        node = self._view.nodes.get(dependency.name, Node())
        current = state.same(node.made, wanted) and not node.starting
        done = current and node.process is None and _succeeded(node)
        runs = current and node.runs
        met = {
            "started": runs or done,
            "healthy": runs and health.health_of(wanted, node) == "healthy",
            "exited_successfully": done,
        }
        if met[dependency.condition]:
            return ()
        return (self.verdict(dependency.name).status in _FOR_GOOD,)

    def _unmet_why(self, dependency: Dependency) -> str:
        verdict = self.verdict(dependency.name)
        return f"waits for {dependency.name} ({dependency.condition}), which is {verdict.status}: {verdict.why}"


def needs(container: Container) -> frozenset[str]:
    """The containers without which it does not start."""
    within = () if container.within is None else (container.within,)
    return frozenset({*within, *(each.name for each in container.depends_on)})


# Why one is ended, for people.
WHY: Final[Mapping[Cause, str]] = {
    "none": "it is stopped",
    "removed": "it is not wanted any more",
    "changed": "it is wanted otherwise, and will be started anew",
    "held": "it was asked to stop",
    "restarted": "it was asked to start anew",
    "drained": "the machine is ending",
    "unhealthy": "it is not healthy",
}


def _under_way(node: Node, wanted: Container | None) -> Verdict:
    if wanted is None:
        return Verdict("removing", "it is not wanted any more")
    if node.starting or node.process is None:
        return Verdict("starting", "it is being started")
    return Verdict("stopping", WHY[node.cause]) if node.stopping is not None else Verdict("running", "it runs")


def _being_stopped(name: str, node: Node, status: ContainerState, now: float) -> Verdict:
    why = WHY[node.cause]
    if node.killed:
        return Verdict(status, f"{why}; it was killed")
    due = (node.stopping or 0.0) + node.patience_s
    if now >= due:
        return Verdict(status, f"{why}; it did not end within {node.patience_s:g} s, and is killed", (Kill(name),))
    return Verdict(status, f"{why}, and has {node.patience_s:g} s for it", wake_at=due)


def _is_fresh(node: Node, wanted: Container) -> bool:
    """Its restart policy has nothing to say: it never ran as it is wanted, or did not end by itself."""
    return node.ended is None or node.again or not state.same(node.made, wanted) or node.cause not in state.OWN_ENDS


def _succeeded(node: Node) -> bool:
    """It has ended by itself, and well."""
    return node.exit_code == 0 and node.cause == "none"


def _how_it_ended(node: Node) -> str:
    if node.error is not None:
        return f"it could not be started: {node.error}"
    assert node.exit_code is not None
    code = node.exit_code
    how = f"it ended with code {code}{_signal_name(code)}"
    return f"it was stopped as not healthy, and {how}" if node.cause == "unhealthy" else how


def _signal_name(code: int) -> str:
    try:
        return f" ({signal.Signals(code - 128).name})" if code > 128 else ""
    except ValueError:
        return ""


def _health_why(wanted: Container, node: Node) -> str:
    found = health.health_of(wanted, node)
    if found in ("none", "healthy"):
        return "it runs" if node.refusal is None else f"it runs; its files: {node.refusal.why}"
    for check in wanted.checks:
        probed = node.probed.get(check.name, Probed())
        if not probed.passed:
            told = f": {probed.message}" if probed.message else ", which has not been answered yet"
            return f"it runs; its check {check.name} {'fails' if probed.failures else 'does not pass yet'}{told}"
    return "it runs"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
