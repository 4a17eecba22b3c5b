"""Files whose content may change while their container runs: what is wanted then, and that it runs on."""

from __future__ import annotations

import base64
import contextlib
import errno
import itertools
import os
import pathlib
from collections.abc import Collection, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.agent.graph import deciding, refiling, shown_files, state
from pilot.agent.graph.deciding import Refile, View
from pilot.agent.graph.state import Node, Process
from pilot.kernel import overmount
from pilot.wire.graph import Check, Container, FileContent, InjectedFile, Root, TcpProbe


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


def test_what_is_refused_is_tried_less_and_less_often_and_keeps_nobody_from_the_checks() -> None:
    check = Check(name="up", tcp=TcpProbe(port=80), interval_s=10.0)
    made = msgspec.structs.replace(_container(SECRET), checks=[check])
    wanted = refiling.renewed(made, [_content("second", 4)])
    node, now, delays = _running(made), 100.0, list[float]()
    for _ in range(8):
        assert deciding.decide(View(wanted={"app": wanted}, nodes={"app": node}, now=now)).actions == (
            Refile("app", wanted),
        )
        node = state.refiled(node, made.files, state.refused(node, wanted, "/run/key: no room", now))
        view = View(wanted={"app": wanted}, nodes={"app": node}, now=now)
        found = deciding.decide(view)
        assert found.actions == (deciding.Probe("app", check),)
        assert "/run/key: no room" in deciding.decide(_healthy(view)).verdicts["app"].why
        assert deciding.is_settled(_healthy(view), deciding.decide(_healthy(view)))
        assert node.refusal is not None
        assert node.refusal.again is not None
        delays.append(node.refusal.again - now)
        asleep = deciding.decide(View(wanted={"app": wanted}, nodes={"app": node}, now=now, probing={("app", "up")}))
        assert (asleep.actions, asleep.wake_at) == ((), node.refusal.again)
        now = node.refusal.again
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def _healthy(view: View) -> View:
    node = msgspec.structs.replace(view.nodes["app"], probed={"up": state.Probed(tries=1, passed=True, last=view.now)})
    return View(wanted=view.wanted, nodes={"app": node}, now=view.now)


def test_another_version_is_tried_at_once_though_the_one_before_was_refused() -> None:
    made = _container(SECRET)
    wanted = refiling.renewed(made, [_content("second", 4)])
    node = state.refiled(_running(made), made.files, state.refused(_running(made), wanted, "no", 1.0))
    later = refiling.renewed(wanted, [_content("third", 5)])
    assert deciding.decide(View(wanted={"app": wanted}, nodes={"app": node}, now=1.0)).actions == ()
    assert deciding.decide(View(wanted={"app": later}, nodes={"app": node}, now=1.0)).actions == (Refile("app", later),)


def test_one_that_fails_keeps_the_others_from_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three the first is refused by the kernel, and at the second's path something else is."""
    names = ("refused", "left", "seen")
    before = [InjectedFile(path=f"/{name}", content=_text("1"), version=1) for name in names]
    wanted = [InjectedFile(path=f"/{name}", content=_text("2"), version=2) for name in names]
    (tmp_path / "files").mkdir()
    for number in range(3):
        (tmp_path / f"files/{number}").touch()
    answers = {"/left": "another file is there", "/seen": None}

    def replace(_: int, __: int, target: str, ours: object) -> str | None:
        assert ours
        if target == "/refused":
            raise OSError(errno.ENOMEM, "out of memory")
        return answers[target]

    monkeypatch.setattr(overmount, "make_file", lambda *_: os.memfd_create("made"))
    monkeypatch.setattr(overmount, "clean", lambda _: None)
    monkeypatch.setattr(overmount, "replace", replace)
    shown = shown_files.show(-1, str(tmp_path), before, wanted)
    assert list(shown.files) == [before[0], wanted[1], wanted[2]]
    assert (shown.left, "/refused: " in shown.refused) == ("/left stays as it is: another file is there", True)
    assert not (tmp_path / "files/2").exists()


def test_what_an_agent_died_over_is_known_to_the_next_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not it was shown then: what the container sees is ours in either case."""
    files = [InjectedFile(path="/key", content=_text(str(version)), version=version) for version in range(4)]
    (tmp_path / "files").mkdir()
    (tmp_path / "files/0").touch()
    seen = overmount.identity(str(tmp_path / "files/0"))
    known: list[bool] = []
    shown_then_died = iter((True, False, None, True, None, None))

    def make_file(*_: object) -> int:
        fd = os.memfd_create("made")
        kept.append(os.dup(fd))
        return fd

    def replace(_: int, mount_fd: int, __: str, ours: Collection[overmount.Identity]) -> str | None:
        nonlocal seen
        known.append(seen in ours)
        fate = next(shown_then_died)
        if fate is not False:
            seen = overmount.identity(mount_fd)
        if fate is not None:
            raise KeyboardInterrupt
        return None

    kept: list[int] = []
    monkeypatch.setattr(overmount, "make_file", make_file)
    monkeypatch.setattr(overmount, "replace", replace)
    for _ in range(6):
        with contextlib.suppress(KeyboardInterrupt):
            shown_files.show(-1, str(tmp_path), files[:1], files[1:2])
    assert known == [True] * 6
    assert len((tmp_path / "files/0.seen").read_text().splitlines()) == 1
    for fd in kept:
        os.close(fd)
