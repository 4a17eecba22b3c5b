"""What is known of one container of the graph, and how it changes: values and functions, no effects.

    fresh ─begun─► starting ─came_up─► runs ─asked_to_stop─► stopping ─killed─►
              │                         │                        │
              └─failed_to_start─► ended ◄──────── ended_with ────┘
                                    └─cleaned: nothing of it is in the kernel any more

A `Node` is a document in init's store; times are of CLOCK_MONOTONIC, which goes on when the agent dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from ...wire.graph import Check, Container, InjectedFile, Limits, Restart, Stop

# Why it was asked to end. Only an unhealthy one has ended by itself, as far as its restart policy is concerned.
Cause = Literal["none", "removed", "changed", "held", "restarted", "drained", "unhealthy"]
OWN_ENDS: frozenset[Cause] = frozenset({"none", "unhealthy"})
MOST_REFILE_DELAY_S = 60.0
_MOST_DOUBLINGS = 32


class Process(msgspec.Struct, frozen=True):
    """Its first process, as the machine knows it."""

    pid: int
    start_time: int


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What a check has found since the start. `passed`: it is passing; failures are those that count, in a row."""

    tries: int = 0
    successes: int = 0
    failures: int = 0
    passed: bool = False
    last: float | None = None
    message: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Of other content for its files: why it does not see all of it. `again`: when it is tried again what was refused
    `tries` times, of these versions; None: what is not tried again."""

    why: str
    tries: int = 0
    again: float | None = None
    versions: list[int | None] = []


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """`made`: what the last start was of. `starting`: begun, and not known to have come about.

    `remains`: something of it may be in the kernel. `failures`: ends in a row, none of which was wanted. `held`: asked
    to stay stopped, and by what. `again`: to be started whatever its policy says.
    """

    made: Container | None = None
    process: Process | None = None
    starting: bool = False
    remains: bool = False
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    error: str | None = None
    failures: int = 0
    starts: int = 0
    held: bool = False
    stop_with: Stop | None = None
    again: bool = False
    stopping: float | None = None
    patience_s: float = 0.0
    killed: bool = False
    cause: Cause = "none"
    probed: dict[str, Probed] = {}
    refusal: Refusal | None = None

    @property
    def runs(self) -> bool:
        """It does, and may go on."""
        return self.process is not None and not self.starting and self.stopping is None


def same(made: Container | None, wanted: Container) -> bool:
    """Whether one that was made so is what is wanted: its supervision and limits, and what files with a version say,
    may have changed: it need not end."""
    return made is not None and _core(made) == _core(wanted)


def _core(container: Container) -> Container:
    return msgspec.structs.replace(
        container, depends_on=[], restart=Restart(), checks=[], stop=Stop(), limits=Limits(), log_bytes=0,
        files=[_fixed(file) for file in container.files],
    )  # fmt: skip


def _fixed(file: InjectedFile) -> InjectedFile:
    """What of it cannot become otherwise while the container runs."""
    return file if file.version is None else msgspec.structs.replace(file, content="", version=0)


def begun(node: Node, wanted: Container) -> Node:
    """A start: written down before anything is done for it. How the last one ended says nothing of this one."""
    return Node(
        made=wanted,
        starting=True,
        remains=True,
        failures=node.failures if same(node.made, wanted) and not node.again else 0,
        starts=node.starts,
        held=node.held,
        stop_with=node.stop_with,
    )


def created(node: Node, process: Process, now: float) -> Node:
    """Its process is there, and has executed nothing of its own yet."""
    return msgspec.structs.replace(
        node, process=process, started=now, ended=None, exit_code=None, error=None, probed={}
    )  # fmt: skip


def came_up(node: Node) -> Node:
    """It runs."""
    return msgspec.structs.replace(node, starting=False, starts=node.starts + 1)


def limited(node: Node, limits: Limits) -> Node:
    """It has these limits now."""
    assert node.made is not None
    return msgspec.structs.replace(node, made=msgspec.structs.replace(node.made, limits=limits))


def refiled(node: Node, files: Sequence[InjectedFile], refusal: Refusal | None = None) -> Node:
    """It sees these files now."""
    assert node.made is not None
    made = msgspec.structs.replace(node.made, files=list(files))
    return msgspec.structs.replace(node, made=made, refusal=refusal)


def refused(node: Node, wanted: Container, why: str, now: float) -> Refusal:
    """It does not see what its files are to say; that is tried again less and less often."""
    tries = 1 if node.refusal is None else node.refusal.tries + 1
    delay_s = min(MOST_REFILE_DELAY_S, 2.0 ** min(tries - 1, _MOST_DOUBLINGS))
    return Refusal(why=why, tries=tries, again=now + delay_s, versions=[file.version for file in wanted.files])


def refile_at(node: Node, wanted: Container) -> float | None:
    """When its files are to say what is wanted of them; None where they do."""
    if node.made is None or node.made.files == wanted.files:
        return None
    refusal = node.refusal
    if refusal is None or refusal.versions != [file.version for file in wanted.files]:
        return 0.0
    return refusal.again or 0.0


def failed_to_start(node: Node, error: str, now: float) -> Node:
    """As an end by itself, without an exit code."""
    return msgspec.structs.replace(
        node, process=None, starting=False, started=None, ended=now, exit_code=None, error=error,
        failures=node.failures + 1,
    )  # fmt: skip


def never_came_up(node: Node) -> Node:
    """The former agent died before it was known to run: it is undone, and no failure of its own."""
    return msgspec.structs.replace(node, process=None, starting=True, remains=True)


def asked_to_stop(node: Node, cause: Cause, now: float) -> Node:
    """Written down before the signal is sent: one that is sent twice says nothing new."""
    return msgspec.structs.replace(node, stopping=now, cause=cause, patience_s=how_to_stop(node).timeout_s)


def how_to_stop(node: Node) -> Stop:
    """By which signal, and with how much patience."""
    return node.stop_with or (Stop() if node.made is None else node.made.stop)


def killed(node: Node) -> Node:
    """Nothing is left to be tried."""
    return msgspec.structs.replace(node, killed=True)


def ended_with(node: Node, exit_code: int, now: float) -> Node:
    """Its first process has ended."""
    lasted_s = 0.0 if node.started is None else now - node.started
    stable_s = node.made.restart.stable_s if node.made is not None else 0.0
    failures = 0 if node.cause not in OWN_ENDS else 1 if lasted_s >= stable_s else node.failures + 1
    return msgspec.structs.replace(
        node, process=None, starting=False, ended=now, exit_code=exit_code, error=None, failures=failures,
        stopping=None, killed=False,
    )  # fmt: skip


def lost_its_host(node: Node) -> Node:
    """The container that it was in has ended: it is as if it had never been started."""
    return Node(starts=node.starts, held=node.held, remains=True)


def cleaned(node: Node) -> Node:
    """Nothing of it is left in the kernel."""
    return msgspec.structs.replace(node, remains=False, starting=False)


def held(node: Node, stop: Stop | None = None) -> Node:
    """To stay stopped. `stop`: how it is to end, other than its spec says; also of one that is being stopped."""
    patience_s = node.patience_s if stop is None else stop.timeout_s
    return msgspec.structs.replace(node, held=True, again=False, stop_with=stop, patience_s=patience_s)


def released(node: Node) -> Node:
    """To run: one that has ended, or is being stopped, is started whatever its policy says."""
    wanted = node.held or node.process is None or node.stopping is not None
    return msgspec.structs.replace(
        node, held=False, stop_with=None, again=node.again or (wanted and not node.starting)
    )  # fmt: skip


def again(node: Node) -> Node:
    """To be ended, if it runs, and started."""
    return msgspec.structs.replace(node, held=False, stop_with=None, again=True)


def probed(node: Node, check: Check, passed: bool, message: str, now: float) -> Node:
    """A check was asked."""
    before = node.probed.get(check.name, Probed())
    after = _passed(before, check) if passed else _failed(before, check, message, node.started or now, now)
    after = msgspec.structs.replace(after, last=now, tries=before.tries + 1)
    return msgspec.structs.replace(node, probed={**node.probed, check.name: after})


def _passed(before: Probed, check: Check) -> Probed:
    successes = before.successes + 1
    passed = before.passed or successes >= check.success_threshold
    return msgspec.structs.replace(before, successes=successes, failures=0, message="", passed=passed)


def _failed(before: Probed, check: Check, message: str, started: float, now: float) -> Probed:
    """Before the first success a check is asked more often than its interval says: those failures count only when as
    much time has passed as so many intervals take."""
    leniency_s = max(check.grace_period_s, check.failure_threshold * check.interval_s)
    counts = before.passed or before.failures > 0 or now - started >= leniency_s
    failures = before.failures + 1 if counts else 0
    if counts and not before.passed and before.failures == 0:
        failures = check.failure_threshold
    return msgspec.structs.replace(
        before, successes=0, failures=failures, message=message,
        passed=before.passed and failures < check.failure_threshold,
    )  # fmt: skip
