"""What is read of a state for one path, where its links lead, and what is no path."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

from pilot.host.services import putting_back
from pilot.wire import faults


def _read(
    state: pathlib.Path, path: str, most_bytes: int = 1 << 30
) -> tuple[subprocess.CompletedProcess[bytes], list[str]]:
    out = state / "out.tar"
    fds = [os.open(state, os.O_RDONLY), os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)]
    command = [sys.executable, "-P", "-m", "pilot.host.subtree", *map(str, fds), str(most_bytes)]
    done = subprocess.run(command, input=path.encode(), pass_fds=fds, capture_output=True, check=False)
    for fd in fds:
        os.close(fd)
    names: list[str] = []
    if done.returncode == 0:
        with tarfile.open(out) as tar:
            names = sorted(tar.getnames())
    return done, names


@pytest.fixture
def state(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "rootfs"
    (root / "app" / "sub").mkdir(parents=True)
    (root / "app" / "file").write_text("x" * 100_000)
    (root / "app" / "-C").write_text("a name like an option")
    (root / "app" / "out").symlink_to("/etc")
    (root / "etc").mkdir()
    (root / "etc" / "mine").write_text("the sprite's own")
    return tmp_path


def test_all_below_a_path(state: pathlib.Path) -> None:
    assert _read(state, "/app")[1] == ["./app", "./app/-C", "./app/file", "./app/out", "./app/sub"]
    assert _read(state, "/app/-C")[1] == ["./-C"]


def test_links_lead_nowhere_but_into_the_state(state: pathlib.Path) -> None:
    assert _read(state, "/app/out")[1] == ["./out"], "the link itself"
    assert _read(state, "/app/out/mine")[1] == ["./mine"]
    done, _ = _read(state, "/app/out/passwd")
    assert (done.returncode, b"no such file" in done.stderr) == (1, True), "not the host's"


def test_what_is_not_there_or_too_large_is_told(state: pathlib.Path) -> None:
    for path, most_bytes, why in (
        ("/nothing", 1 << 30, b"no such file"),
        ("/app", 20_000, b"larger than there is room"),
    ):
        done, _ = _read(state, path, most_bytes)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("path", ["", "a", "/", "//", "/.", "/a/..", "/a/../b", "/a\0b"])
def test_what_is_no_path_to_put_back(path: str) -> None:
    with pytest.raises(faults.InvalidRequest):
        putting_back.parse(path)


@pytest.mark.parametrize(("path", "meant"), [("/a/", "/a"), ("//a//b", "/a/b"), ("/a/./b", "/a/b"), ("/..a", "/..a")])
def test_what_is_one(path: str, meant: str) -> None:
    assert putting_back.parse(path) == meant
