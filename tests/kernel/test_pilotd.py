"""pilotd as a process on the real kernel: what it leaves, what it finds again, what it says."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest
from tests.faults import chaos
from tests.support import leftovers, store
from tests.support.pilotd import CACHE, Pilotd, free_port

from pilot import errors
from pilot.host import volumed
from pilot.volume.client import Volume, VolumeClient

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


class Tidy(Pilotd):
    """A pilotd that stops everything when it ends."""

    def __init__(self, state: pathlib.Path) -> None:
        super().__init__(state)
        self._options.append("--stop-machines-on-exit")


def test_stop_machines_on_exit_leaves_nothing_and_loses_nothing(tmp_path: pathlib.Path) -> None:
    before = leftovers.observe()
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    with pilotd.client() as client:
        client.create_sprite("stays").run("sh", "-c", "echo kept > ~/file", check=True)
        list(client.sprite("stays").create_checkpoint("c"))
        leftovers.note()
    pilotd.stop()
    assert leftovers.left_since(before) == {}

    pilotd.start()
    with pilotd.client() as client:
        sprite = client.get_sprite("stays")
        assert sprite.status == "cold"
        assert sprite.run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"kept\n"
        assert [point.id for point in sprite.list_checkpoints()] == ["Current", "v1"]
        leftovers.note()
        sprite.destroy()
    pilotd.stop()
    assert leftovers.left_since(before) == {}


def test_volumed_that_dies_is_started_again(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    with pilotd.client() as client:
        client.create_sprite("first")
        os.kill(_volumed(pilotd.state), signal.SIGKILL)
        client.create_sprite("second")
        assert client.sprite("second").run("true").returncode == 0
        assert client.sprite("first").run("true").returncode == 0
    pilotd.stop()


def test_what_serves_disks_is_in_no_cgroup_of_its_writers(tmp_path: pathlib.Path) -> None:
    """The zygote too, which volumed forks first, and so every worker."""
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    places = [
        pathlib.Path(f"/proc/{pid}/cgroup").read_text() for pid in (_volumed(pilotd.state), _zygote(pilotd.state))
    ]
    pilotd.stop()
    assert places[0] == places[1]
    assert all(line.endswith("/volumed") for line in places[0].splitlines() if ":memory:" in line)
    assert "/volumed" in places[0]


def _zygote(state: pathlib.Path) -> int:
    children = pathlib.Path(f"/proc/{_volumed(state)}/task/{_volumed(state)}/children").read_text().split()
    # The oldest: what it has just forked has its name for a moment.
    return min({int(pid) for pid in children} & chaos.processes("zygote"))


def _volumed(state: pathlib.Path) -> int:
    pid = volumed.Volumed(str(state), "unused").find()
    assert pid is not None
    return pid


def test_two_on_one_state_directory(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    second = [
        str(pathlib.Path(sys.executable).with_name("pilotd")), "serve", "--state-dir", str(tmp_path / "state"),
        "--listen", f"127.0.0.1:{free_port()}", "--cache-dir", str(CACHE), "--image", "minimal",
    ]  # fmt: skip
    done = subprocess.run(second, capture_output=True, timeout=60, check=False)
    pilotd.stop()
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].endswith("another pilotd serves it")


def test_a_port_that_is_in_use_is_one_plain_line(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program, state = pathlib.Path(sys.executable).with_name("pilotd"), tmp_path / "state"
        command = [str(program), "serve", "--state-dir", str(state), "--listen", f"127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    why = (
        f"pilotd: listen on 127.0.0.1 port {port}: address already in use (choose another address: --listen HOST:PORT)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{why}\n")


def test_a_zygote_that_dies_is_replaced_with_volumed(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    with pilotd.client() as client:
        sprite = client.create_sprite("first")
        sprite.run("sh", "-c", "echo kept > ~/file; sync", check=True)
        os.kill(_zygote(pilotd.state), signal.SIGKILL)
        client.create_sprite("second")
        assert [message.type for message in sprite.create_checkpoint("c")][-1] == "complete"
        assert [message.type for message in sprite.restore_checkpoint("v1")][-1] == "complete"
        assert sprite.run("cat", "file", capture_output=True).stdout == b"kept\n"
    pilotd.stop()


def test_disks_are_in_the_store_too(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.store = f"file://{tmp_path}/store"
    pilotd.start()
    volumes = VolumeClient(str(pilotd.state / "volumed.sock"))
    with pilotd.client() as client:
        sprite = client.create_sprite("kept")
        sprite.run("sh", "-c", "echo kept > ~/file; sync", check=True)
        assert [message.type for message in sprite.create_checkpoint("c")][-1] == "complete"
        volume = store.wait_for(lambda: _durable(volumes))
        assert volume.url is not None
        assert volume.url.startswith(pilotd.store)
        objects = tmp_path / "store"
        assert [path for path in objects.rglob(f"*{volume.volume}*") if path.is_file() or any(path.iterdir())]
        sprite.run("sh", "-c", "echo later > ~/file; sync", check=True)
        assert [message.type for message in sprite.restore_checkpoint("v1")][-1] == "complete"
        assert sprite.run("cat", "file", capture_output=True).stdout == b"kept\n"
        sprite.destroy()
        assert client.list_all_sprites() == []
    assert [found.volume for found in volumes.list() if not found.sealed] == []
    pilotd.stop()


def _durable(volumes: VolumeClient) -> Volume | None:
    """The sprite's volume, once something of it is in the store."""
    (found,) = (volume for volume in volumes.list() if not volume.sealed)
    return found if volumes.stat(found.volume).durable_at is not None else None


def test_a_volumed_with_another_store_is_refused(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    assert volumed.Volumed(str(pilotd.state), "unused").ensure() == _volumed(pilotd.state)
    with pytest.raises(errors.StateError, match="another store"):
        volumed.Volumed(str(pilotd.state), "unused", ["--store=file:///elsewhere"]).ensure()
    pilotd.stop()


def test_a_store_that_came_later_and_is_shared(tmp_path: pathlib.Path) -> None:
    first, second = Tidy(tmp_path / "first"), Tidy(tmp_path / "second")
    first.start()
    with first.client() as client:
        client.create_sprite("old").run("sh", "-c", "echo kept > ~/file; sync", check=True)
    first.stop()
    first.store = second.store = f"file://{tmp_path}/store"
    second.start()
    first.start()
    volumes = VolumeClient(str(first.state / "volumed.sock"))
    with first.client() as client:
        assert client.sprite("old").run("cat", "file", capture_output=True).stdout == b"kept\n"
        client.sprite("old").destroy()
        client.create_sprite("new").run("sh", "-c", "echo new > ~/file; sync", check=True)
        store.wait_for(lambda: _durable(volumes))
        (base,) = (volume for volume in volumes.list() if volume.sealed)
        assert base.url is not None
    with second.client() as client:
        client.create_sprite("other").run("true", check=True)
    first.stop()
    second.stop()

    first.store = None
    first.start()
    with first.client() as client:
        assert client.sprite("new").run("cat", "file", capture_output=True).stdout == b"new\n"
        client.create_sprite("here-only").run("true", check=True)
    first.stop()


def test_commands_that_cannot_be_run_end_as_in_a_shell(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    environment = os.environ | {"SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token(), "HOME": str(tmp_path)}

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pilot.client.main", "exec", "-s", "web", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr

    with pilotd.client() as client:
        client.create_sprite("web").run("sh", "-c", "echo '#!/not/there' > ~/script; chmod +x ~/script", check=True)
        assert run("nonesuch") == (127, 'sprite: exec: "nonesuch": executable file not found in $PATH\n')
        assert run("/not/there") == (127, 'sprite: exec: "/not/there": stat /not/there: no such file or directory\n')
        why = "(or what runs it: the interpreter of a script, the loader of a program)"
        assert run("./script") == (127, f"sprite: exec ./script: no such file or directory {why}\n")
        assert run("/etc/passwd") == (126, 'sprite: exec: "/etc/passwd": permission denied\n')
        assert run("/tmp") == (126, 'sprite: exec: "/tmp": is a directory\n')
        code, said = run("--dir", "/not/there", "true")
        assert (code, "/not/there" in said, "step" in said) == (1, True, False)
    pilotd.stop()


def test_a_refused_upgrade_is_no_pipe_to_the_machine(tmp_path: pathlib.Path) -> None:
    pilotd = Tidy(tmp_path / "state")
    pilotd.start()
    with pilotd.client() as client:
        sprite = client.create_sprite("web")
        sprite.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $! > ~/pid", check=True)
        head = (
            "GET /v1/sprites/web/exec?cmd=true&stdin=bogus HTTP/1.1\r\nHost: pilotd\r\n"
            f"Authorization: Bearer {pilotd.token()}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", pilotd.port), 60) as stream:
            stream.sendall(head.encode())
            answer = stream.recv(12)
            for request in ("GET /v1/status", "DELETE /v1/world", "POST /v1/shutdown"):
                with contextlib.suppress(ConnectionError):  # closed by now, as it has to be
                    stream.sendall(f"{request} HTTP/1.1\r\nHost: machine\r\n\r\n".encode())
            with contextlib.suppress(ConnectionError):
                while piece := stream.recv(65536):
                    answer += piece
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert sprite.run("sh", "-c", "kill -0 $(cat ~/pid) && echo lives", capture_output=True).stdout == b"lives\n"
    pilotd.stop()
