"""Services as a document: what none can be is refused and not written, and one that is there keeps no other from it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.agent.graph import checking
from pilot.agent.graph.state import Node
from pilot.agent.services import book
from pilot.agent.services.book import Book, Entry
from pilot.agent.services.keeper import Keeper
from pilot.wire import faults
from pilot.wire.graph import Container, GraphRequest
from pilot.wire.services import ServiceRequest


def _check(container: Container) -> None:
    checking.check_container(container, frozenset(), "/run", container.name)


class _Graph:
    """It wants what it is asked for, by the rules of the true one."""

    def __init__(self) -> None:
        self.wanted = SimpleNamespace(containers={}, volumes=())
        self.check_container = _check
        self.most = 1 << 30

    def check(self, request: GraphRequest) -> None:
        checking.check_graph(request.containers, request.volumes, "/run")
        if len(request.containers) > self.most:
            raise errors.SpecError("$.containers", "too many")

    def apply(self, request: GraphRequest) -> None:
        self.check(request)
        self.wanted.containers = {each.name: each for each in request.containers}

    def decision(self) -> Any:
        nodes = {name: Node() for name in self.wanted.containers}
        return SimpleNamespace(nodes=nodes), SimpleNamespace(verdicts={})

    def hold(self, name: str, _: object) -> None:
        assert name in self.wanted.containers

    def release(self, name: str) -> None:
        assert name in self.wanted.containers

    again = release


@pytest.fixture
def graph() -> _Graph:
    return _Graph()


@pytest.fixture
def keeper(graph: _Graph, tmp_path: Path) -> Iterator[Keeper]:
    with asyncio.Runner() as runner:
        world = SimpleNamespace(container=lambda: None)
        made = Keeper(cast("Any", world), cast("Any", graph), str(tmp_path))
        made.run = runner.run  # type: ignore[attr-defined]
        yield made


def _run(keeper: Keeper, made: Any) -> Any:
    return keeper.run(made)  # type: ignore[attr-defined]


WRONG = [
    ServiceRequest(cmd="x", dir="relative"), ServiceRequest(cmd="x", dir=""), ServiceRequest(cmd="x", dir="/a\0"),
    ServiceRequest(cmd=""), ServiceRequest(cmd="x", args=["\0"]), ServiceRequest(cmd="x", env={"A=": ""}),
    ServiceRequest(cmd="x", needs=["nobody"]), ServiceRequest(cmd="x", needs=["bad"]),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_refused_is_not_kept(keeper: Keeper, graph: _Graph, wrong: ServiceRequest) -> None:
    _run(keeper, keeper.put("good", ServiceRequest(cmd="x")))
    with pytest.raises(errors.PilotError):
        _run(keeper, keeper.put("bad", wrong))
    assert [each.name for each in _run(keeper, keeper.every())] == ["good"]
    _run(keeper, keeper.put("other", ServiceRequest(cmd="x", dir="/")))
    assert len(graph.wanted.containers) == 2
    _run(keeper, keeper.delete("good"))


def test_what_the_graph_has_no_room_for_is_not_kept(keeper: Keeper, graph: _Graph) -> None:
    graph.most = 1
    _run(keeper, keeper.put("first", ServiceRequest(cmd="x")))
    with pytest.raises(errors.SpecError):
        _run(keeper, keeper.put("second", ServiceRequest(cmd="x")))
    assert [each.name for each in _run(keeper, keeper.every())] == ["first"]


def test_one_on_the_disk_that_cannot_be_keeps_no_other_from_running(
    keeper: Keeper, graph: _Graph, tmp_path: Path
) -> None:
    """As an agent of before has written it; its checkpoints and forks have it, too."""
    found = Book(next=5, services={
        "good": Entry(number=1, wanted=ServiceRequest(cmd="x")),
        "bad": Entry(number=2, wanted=ServiceRequest(cmd="x", dir="relative"), stopped=True),
        "needy": Entry(number=3, wanted=ServiceRequest(cmd="x", needs=["bad"])),
        "last": Entry(number=4, wanted=ServiceRequest(cmd="x", needs=["needy"])),
    })  # fmt: skip
    book.write(str(tmp_path / "pilot"), found)
    _run(keeper, keeper.begin())
    assert list(graph.wanted.containers) == ["service-1"]
    told = {each.name: each.state for each in _run(keeper, keeper.every())}
    assert {name for name, state in told.items() if state.status == "failed"} == {"bad", "needy", "last"}
    assert told["bad"].error == "cwd: 'relative' is no absolute path"
    assert told["last"].error == "it needs needy, which cannot be started"
    with pytest.raises(errors.Conflict, match="service needy cannot be started: it needs bad"):
        _run(keeper, keeper.start("needy"))
    _run(keeper, keeper.put("bad", ServiceRequest(cmd="x", dir="/srv")))
    assert list(graph.wanted.containers) == ["service-1", "service-2", "service-3", "service-4"]


_TEXT = st.sampled_from(["", "x", "/x", "/x\0", "A=B", "..", "é"])
_REQUESTS = st.builds(
    ServiceRequest, cmd=_TEXT, args=st.lists(_TEXT, max_size=1), dir=st.none() | _TEXT,
    env=st.dictionaries(_TEXT, _TEXT, max_size=1), needs=st.lists(st.sampled_from("abc"), max_size=2),
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abc"), _REQUESTS), max_size=6))
def test_what_is_taken_the_graph_can_want(changes: list[tuple[str, ServiceRequest]]) -> None:
    found = Book()
    for name, wanted in changes:
        try:
            found = found.with_service(name, wanted)
        except (faults.InvalidRequest, errors.Conflict):
            continue
        assert found.unfit(_check) == {}
