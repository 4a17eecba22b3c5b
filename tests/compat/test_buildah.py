"""buildah drives pilot: commands in a working container, what is committed of them, and Containerfiles."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients, front, leftovers
from tests.support.clients import IMAGE, PILOT, Client

pytestmark = pytest.mark.requires("root", "private", "busybox", "buildah")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is kept."""
    return tmp_path_factory.mktemp("buildah")


@pytest.fixture(scope="module")
def buildah(directory: Path) -> Client:
    """buildah with one image, made of nothing but a tar file."""
    client = clients.buildah(directory)
    client.run("from", "--name", "first", "scratch")
    client.run("add", "first", clients.make_image_tar(directory / "image.tar"), "/")
    client.run("commit", "--quiet", "--rm", "first", IMAGE)
    return client


@pytest.fixture
def working(buildah: Client) -> Iterator[str]:
    """A working container; afterwards nothing of what ran in it is left."""
    before = leftovers.observe()
    buildah.run("from", "--pull-never", "--name", "working", IMAGE)
    yield "working"
    buildah.run("rm", "working")
    new = leftovers.observe().new_since(before)
    assert not set(new) & {"mounts", "namespaces", "links"}, new
    assert not [name for name in new.get("cgroups", []) if "buildah" in name]
    assert leftovers.containers() == []


def _run(buildah: Client, *arguments: str, stdin: str | None = None) -> str:
    return buildah.run("run", "--network", "none", *arguments, stdin=stdin)


def test_run(buildah: Client, working: str) -> None:
    script = "id -u; pwd; echo $COLOUR; grep CapEff /proc/self/status"
    output = _run(
        buildah, "--user", "7", "--workingdir", "/tmp", "--env", "COLOUR=red", working, "--", "sh", "-c", script
    )
    assert output == "7\n/tmp\nred\nCapEff:\t0000000000000000\n"


def test_each_step_is_served(buildah: Client, working: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By a planner, though buildah executes its runtime in a mount namespace that it has made for the step."""
    directory = tmp_path_factory.mktemp("front")
    with front.planner(directory) as process:
        program = front.compile_front(directory, front.digest_of(process), front.unserved(directory))
        assert _run(buildah, "--runtime", str(program), working, "--", "sh", "-c", "echo here") == "here\n"


def test_stdin(buildah: Client, working: str) -> None:
    assert _run(buildah, working, "--", "cat", stdin="typed\n") == "typed\n"


def test_terminal(buildah: Client, working: str) -> None:
    assert "/dev/pts/0" in _run(buildah, "--tty", working, "--", "tty")


def test_status_of_the_command(buildah: Client, working: str) -> None:
    assert buildah.call("run", "--network", "none", working, "--", "sh", "-c", "exit 7").code == 7
    failed = buildah.call("run", "--network", "none", working, "--", "no-such-command")
    assert failed.code != 0
    assert re.search(r'create \S+: exec: "no-such-command": executable file not found in \$PATH', failed.err)


def test_the_runtime_is_named_on_the_command_line(buildah: Client, working: str, directory: Path) -> None:
    """What ran is in pilot's own log, which only `--runtime-flag` can have made."""
    log = directory / "pilot.log"
    words = ("--runtime", str(PILOT), "--runtime-flag", f"log={log}", "--runtime-flag", "debug", "--isolation", "oci")
    assert _run(buildah, *words, working, "--", "hostname") != ""
    assert "pivot_root" in log.read_text()


def test_volumes_and_the_hosts_network(buildah: Client, working: str, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    words = ("run", "--network", "host", "--volume", f"{tmp_path}:/mnt:ro", working, "--", "sh", "-c")
    output = buildah.run(*words, "readlink /proc/self/ns/net; cat /mnt/given; touch /mnt/x 2>&1 || true")
    assert output == (
        f"{os.readlink('/proc/self/ns/net')}\nfrom the host\ntouch: /mnt/x: Read-only file system\n"
    )  # fmt: skip


def test_what_was_run_is_committed(buildah: Client, working: str) -> None:
    _run(buildah, working, "--", "sh", "-c", "echo made > /made")
    buildah.run("commit", "--quiet", working, "localhost/changed")
    buildah.run("from", "--pull-never", "--name", "again", "localhost/changed")
    try:
        assert _run(buildah, "again", "--", "cat", "/made") == "made\n"
    finally:
        buildah.run("rm", "again")
        buildah.run("rmi", "localhost/changed")


@pytest.mark.usefixtures("working")
def test_containerfile(buildah: Client, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(
        f"FROM {IMAGE}\nARG WORD\nRUN echo $WORD > /made\nRUN cat /made >> /twice\n"
    )
    buildah.run("build", "--network", "none", "--build-arg", "WORD=hello", "--layers", "--tag", "localhost/b", tmp_path)
    buildah.run("from", "--pull-never", "--name", "built", "localhost/b")
    try:
        assert _run(buildah, "built", "--", "cat", "/made", "/twice") == "hello\nhello\n"
    finally:
        buildah.run("rm", "built")
        buildah.run("rmi", "localhost/b")
