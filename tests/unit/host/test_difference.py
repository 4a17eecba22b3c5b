"""Two directories beside each other, as states of one disk are: the second is the first with something done to it."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

from pilot.host import difference


def lines(before: pathlib.Path, after: pathlib.Path) -> list[dict[str, object]]:
    fds = [os.open(place, os.O_RDONLY | os.O_DIRECTORY) for place in (before, after)]
    try:
        out = io.StringIO()
        difference.write(fds[0], fds[1], out)
        return [json.loads(line) for line in out.getvalue().splitlines()]
    finally:
        for fd in fds:
            os.close(fd)


def said(before: pathlib.Path, after: pathlib.Path) -> list[tuple[object, ...]]:
    *found, _ = lines(before, after)
    return [(line["change"], line["path"], line["kind"], line["size_before"], line["size"]) for line in found]


def put(place: pathlib.Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@pytest.fixture
def before(tmp_path: pathlib.Path) -> pathlib.Path:
    put(tmp_path / "before/kept", "kept")
    put(tmp_path / "before/deep/er/changed", "before")
    put(tmp_path / "before/gone/too", "x")
    put(tmp_path / "before/turned", "a file")
    return tmp_path / "before"


def test_a_state_is_no_other_than_itself(before: pathlib.Path) -> None:
    assert lines(before, before) == [{"type": "complete", "added": 0, "changed": 0, "deleted": 0}]


def test_what_was_done(before: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Hard links stand for what a fork shares: the same inode. What was written anew is another one."""
    after = tmp_path / "after"
    put(after / "deep/er/changed", "afterwards")
    put(after / "deep/er/new", "new")
    put(after / "turned/in", "now a directory")
    os.symlink("nowhere", after / "link")
    os.link(before / "kept", after / "kept")
    directory = os.stat(after / "turned").st_size
    assert said(before, after) == [
        ("deleted", "/gone", "directory", os.stat(before / "gone").st_size, None),
        ("added", "/link", "symlink", None, 7),
        ("changed", "/turned", "directory", 6, directory),
        ("changed", "/deep/er/changed", "file", 6, 10),
        ("added", "/deep/er/new", "file", None, 3),
        ("deleted", "/gone/too", "file", 1, None),
        ("added", "/turned/in", "file", None, 15),
    ]
    assert lines(before, after)[-1] == {"type": "complete", "added": 3, "changed": 2, "deleted": 2}


def test_modes_of_directories_and_names_that_are_no_text(before: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "d").mkdir(parents=True)
    (tmp_path / "two/d").chmod(0o700)
    (tmp_path / "two" / os.fsdecode(b"caf\xe9")).touch()
    assert [(change, path) for change, path, *_ in said(tmp_path / "one", tmp_path / "two")] == [
        ("added", "/caf\udce9"),
        ("changed", "/d"),
    ]


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: pathlib.Path, is_absolute: bool) -> None:
    """Not to what lies outside of the disk, though both have a directory of that name; nor to what lies in it."""
    put(tmp_path / "outside/etc/deep/of-the-host", "secret")
    put(tmp_path / "before/x/etc/deep/old", "x")
    put(tmp_path / "before/y/etc/deep/inside", "x")
    put(tmp_path / "after/y/etc/deep/inside", "x")
    os.symlink(tmp_path / "outside" if is_absolute else "y", tmp_path / "after/x")
    for one, other, change in (("before", "after", "deleted"), ("after", "before", "added")):
        found = [line[:2] for line in said(tmp_path / one, tmp_path / other) if str(line[1]).startswith("/x/")]
        assert found == [(change, "/x/etc"), (change, "/x/etc/deep"), (change, "/x/etc/deep/old")]


def test_half_a_difference_is_none(before: pathlib.Path) -> None:
    command = [sys.executable, "-m", "pilot.host.difference", "99", "99", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, "bad file descriptor" in done.stderr) == (1, "", True)


@pytest.mark.parametrize(
    ("module", "work", "arguments"),
    [("pilot.host.difference", "write", ["0", "0", "1"]), ("pilot.host.shipping.layer", "make", ["0", "0", "0", "1"])],
)
def test_more_paths_than_there_is_memory_for(module: str, work: str, arguments: list[str]) -> None:
    program = f"""
import sys
import {module} as tried

tried.{work} = lambda *_: bytearray({difference.MOST_MEMORY_BYTES})
sys.exit(tried.main())
"""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, input="[]", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{difference.TOO_MANY}\n")
