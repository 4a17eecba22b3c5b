"""The way, walked once: pilotd, machine, disk, world, official client; checkpoint, damage, restore, fork, destroy.

Everything is real: Debian on a FUSE-backed ext4, a user-namespaced machine, sprites-py unmodified.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sprites import ExecError
from sprites.exceptions import FileNotFoundError_, NotFoundError
from tests.support import leftovers
from tests.support.pilotd import Pilotd
from tests.support.typist import Typist

from pilot.machine import health

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


@pytest.fixture(scope="module")
def client(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        yield client


@pytest.fixture(scope="module")
def sprite(client: Any) -> Iterator[Any]:
    made = client.create_sprite("walker")
    yield made
    made.destroy()


def test_a_command_runs_on_a_real_debian(sprite: Any) -> None:
    done = sprite.run(
        "sh", "-c", ". /etc/os-release; echo $ID; pwd; id -un; hostname; cat /proc/1/comm", capture_output=True
    )
    words = done.stdout.decode().split()
    assert words[:4] == ["debian", "/home/sprite", "sprite", "walker"]


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(sprite: Any, code: int) -> None:
    assert sprite.run("sh", "-c", f"exit {code}").returncode == code


def test_a_command_that_is_not_there(sprite: Any) -> None:
    with pytest.raises(Exception, match=r"(?i)not found|no such file|127"):
        sprite.run("/no/such/command", check=True)


def test_ten_thousand_arguments_and_the_longest_that_there_is(sprite: Any) -> None:
    many = sprite.run("sh", "-c", "echo $# $1 ${10000}", "sh", *map(str, range(10_000)), capture_output=True)
    assert many.stdout == b"10000 0 9999\n"
    longest = "%" * (128 * 1024 - 1)  # execve's bound, and each of them three bytes in a URL
    done = sprite.run("sh", "-c", 'printf %s "$1" | wc -c', "sh", longest, capture_output=True)
    assert done.stdout == b"131071\n"
    with pytest.raises(Exception, match="argument list too long"):
        sprite.run("true", longest + "%")
    with pytest.raises(Exception, match="of target"):
        sprite.run("true", *["%" * 100_000] * 4)


def test_stdout_and_stderr_are_apart(sprite: Any) -> None:
    done = sprite.run("sh", "-c", "echo out; echo err >&2", capture_output=True)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_stdin_to_its_end(sprite: Any) -> None:
    payload = bytes(range(256)) * 4096
    command = sprite.command("sha256sum", stdin=io.BytesIO(payload))
    assert command.output().split()[0].decode() == hashlib.sha256(payload).hexdigest()


def test_much_output_is_not_cut(sprite: Any) -> None:
    done = sprite.run("sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x", capture_output=True)
    assert len(done.stdout) == 20_000_000
    assert done.stdout.strip(b"x") == b""


def test_a_terminal(sprite: Any) -> None:
    done = sprite.run("sh", "-c", "tty; stty size", capture_output=True, tty=True, tty_rows=31, tty_cols=97)
    lines = done.stdout.decode().split("\r\n")
    assert lines[0].startswith("/dev/pts/") or lines[0] == "/dev/console"
    assert lines[1] == "31 97"
    assert sprite.run("sh", "-c", "exit 7", tty=True).returncode == 7


def test_files(sprite: Any) -> None:
    root = sprite.filesystem("/")
    blob = bytes(range(256)) * 8192
    path = root / "home/sprite/dir with spaces/blöb.bin"
    path.write_bytes(blob)
    assert path.read_bytes() == blob
    done = sprite.run("sh", "-c", "stat -c '%U %s' '/home/sprite/dir with spaces/blöb.bin'", capture_output=True)
    assert done.stdout.split() == [b"sprite", str(len(blob)).encode()]
    with pytest.raises(FileNotFoundError_):
        (root / "no/such/file").read_bytes()


def test_the_world_sees_only_itself(sprite: Any) -> None:
    """The world has a user namespace of its own, and the machine's files are out of its sight."""
    shown = sprite.run(
        "sh", "-c", "cat /proc/self/uid_map; ls /run/disk /usr/lib/pilot 2>&1; true", capture_output=True
    )
    lines = shown.stdout.decode().splitlines()
    assert lines[0].split() == ["0", "0", "65536"]
    assert [line.endswith("No such file or directory") for line in lines[1:]] == [True, True]


def test_init_of_the_machine_answers_at_a_door_of_its_own(sprite: Any, pilotd: Pilotd) -> None:
    sprite.run("true", check=True)
    doors = list((pilotd.state / "machines").glob("*/health.sock"))
    assert doors
    for door in doors:
        said = health.ask(str(door))
        assert (said.agent_pid > 0, said.stopping) == (True, False)


def test_checkpoint_damage_restore_fork(client: Any, sprite: Any, pilotd: Pilotd) -> None:
    sprite.run("sh", "-c", "echo precious > ~/keep; sync", check=True)
    kinds = [message.type for message in sprite.create_checkpoint("before the damage")]
    assert kinds[-1] == "complete"
    points = {point.id: point for point in sprite.list_checkpoints()}
    assert "v1" in points
    assert points["v1"].comment == "before the damage"

    sprite.run(
        "sh", "-c", "rm -r ~/keep /home/sprite/.bashrc; sudo rm -rf /usr/share || true; echo wrong > ~/new", check=True
    )
    assert [message.type for message in sprite.restore_checkpoint("v1")][-1] == "complete"
    assert sprite.run("cat", "/home/sprite/keep", capture_output=True).stdout == b"precious\n"
    assert sprite.run("test", "-e", "/home/sprite/new").returncode == 1
    assert sprite.run("test", "-d", "/usr/share").returncode == 0

    answer = httpx.post(
        f"{pilotd.url}/v1/sprites",
        headers={"Authorization": f"Bearer {pilotd.token()}"},
        json={"name": "child", "from": {"sprite": "walker"}},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    child = client.sprite("child")
    assert child.run("cat", "/home/sprite/keep", capture_output=True).stdout == b"precious\n"
    child.run("sh", "-c", "echo child > ~/keep", check=True)
    sprite.run("sh", "-c", "echo parent > ~/keep", check=True)
    assert child.run("cat", "/home/sprite/keep", capture_output=True).stdout == b"child\n"
    assert sprite.run("cat", "/home/sprite/keep", capture_output=True).stdout == b"parent\n"
    child.destroy()
    with pytest.raises(NotFoundError):
        client.get_sprite("child")


def test_ctrl_backslash_leaves_a_command_to_run_on(sprite: Any, pilotd: Pilotd, tmp_path: Path) -> None:
    first = Typist(pilotd, tmp_path, "exec", "-s", "walker", "--", "sh", "-c", "echo ready; exec cat")
    first.until(b"ready\r\n")
    first.type(b"hello\n")
    first.until(b"hello\r\nhello\r\n")  # its terminal's echo, and cat
    first.type(b"\x1c")
    assert first.end() == 0
    told = re.search(rb"detached; it runs on: (sprite attach -s walker (\d+))", first.seen)
    assert told, first.seen
    assert told[2].decode() in {session.id for session in sprite.list_sessions()}
    second = Typist(pilotd, tmp_path, *told[1].decode().split()[1:])
    second.until(b"hello\r\nhello\r\n")
    second.type(b"\x04")
    assert second.end() == 0


def _breaking_off(port: int, after_bytes: int) -> tuple[int, list[int]]:
    """A port that leads to that one, and closes the first connections in the middle of what they send; how much each of
    them had sent."""
    listener, sent = socket.create_server(("127.0.0.1", 0)), list[int]()

    def serve() -> None:
        for bound in (after_bytes, after_bytes, None, None, None, None, None, None):
            taken, _ = listener.accept()
            with taken, socket.create_connection(("127.0.0.1", port)) as made:
                back = threading.Thread(target=_pass, args=(made, taken, None), daemon=True)
                back.start()
                sent.append(_pass(taken, made, bound))
                if bound is None:
                    back.join(60)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1]), sent


def _pass(source: socket.socket, target: socket.socket, most_bytes: int | None) -> int:
    done = 0
    with contextlib.suppress(OSError):
        while (most_bytes is None or done < most_bytes) and (data := source.recv(65536)):
            target.sendall(data)
            done += len(data)
        if most_bytes is None:
            target.shutdown(socket.SHUT_WR)
    return done


def test_an_upload_goes_on_where_its_connection_broke(sprite: Any, pilotd: Pilotd, tmp_path: Path) -> None:
    data = os.urandom(24 << 20)
    (tmp_path / "large").write_bytes(data)
    port, sent = _breaking_off(pilotd.port, 4 << 20)
    environment = os.environ | {
        "SPRITES_API_URL": f"http://127.0.0.1:{port}", "SPRITE_TOKEN": pilotd.token(), "HOME": str(tmp_path)
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "pilot.client.main",
        "file",
        "push",
        "-s",
        "walker",
        str(tmp_path / "large"),
        "large",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "the connection broke; on from" in done.stderr) == (0, True), done.stderr
    digest = sprite.run("sha256sum", "/home/sprite/large", capture_output=True).stdout.split()[0].decode()
    assert digest == hashlib.sha256(data).hexdigest()
    assert sum(sent) < len(data) + (12 << 20), "what had come is not sent again"
    sprite.run("rm", "/home/sprite/large", check=True)


def test_the_difference_between_a_checkpoint_and_now(client: Any, sprite: Any, pilotd: Pilotd) -> None:
    sprite.run("sh", "-c", "mkdir ~/diff; cd ~/diff; echo a > same; echo b > rewritten; echo c > gone", check=True)
    point = list(sprite.create_checkpoint("diff"))
    assert point[-1].type == "complete"
    id = sprite.list_checkpoints()[1].id
    rewritten = "touch -r rewritten /tmp/stamp; echo d > rewritten; touch -r /tmp/stamp rewritten"  # as old, as large
    sprite.run("sh", "-c", f"cd ~/diff; {rewritten}; rm gone; echo e > new", check=True)
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    answer = httpx.get(f"{pilotd.url}/v1/sprites/walker/checkpoints/{id}/diff", headers=headers, timeout=300)
    lines = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
    found = [(line["change"], line["path"]) for line in lines[:-1] if line["path"].startswith("/home/sprite/diff")]
    assert found == [
        ("deleted", "/home/sprite/diff/gone"),
        ("added", "/home/sprite/diff/new"),
        ("changed", "/home/sprite/diff/rewritten"),
    ], lines
    assert len(lines) < 50, "and nothing that nobody touched"
    assert {volume.name for volume in (pilotd.state / "volumes").iterdir() if "look-" in volume.name} == set()


def test_a_failing_command_raises_for_check(sprite: Any) -> None:
    with pytest.raises(ExecError):
        sprite.run("false", check=True)


def test_destroy_leaves_nothing(client: Any, pilotd: Pilotd) -> None:
    """Destroying one sprite gives back all that making it took; what was asked of it stays in the audit log."""
    client.create_sprite("warmup").destroy()
    before = leftovers.observe()
    files = _files(pilotd.state)
    passing = client.create_sprite("passing")
    passing.run("sh", "-c", "sleep 1000 & echo > ~/x", check=True)
    list(passing.create_checkpoint("x"))
    leftovers.note()
    passing.destroy()
    assert leftovers.left_since(before) == {}
    assert {path for path in _files(pilotd.state) - files if not path.startswith("audit/")} == set()


def _files(state: Path) -> set[str]:
    return {str(path.relative_to(state)) for path in state.rglob("*")}
