"""`pilot run --image`: a container on a fork of an image, seen from within and afterwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import front, images, leftovers
from tests.support.images import Layout, Served

pytestmark = pytest.mark.requires("root", "private", "busybox")

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
_CONFIG = {"Env": ["COLOUR=red"], "Entrypoint": ["sh", "-c"], "Cmd": ["echo of the image"], "WorkingDir": "/tmp"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return images.busybox(tmp_path_factory.mktemp("image"), _CONFIG)


@pytest.fixture(scope="module")
def served(made: Layout) -> Iterator[Served]:
    with images.serve(made) as running:
        yield running


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def pilot(cache: Path) -> Run:
    def call(*words: str, status: int = 0) -> Done:
        done = subprocess.run(
            [front.PILOT, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PILOT_CACHE_DIR": str(cache)},
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done

    return call


@pytest.fixture
def run(pilot: Run, served: Served) -> Run:
    def call(*words: str, status: int = 0) -> Done:
        return pilot("run", "--image", f"{served.domain}/box", *words, status=status)

    return call


def test_pulled_run_and_nothing_left(run: Run, cache: Path) -> None:
    before = leftovers.observe()
    assert run().stdout == "of the image\n"
    assert run("--", "echo $COLOUR $PWD").stdout == "red /tmp\n"
    assert run("--", "exit 7", status=7).stdout == ""
    assert leftovers.left_since(before) == {}
    assert list((cache / "images" / "forks").iterdir()) == []


def test_each_run_has_a_fork_of_its_own(run: Run) -> None:
    assert run("--", "touch /bin/new; rm /etc/group; ls /bin/new").stdout == "/bin/new\n"
    assert run("--", "ls /bin/new /etc/group 2>/dev/null", status=1).stdout == "/etc/group\n"
    assert run("--read-only", "--", "touch /bin/new 2>/dev/null", status=1).stdout == ""


def test_as_whom_and_with_what(run: Run) -> None:
    seen = run("--user", "app", "--env", "MORE=1", "--cwd", "/", "--", "id -u; id -g; id -G; echo $HOME $MORE; pwd")
    assert seen.stdout == "1000\n1000\n1000 50\n/home/app 1\n/\n"
    assert run("--entrypoint", "id", "--", "-u").stdout == "0\n"
    assert "no 'nobody'" in run("--user", "nobody", status=1).stderr


def test_a_network_is_asked_for(run: Run) -> None:
    own = os.readlink("/proc/self/ns/net")
    assert run("--", "readlink /proc/self/ns/net").stdout != f"{own}\n"
    assert run("--network", "host", "--", "readlink /proc/self/ns/net").stdout == f"{own}\n"


def test_what_is_here_needs_no_registry(pilot: Run, run: Run, made: Layout, served: Served) -> None:
    run()
    served.asked.clear()
    run()
    run("--pull", "never")
    pilot("run", "--image", made.digest)
    assert served.asked == []
    run("--pull", "always")
    assert served.asked != []
    assert "it is not here" in pilot("run", "--image", "nobody/has:it", "--pull", "never", status=1).stderr


def test_an_image_that_is_in_use_stays(pilot: Run, run: Run, cache: Path, served: Served) -> None:
    """Its name goes at once, what is unpacked when nobody has it any more."""
    running = subprocess.Popen(
        [front.PILOT, "run", "--image", f"{served.domain}/box:used", "--", "echo begun; read line; ls /bin/busybox"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PILOT_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    for row in json.loads(pilot("image", "list", "--json").stdout):
        pilot("image", "remove", row["name"])
    assert pilot("image", "list", "--json").stdout.strip() == "[]"
    output, _ = running.communicate("go on\n", timeout=60)
    assert (output, running.returncode) == ("/bin/busybox\n", 0)
    pilot("image", "prune")
    assert list((cache / "images" / "roots").iterdir()) == []
    assert list((cache / "images" / "blobs").iterdir()) == []


def test_what_a_killed_run_has_left_the_next_removes(pilot: Run, run: Run, cache: Path, served: Served) -> None:
    running = subprocess.Popen(
        [front.PILOT, "run", "--image", f"{served.domain}/box", "--name", "left", "--", "echo begun; sleep 1000"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env={**os.environ, "PILOT_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    running.kill()
    running.wait()
    running.stdout.close()  # its container has the other end still
    assert [path.name for path in (cache / "images" / "forks").iterdir()] == ["left"]
    run()
    assert '"id": "left"' not in pilot("list", "-f", "json").stdout
    assert list((cache / "images" / "forks").iterdir()) == []
