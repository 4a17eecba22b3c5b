"""Files whose content may change while their container runs: what is wanted then, and that it runs on."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.agent.graph import deciding, refiling, state
from pilot.agent.graph.deciding import Refile, View
from pilot.agent.graph.state import Node, Process
from pilot.wire.graph import Container, FileContent, InjectedFile, Root


def _text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _container(*files: InjectedFile) -> Container:
    return Container(name="app", command=["app"], root=Root(path="/srv"), files=list(files))


FIXED = InjectedFile(path="/etc/fixed", content=_text("fixed"))
SECRET = InjectedFile(path="/run/key", content=_text("first"), version=3)


def _content(text: str, version: int, path: str = SECRET.path) -> FileContent:
    return FileContent(path=path, content=_text(text), version=version)


def _running(made: Container) -> Node:
    return Node(made=made, process=Process(pid=7, start_time=1), starts=1, started=0.0, remains=True)


def test_a_later_version_is_wanted_and_an_older_one_changes_nothing() -> None:
    container = _container(FIXED, SECRET)
    renewed = refiling.renewed(container, [_content("second", 4)])
    assert [file.content for file in renewed.files] == [FIXED.content, _text("second")]
    for late in (3, 0):
        assert refiling.renewed(container, [_content("late", late)]) == container


@given(st.permutations([_content(f"value {number}", number) for number in range(4, 9)]))
def test_whoever_is_late_the_last_version_stays(told: Sequence[FileContent]) -> None:
    container = _container(SECRET)
    for each in told:
        container = refiling.renewed(container, [each])
    assert container.files[0].content == _text("value 8")


@pytest.mark.parametrize(("path", "why"), [("/etc/fixed", "for good"), ("/etc/other", "no such file")])
def test_of_several_none_is_wanted_when_one_cannot_be(path: str, why: str) -> None:
    container = _container(FIXED, SECRET)
    with pytest.raises(errors.StateError, match=why):
        refiling.renewed(container, [_content("second", 4), _content("x", 9, path)])
    with pytest.raises(errors.SpecError, match=r"\$\.files\[0\]\.content"):
        refiling.renewed(container, [FileContent(path=SECRET.path, content="no base64!", version=9)])


def test_one_that_runs_is_shown_it_and_goes_on() -> None:
    made = _container(FIXED, SECRET)
    wanted = refiling.renewed(made, [_content("second", 4)])
    view = View(wanted={"app": wanted}, nodes={"app": _running(made)}, now=1.0)
    assert deciding.decide(view).actions == (Refile("app", wanted),)
    shown = state.refiled(_running(made), wanted.files)
    assert deciding.decide(View(wanted={"app": wanted}, nodes={"app": shown}, now=1.0)).actions == ()


def test_anything_else_of_a_file_is_another_container() -> None:
    made = _container(FIXED, SECRET)
    changes: tuple[dict[str, object], ...] = ({"mode": "0600"}, {"uid": 7}, {"path": "/run/other"}, {"version": None})
    others = [_container(FIXED, _replaced(SECRET, change)) for change in changes]
    others += [_container(_replaced(FIXED, {"content": _text("other")}), SECRET), _container(FIXED)]
    for one, other in itertools.product([made], others):
        assert not state.same(one, other), other


def _replaced(file: InjectedFile, change: dict[str, object]) -> InjectedFile:
    fields = {name: getattr(file, name) for name in file.__struct_fields__}
    return InjectedFile(**(fields | change))
