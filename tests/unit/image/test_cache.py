"""The cache: what has the right name is complete, whoever builds and however it ends."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pilot.image import cache, digest


def _writes(text: str) -> cache.Builder:
    return lambda target: Path(target).write_text(text)


def test_built_once(tmp_path: Path) -> None:
    first = cache.ensure(str(tmp_path), "thing", "1234", _writes("one"), suffix=".txt")
    second = cache.ensure(str(tmp_path), "thing", "1234", _writes("two"), suffix=".txt")
    assert first == second == f"{tmp_path}/thing-1234.txt"
    assert Path(first).read_text() == "one"


def test_a_failed_build_leaves_nothing_and_the_next_succeeds(tmp_path: Path) -> None:
    def fails(target: str) -> None:
        os.mkdir(target)
        Path(target, "half").write_text("")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        cache.ensure(str(tmp_path), "thing", "1", fails)
    assert [name for name in os.listdir(tmp_path) if "lock" not in name] == []
    assert os.path.exists(cache.ensure(str(tmp_path), "thing", "1", _writes("x")))


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".new-thing-1" / "deep").mkdir(parents=True)
    path = cache.ensure(str(tmp_path), "thing", "1", os.mkdir)
    assert os.listdir(path) == []
    assert not (tmp_path / ".new-thing-1").exists()


def test_two_at_once_build_once(tmp_path: Path) -> None:
    begun, go_on, builds, paths = threading.Event(), threading.Event(), [], []

    def build(target: str) -> None:
        builds.append(target)
        begun.set()
        assert go_on.wait(20)
        os.mkdir(target)

    def ask() -> None:
        paths.append(cache.ensure(str(tmp_path), "thing", "1", build))

    first = threading.Thread(target=ask)
    first.start()
    assert begun.wait(20)
    second = threading.Thread(target=ask)
    second.start()
    go_on.set()
    first.join(20)
    second.join(20)
    assert len(builds) == 1
    assert paths == [f"{tmp_path}/thing-1"] * 2


def test_the_newest_comes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("b", "a", "c")):
        os.utime(cache.ensure(str(tmp_path), "kind", name, os.mkdir), (100 - age, 100 - age))
    assert [os.path.basename(path) for path in cache.finished(str(tmp_path), "kind")] == ["kind-b", "kind-a", "kind-c"]


def test_a_digest_knows_where_its_parts_end() -> None:
    assert digest.digest([("a", "bc")]) != digest.digest([("ab", "c")])
    assert digest.digest([("a", b"b")]) == digest.digest([("a", "b")])
