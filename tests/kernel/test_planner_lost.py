"""A planner that is killed at any point: the command line does it all by itself, or nothing of it is there."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support import bundles, front

from pilot.kernel import hierarchies
from pilot.runtime import Runtime
from pilot.spec.state import Status

pytestmark = pytest.mark.requires("root", "private")

# A life has some 6000 calls, most of them of planning; these are spread over it.
_CALLS = sorted(random.Random(7).sample(range(1, 5000), 10))
_PLACES = [
    *(("packet", number) for number in range(1, 6)),
    *(("sent", number) for number in range(1, 6)),
    *(("call", number) for number in _CALLS),
]


def _ids(place: tuple[str, int]) -> str:
    return f"{place[0]}-{place[1]}"


@contextmanager
def _dying(directory: Path, place: tuple[str, int]) -> Iterator[Path]:
    """`pilot`, whose planner dies there."""
    command = (sys.executable, "-m", "tests.support.dying_planner", place[0], str(place[1]))
    with front.planner(directory, *command) as process:
        yield front.compile_front(directory, front.digest_of(process), front.python(directory))


def _run(program: Path, bundle: Path, *words: str) -> subprocess.CompletedProcess[str]:
    out, err = bundle.parent / "out", bundle.parent / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        command = [str(program), "--root", str(bundle.parent / "root"), *words]
        status = subprocess.run(
            command, cwd=bundle, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, check=False, timeout=60
        ).returncode
    return subprocess.CompletedProcess(command, status, out.read_text(), err.read_text())


def _configure(bundle: Path, *args: str, user_namespace: bool = False) -> None:
    config = bundles.make_config(*args)
    config["linux"]["cgroupsPath"] = f"/{bundle.parent.name}"
    (bundle / "config.json").write_text(json.dumps(bundles.with_user_namespace(config) if user_namespace else config))


def _assert_nothing_left(bundle: Path) -> None:
    assert Runtime(str(bundle.parent / "root")).list() == []
    left = {path for path in hierarchies.probe_hierarchies().paths(bundle.parent.name).values() if os.path.exists(path)}
    assert left == set()


@pytest.mark.parametrize("place", _PLACES, ids=_ids)
def test_create_is_done_once(bundle: Path, tmp_path: Path, place: tuple[str, int]) -> None:
    _configure(bundle, "sleep", "1000")
    with _dying(tmp_path, place) as program:
        done = _run(program, bundle, "create", "web")
    (container,) = Runtime(str(tmp_path / "root")).list()
    try:
        assert (done.returncode, done.stderr) == (0, "")
        assert container.status() is Status.CREATED
        assert len(container.processes()) == 1
    finally:
        container.delete(force=True)
    _assert_nothing_left(bundle)


@pytest.mark.parametrize("place", _PLACES, ids=_ids)
def test_run_has_run_once_or_says_that_it_was_given_up(bundle: Path, tmp_path: Path, place: tuple[str, int]) -> None:
    ran = bundle / "rootfs/ran"
    ran.mkdir()
    _configure(bundle, "sh", "-c", "echo ran; mktemp -p /ran; exit 6")
    config = json.loads((bundle / "config.json").read_text())
    config["root"]["readonly"] = False
    (bundle / "config.json").write_text(json.dumps(config))
    with _dying(tmp_path, place) as program:
        done = _run(program, bundle, "run", "web")
    if done.returncode == 6:
        assert len(list(ran.iterdir())) == 1
    else:
        assert (done.returncode, done.stderr) == (1, "pilot: the planner has gone while it carried this out\n")
        assert len(list(ran.iterdir())) <= 1
    _assert_nothing_left(bundle)


@pytest.mark.parametrize("place", _PLACES, ids=_ids)
def test_exec_is_never_done_twice(bundle: Path, tmp_path: Path, place: tuple[str, int]) -> None:
    _configure(bundle, "sleep", "1000")
    with front.planner(tmp_path) as process:
        digest = front.digest_of(process)
    with _dying(tmp_path, place) as program:
        container = Runtime(str(tmp_path / "root")).create("web", str(bundle)).container
        container.start()
        try:
            done = _run(program, bundle, "exec", "web", "sh", "-c", "echo ran; exit 6")
            assert len(container.processes()) == 1
        finally:
            container.delete(force=True)
    assert digest
    if done.returncode == 6:
        assert done.stdout == "ran\n"
    else:
        assert done.returncode == 255
        assert done.stdout in {"", "ran\n"}


@pytest.mark.parametrize("place", [("packet", 1), ("sent", 1), ("packet", 2), ("sent", 2), ("call", 300)], ids=_ids)
@pytest.mark.parametrize("verb", ["start", "delete", "kill", "state"])
def test_other_verbs_end_in_what_is_true(bundle: Path, tmp_path: Path, place: tuple[str, int], verb: str) -> None:
    _configure(bundle, "sleep", "1000")
    runtime = Runtime(str(tmp_path / "root"))
    created = runtime.create("web", str(bundle))
    with _dying(tmp_path, place) as program:
        done = _run(program, bundle, verb, "web")
    if verb == "state":
        assert json.loads(done.stdout)["status"] == "created"  # whole, and once
    if done.returncode == 0 and verb in {"start", "state", "kill"}:
        assert runtime.load("web").status() in {Status.RUNNING, Status.CREATED, Status.STOPPED}
    if done.returncode == 0 and verb == "delete":
        assert runtime.list() == []
    for container in runtime.list():
        container.delete(force=True)
    created.process.close()
    _assert_nothing_left(bundle)


def test_the_status_of_a_process_in_the_foreground_is_not_lost(bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, "sh", "-c", "trap 'echo attended' USR1; echo ready; until read line; do :; done; exit 4")
    with front.planner(tmp_path) as planner:
        program = front.compile_front(tmp_path, front.digest_of(planner), front.python(tmp_path))
        command = [str(program), "--root", str(tmp_path / "root"), "run", "web"]
        with subprocess.Popen(
            command, cwd=bundle, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(10)  # held until it attends to the process, so the answer says that it does
            assert process.stdout.readline() == b"attended\n"
            planner.kill()
            planner.wait(30)
            _, stderr = process.communicate(b"\n", timeout=30)
    assert (process.returncode, stderr) == (4, b"pilot: the planner has gone meanwhile\n")
    _assert_nothing_left(bundle)


def test_what_was_there_before_is_not_undone(bundle: Path, tmp_path: Path) -> None:
    """Another container of that name: it is not the lost planner's."""
    _configure(bundle, "sleep", "1000")
    created = Runtime(str(tmp_path / "root")).create("web", str(bundle))
    with _dying(tmp_path, ("sent", 1)) as program:
        done = _run(program, bundle, "create", "web")
    assert done.returncode == 1
    assert "container with given ID already exists" in done.stderr
    assert created.container.status() is Status.CREATED
    created.container.delete(force=True)
    created.process.close()


def test_the_second_process_goes_too(bundle: Path, tmp_path: Path) -> None:
    """With a user namespace the container's process is the second that is cloned."""
    _configure(bundle, "sleep", "1000", user_namespace=True)
    with _dying(tmp_path, ("sent", 2)) as program:
        done = _run(program, bundle, "create", "web")
    assert (done.returncode, done.stderr) == (0, "")
    (container,) = Runtime(str(tmp_path / "root")).list()
    assert len(container.processes()) == 1
    container.delete(force=True)
    _assert_nothing_left(bundle)
