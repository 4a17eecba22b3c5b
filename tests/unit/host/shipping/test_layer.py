"""The upper layer of two directories that are states of one disk: what readers of layers make of it."""

from __future__ import annotations

import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import tarfile

import msgspec
import pytest

from pilot.host.shipping import layer, rules
from pilot.host.shipping.layer import Report
from pilot.host.shipping.rules import Rule

MODULE = "pilot.host.shipping.layer"


class Disks:
    """`base` and `state`, as volumes: the second begins as hard links to the first, which is what a fork shares."""

    def __init__(self, root: pathlib.Path) -> None:
        self.base, self.state = root / "base/rootfs", root / "state/rootfs"
        self.out = root / "layer.tar"
        for place in (self.base, self.state):
            place.mkdir(parents=True)

    def put(self, name: str, text: str = "x") -> None:
        """In both, shared."""
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (self.state / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(path, self.state / name)

    def run(self, *wanted: Rule, most: int = 1 << 30) -> subprocess.CompletedProcess[bytes]:
        fds = [os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY) for place in (self.base, self.state)]
        fds.append(os.open(self.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        try:
            return subprocess.run(
                [sys.executable, "-m", MODULE, *map(str, (*fds, most))], input=msgspec.json.encode(wanted),
                capture_output=True, pass_fds=fds, check=False, timeout=120,
            )  # fmt: skip
        finally:
            for fd in fds:
                os.close(fd)

    def made(self, *wanted: Rule) -> Report:
        done = self.run(*wanted)
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout, type=Report)

    def members(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(self.out) as archive:
            return {member.name: member for member in archive.getmembers()}


@pytest.fixture
def disks(tmp_path: pathlib.Path) -> Disks:
    return Disks(tmp_path)


def test_nothing_was_done(disks: Disks) -> None:
    disks.put("etc/kept")
    assert disks.made() == Report(0, 0, 0, ())
    assert disks.members() == {}


def test_what_was_done_and_the_directories_above(disks: Disks) -> None:
    for name in ("etc/kept", "etc/changed", "var/gone/deep/file", "var/stays", "turned/in"):
        disks.put(name)
    (disks.state / "etc/changed").unlink()
    (disks.state / "etc/changed").write_text("anew")
    (disks.state / "var/gone/deep/file").unlink()
    (disks.state / "var/gone/deep").rmdir()
    (disks.state / "var/gone").rmdir()
    (disks.state / "turned/in").unlink()
    (disks.state / "turned").rmdir()
    (disks.state / "turned").write_text("a file")
    (disks.state / "new/er").mkdir(parents=True)
    os.symlink("/nowhere", disks.state / "new/link")
    report = disks.made()
    assert (report.entries, report.whiteouts) == (5, 1)
    found = disks.members()
    assert set(found) == {
        ".", "./etc", "./etc/changed", "./new", "./new/er", "./new/link", "./turned", "./var", "./var/.wh.gone",
    }  # fmt: skip
    assert (found["./new/link"].linkname, found["./turned"].isreg(), found["./var/.wh.gone"].size) == (
        "/nowhere",
        True,
        0,
    )


def test_a_directory_made_anew_hides_what_was_in_it(disks: Disks) -> None:
    disks.put("d/old")
    disks.put("d/both")
    (disks.state / "d/old").unlink()
    (disks.state / "d/both").unlink()
    (disks.state / "d").rmdir()
    (disks.state / "d").mkdir()
    (disks.state / "d/both").write_text("new")
    disks.made()
    assert set(disks.members()) == {".", "./d", "./d/.wh.old", "./d/both"}


def test_a_link_of_the_base_is_not_followed(disks: Disks, tmp_path: pathlib.Path) -> None:
    """/var/run of the base leads out of its disk; the sprite has made a directory of it."""
    (tmp_path / "outside/systemd/of-the-host").mkdir(parents=True)
    (disks.base / "var").mkdir()
    os.symlink(tmp_path / "outside", disks.base / "var/run")
    (disks.state / "var/run/systemd").mkdir(parents=True)
    report = disks.made()
    assert (report.whiteouts, set(disks.members())) == (0, {".", "./var", "./var/run", "./var/run/systemd"})


def test_links_holes_attributes_owners_and_names(disks: Disks) -> None:
    place = disks.state
    (place / "one").write_text("twice")
    os.link(place / "one", place / "two")
    with (place / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(512 << 20)
        file.write(b"middle")
    os.setxattr(place / "one", "user.colour", b"red")
    (place / "-rf").write_text("a name like an option")
    (place / "new\nline").write_text("")
    (place / os.fsdecode(b"caf\xe9")).write_text("")
    (place / ("n" * 250)).write_text("")
    os.mkfifo(place / "pipe")
    os.chmod(place / "two", 0o4751)
    disks.made()
    assert disks.out.stat().st_size < 1 << 20
    found = disks.members()
    assert (found["./two"].islnk(), found["./two"].linkname, found["./one"].mode) == (True, "./one", 0o4751)
    assert found["./one"].pax_headers["SCHILY.xattr.user.colour"] == "red"
    assert {"./-rf", "./new\nline", os.fsdecode(b"./caf\xe9"), "./" + "n" * 250} <= set(found)
    assert found["./pipe"].isfifo()
    with tarfile.open(disks.out) as archive:
        stored = archive.extractfile("./sparse")
        assert stored is not None
        stored.seek(512 << 20)
        assert (stored.read(6), found["./sparse"].size) == (b"middle", 1 << 30)


def test_what_is_left_out(disks: Disks) -> None:
    disks.put("home/me/.cache/old")
    disks.put("root/.netrc", "as the base has it")
    (disks.state / "home/me/.ssh").mkdir()
    (disks.state / "home/me/.ssh/id_ed25519").write_text("-----BEGIN-----")
    (disks.state / "home/me/.cache/new").write_text("big")
    (disks.state / "root/.netrc").unlink()
    (disks.state / "home/me/app").mkdir()
    (disks.state / "home/me/app/.env").write_text("KEY=1")
    (disks.state / "home/me/app/main.py").write_text("")
    (disks.state / ".wh.file").write_text("not to be said")
    with socket.socket(socket.AF_UNIX) as listener:
        directory_fd = os.open(disks.state, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{directory_fd}/socket")
        os.close(directory_fd)
    report = disks.made(*rules.BUILT_IN)
    assert {(each.kind, each.path) for each in report.left_out} == {
        ("cache", "/home/me/.cache"), ("secret", "/home/me/.ssh"), ("secret", "/home/me/app/.env"),
        ("unfit", "/.wh.file"), ("unfit", "/socket"),
    }  # fmt: skip
    assert set(disks.members()) == {".", "./home", "./home/me", "./home/me/app", "./home/me/app/main.py"}
    assert b"-----BEGIN-----" not in disks.out.read_bytes()


def test_the_same_states_make_the_same_bytes(disks: Disks) -> None:
    disks.put("a")
    (disks.state / ("long" * 60)).write_text("b")
    (disks.state / "a").unlink()
    disks.made()
    first = disks.out.read_bytes()
    (disks.state / ("long" * 60)).read_text()
    disks.made()
    assert disks.out.read_bytes() == first


def test_a_base_of_another_make_is_right_and_larger(disks: Disks) -> None:
    disks.put("etc/kept")
    (disks.state / "etc/kept").unlink()
    (disks.state / "etc/kept").write_text("x")
    assert disks.made().entries == 1


def test_the_user_and_the_services_are_told(disks: Disks) -> None:
    disks.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nsprite:x:1000:1000::/home/me:/bin/bash\n")
    (disks.state.parent / "pilot").mkdir()
    (disks.state.parent / "pilot/services.json").write_text(json.dumps({"version": 1}))
    report = disks.made()
    assert (report.about.home, report.about.services) == ("/home/me", '{"version": 1}')


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_documents_that_are_something_else_are_not_read(disks: Disks, kind: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    place = disks.state.parent / "pilot"
    place.mkdir()
    match kind:
        case "link":
            os.symlink(tmp_path / "secret", place / "services.json")
        case "pipe":
            os.mkfifo(place / "services.json")
        case "directory":
            (place / "services.json").mkdir()
    assert disks.made().about.services == ""


def test_more_than_there_is_room_for(disks: Disks) -> None:
    (disks.state / "big").write_bytes(os.urandom(1 << 20))
    done = disks.run(most=512 << 10)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"larger than there is room for" in done.stderr or b"too large" in done.stderr


def test_half_a_layer_is_none() -> None:
    command = [sys.executable, "-m", MODULE, "97", "98", "99", "1"]
    done = subprocess.run(command, input=b"[]", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, b"bad file descriptor" in done.stderr) == (1, b"", True)


def test_a_whiteout_of_a_name_that_is_no_text() -> None:
    member = tarfile.TarInfo.frombuf(layer._whiteout("./a/b")[:512], "utf-8", "surrogateescape")
    assert (member.name, member.size) == ("./a/.wh.b", 0)
    told = layer._whiteout(os.fsdecode(b"./caf\xe9"))
    with tarfile.open(fileobj=io.BytesIO(told + bytes(1024))) as archive:
        assert os.fsencode(archive.getnames()[0]) == b"./.wh.caf\xe9"
