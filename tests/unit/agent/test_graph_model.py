"""The core of the graph against a model: random graphs, ends, probes and deaths of the agent; what must always hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pilot.agent.graph import checking, deciding, health, state
from pilot.agent.graph.deciding import Clean, Forget, Kill, Limit, Probe, Refile, Start, Stop, View
from pilot.agent.graph.state import Node, Process
from pilot.wire.graph import Check, Container, Dependency, InjectedFile, Limits, Restart, Root, TcpProbe
from pilot.wire.graph import Stop as HowToStop

NAMES = ("a", "b", "c", "d", "e")
_RESTARTS = st.builds(
    Restart,
    policy=st.sampled_from(["no", "on-failure", "always"]),
    max_retries=st.none() | st.integers(0, 3),
    stable_s=st.sampled_from([0.0, 5.0]),
)  # fmt: skip
_CHECKS = st.lists(
    st.builds(
        Check,
        name=st.just("port"),
        tcp=st.just(TcpProbe(port=1)),
        interval_s=st.just(1.0),
        unhealthy=st.sampled_from(["report", "stop"]),
    ),
    max_size=1,
)  # fmt: skip


_FILES = st.sampled_from([InjectedFile(path="/key", content="", version=number) for number in range(3)])
_LIMITS = st.sampled_from([Limits(), Limits(processes=10), Limits(processes=20)])


@st.composite
def graphs(draw: st.DrawFn) -> list[Container]:
    """Good ones: each depends on some that come before it."""
    found: list[Container] = []
    for name in NAMES[: draw(st.integers(0, len(NAMES)))]:
        needs = [Dependency(name=other.name, condition=draw(st.sampled_from(_conditions(other))))
                 for other in found if draw(st.booleans())]  # fmt: skip
        found.append(
            Container(
                name=name,
                command=[draw(st.sampled_from(["one", "two"]))],
                root=Root(path="/srv"),
                depends_on=needs,
                restart=draw(_RESTARTS),
                checks=draw(_CHECKS),
                limits=draw(_LIMITS),
                files=[draw(_FILES)],
                stop=HowToStop(timeout_s=2.0),
            )
        )
    return found


def _conditions(other: Container) -> Sequence[str]:
    return ["started", *(["healthy"] if other.checks else []),
            *(["exited_successfully"] if other.restart.policy != "always" else [])]  # fmt: skip


@dataclasses.dataclass
class Kernel:
    """Which processes there are, and what is left of those that ended: as the kernel knows it."""

    processes: dict[str, Process] = dataclasses.field(default_factory=dict)
    remains: set[str] = dataclasses.field(default_factory=set)
    last_pid: int = 0


class Graph(RuleBasedStateMachine):
    """`nodes` are the documents; an action that was begun is finished or not before the agent dies."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.wanted: dict[str, Container] = {}
        self.nodes: dict[str, Node] = {}
        self.kernel = Kernel()
        self.under_way: dict[str, Start | Clean] = {}
        self.obedient = True
        self.tried: dict[str, Container] = {}  # what was started last, whether or not it came up

    @initialize(graph=graphs())
    def begin(self, graph: list[Container]) -> None:
        self.apply(graph)

    @rule(graph=graphs())
    def apply(self, graph: list[Container]) -> None:
        checking.check_graph(graph, [], "/run")
        self.wanted = {each.name: each for each in graph}

    def view(self) -> View:
        return View(wanted=self.wanted, nodes=self.nodes, now=self.now, busy=frozenset(self.under_way))

    @rule()
    def turn(self) -> None:
        """What the agent does at once, and what it begins."""
        for action in deciding.decide(self.view()).actions:
            self.carry_out(action)

    def carry_out(self, action: deciding.Action) -> None:
        name = action.name
        assert name not in self.under_way
        match action:
            case Start():
                self.check_start(name)
                self.nodes[name] = state.begun(self.nodes.get(name, Node()), self.wanted[name])
                self.under_way[name] = action
            case Clean():
                assert name not in self.kernel.processes
                self.under_way[name] = action
            case Stop(cause=cause):
                assert cause != "none"
                self.check_order(name)
                self.nodes[name] = state.asked_to_stop(self.nodes[name], cause, self.now)
                if self.obedient:
                    self.end(name, 143)
            case Kill():
                stopping = self.nodes[name].stopping
                assert stopping is not None
                assert self.now >= stopping + self.nodes[name].patience_s
                self.nodes[name] = state.killed(self.nodes[name])
                self.end(name, 137)
            case Limit(limits=limits):
                assert name in self.kernel.processes
                self.nodes[name] = state.limited(self.nodes[name], limits)
            case Refile(wanted=wanted):
                assert name in self.kernel.processes
                self.nodes[name] = state.refiled(self.nodes[name], wanted.files)
            case Forget():
                assert name not in self.wanted
                assert name not in self.kernel.remains
                del self.nodes[name]
            case Probe():
                self.nodes[name] = state.probed(self.nodes[name], action.check, self.obedient, "refused", self.now)

    def check_start(self, name: str) -> None:
        assert name not in self.kernel.processes
        assert name not in self.kernel.remains
        node, wanted = self.nodes.get(name, Node()), self.wanted[name]
        assert not node.held
        for needed in wanted.depends_on:
            other = self.nodes[needed.name]
            assert state.same(other.made, self.wanted[needed.name])
            if needed.condition == "healthy":
                assert health.health_of(self.wanted[needed.name], other) == "healthy"
            if needed.condition == "exited_successfully":
                assert other.exit_code == 0
                assert needed.name not in self.kernel.processes
        if state.same(node.made, wanted) and node.ended is not None and node.cause == "none" and not node.again:
            assert self.now >= node.ended + deciding.delay_s(wanted, node.failures)
            assert wanted.restart.max_retries is None or node.failures <= wanted.restart.max_retries

    def check_order(self, name: str) -> None:
        """Nobody who needs it, and is to end as well, runs any more."""
        for other, node in self.nodes.items():
            if node.process is not None and node.made is not None and name in deciding.needs(node.made):
                verdict = deciding.decide(self.view()).verdicts[other]
                assert other in self.under_way or verdict.status == "running"

    @rule(name=st.sampled_from(NAMES), good=st.booleans(), code=st.sampled_from([0, 0, 1]))
    def finish(self, name: str, good: bool, code: int) -> None:
        """What is under way comes to its end; a start may fail."""
        action = self.under_way.pop(name, None)
        if isinstance(action, Clean):
            self.kernel.remains.discard(name)
            self.nodes[name] = state.cleaned(self.nodes[name])
        elif isinstance(action, Start):
            made = self.nodes[name].made
            assert made is not None
            self.tried[name] = made
            if not good:
                self.kernel.remains.add(name)
                self.nodes[name] = state.failed_to_start(self.nodes[name], "no such program", self.now)
                return
            self.create(name)
            self.nodes[name] = state.came_up(self.nodes[name])
            if code:
                self.end(name, code)

    def create(self, name: str) -> None:
        self.kernel.last_pid += 1
        self.kernel.processes[name] = Process(self.kernel.last_pid, 1)
        self.kernel.remains.add(name)
        self.nodes[name] = state.created(self.nodes[name], self.kernel.processes[name], self.now)

    @rule(name=st.sampled_from(NAMES), code=st.sampled_from([0, 1, 137]))
    def end(self, name: str, code: int) -> None:
        if name in self.kernel.processes and name not in self.under_way:
            del self.kernel.processes[name]
            self.nodes[name] = state.ended_with(self.nodes[name], code, self.now)

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from([state.held, state.released, state.again]))
    def ask(self, name: str, what: object) -> None:
        if name in self.wanted:
            assert callable(what)
            self.nodes[name] = what(self.nodes.get(name, Node()))

    @rule(seconds=st.sampled_from([0.05, 1.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(obedient=st.booleans())
    def change_mind(self, obedient: bool) -> None:
        self.obedient = obedient

    @rule(created=st.booleans(), executed=st.booleans())
    def die(self, created: bool, executed: bool) -> None:
        """kill -9 of the agent in the middle of whatever it does; the next one reads the documents."""
        for name, action in self.under_way.items():
            if isinstance(action, Start) and created:
                self.create(name)
                made = self.nodes[name].made
                if executed and made is not None:
                    self.tried[name] = made
            if isinstance(action, Start) and created and not executed:
                del self.kernel.processes[name]
        self.under_way.clear()
        self.nodes = {
            name: msgspec.json.decode(msgspec.json.encode(node), type=Node) for name, node in self.nodes.items()
        }
        for name, node in self.nodes.items():
            if node.process is not None and node.starting:
                alive = self.kernel.processes.get(name) == node.process
                self.nodes[name] = state.came_up(node) if alive else state.never_came_up(node)

    @invariant()
    def documents_are_what_the_kernel_has(self) -> None:
        running = {name for name, node in self.nodes.items() if node.process is not None}
        assert running == set(self.kernel.processes)

    @invariant()
    def everything_is_explained(self) -> None:
        decision = deciding.decide(self.view())
        for name, verdict in decision.verdicts.items():
            assert verdict.why
            passing = verdict.status in ("starting", "stopping", "removing", "backing_off", "waiting")
            moves = verdict.actions or verdict.wake_at is not None or verdict.waits_for or name in self.under_way
            assert not passing or moves or self.nodes[name].killed, (name, verdict)

    def end_those_that_are_waited_for(self) -> bool:
        """Others wait for their success, which is up to them."""
        names = {each.name for other in self.wanted.values() for each in other.depends_on
                 if each.condition == "exited_successfully"} & set(self.kernel.processes)  # fmt: skip
        for name in names:
            self.end(name, 0)
        return bool(names)

    def teardown(self) -> None:
        """Left alone, with processes that obey and checks that pass, it comes to rest, and stays there."""
        self.obedient = True
        for _ in range(400):
            decision = deciding.decide(self.view())
            if not decision.actions and not self.under_way:
                if deciding.is_settled(self.view(), decision):
                    break
                assert self.end_those_that_are_waited_for() or decision.wake_at is not None, decision.verdicts
                self.now = max(self.now, decision.wake_at or 0.0)
            for action in decision.actions:
                self.carry_out(action)
            for name in list(self.under_way):
                self.finish(name, True, 0)
        else:
            raise AssertionError(decision.verdicts)
        assert {name for name in self.nodes if name not in self.wanted} == set()
        for name, container in self.wanted.items():
            verdict = decision.verdicts[name]
            assert verdict.status in ("running", "exited", "stopped", "blocked"), verdict
            if verdict.status == "exited":
                assert state.same(self.tried.get(name), container), "one that was never tried has not ended"
            if verdict.status == "running":
                assert state.same(self.nodes[name].made, container)
                made = self.nodes[name].made
                assert made is not None
                assert made.limits == container.limits


TestGraph = Graph.TestCase
TestGraph.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
