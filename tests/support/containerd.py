"""A containerd of our own, all that it keeps below one directory, and `ctr`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import Client

DEADLINE_S = 60
_CONFIG = """
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{directory}/containerd.sock"
[ttrpc]
address = "{directory}/ttrpc.sock"
"""


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Client]:
    """Its `ctr`. `directory` is short, as it holds sockets. It finds shims beside the tests' own `pilot`."""
    (directory / "config.toml").write_text(_CONFIG.format(directory=directory))
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    daemon = subprocess.Popen(
        ["containerd", "--config", directory / "config.toml"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PATH": path},
    )
    assert daemon.stderr is not None
    log: list[str] = []
    for line in daemon.stderr:
        log.append(line)
        if "successfully booted" in line:
            break
    else:
        pytest.fail(f"containerd did not start:\n{''.join(log)}")
    reader = threading.Thread(target=log.extend, args=(daemon.stderr,), name="containerd-log")
    reader.start()
    try:
        yield Client(("ctr", "--address", str(directory / "containerd.sock")), dict(os.environ))
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE_S)
        reader.join()
        daemon.stderr.close()
        print("".join(log))


def row(ctr: Client, name: str) -> list[str]:
    """Name, pid and status of a task."""
    rows = (line.split() for line in ctr.run("task", "ls").splitlines())
    return next(row for row in rows if row[0] == name)


def end_all(ctr: Client) -> None:
    """Kill and delete what there is."""
    for task in ctr.run("task", "ls", "--quiet").split():
        ctr.call("task", "kill", "--signal", "SIGKILL", task)
        until(lambda task=task: "RUNNING" not in row(ctr, task))  # type: ignore[misc]
        ctr.call("task", "delete", task)
    for container in ctr.run("container", "ls", "--quiet").split():
        ctr.run("container", "delete", container)


def until(holds: Callable[[], bool]) -> None:
    """Ask again and again; each question is a process of its own, so this is no busy loop."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline


def on_a_terminal(command: str, wanted: bytes) -> int:
    """The exit status of a command that says `wanted` on its terminal and then reads a line.

    ctr closes what it has not read when it hears of an end, so nothing that counts may come with it.
    """
    words = ["script", "-qec", command, "/dev/null"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as script:
        assert script.stdin is not None
        assert script.stdout is not None
        said = b""
        while wanted not in said:
            data = os.read(script.stdout.fileno(), 4096)
            assert data, said
            said += data
        script.stdin.write(b"\n")
        script.stdin.close()
        script.stdout.read()
    return script.returncode
