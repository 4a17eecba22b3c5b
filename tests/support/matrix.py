"""The matrix that an official client of Sprites has to pass, row by row, with sprites-py as it is published.

A row is a function of a sprite; what it raises is a fault of ours. `tests/kernel/test_sprites_matrix.py` asks them of
containers, `tests/guest/test_sprites_matrix_vm.py` of virtual machines. `tests/outside/matrix.mjs` has the same rows
for @fly/sprites. What a client has no call for (sprites-py: proxies and watches) is not here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import hashlib
import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from sprites import ExecError, SpritesClient, services
from sprites.exceptions import (
    AuthenticationError,
    DirectoryNotEmptyError,
    FileNotFoundError_,
    IsADirectoryError_,
    NotFoundError,
    SpriteError,
)
from sprites.policy import get_network_policy, update_network_policy
from sprites.session import kill_session
from sprites.types import ListOptions, NetworkPolicy, PolicyRule, URLSettings
from sprites.websocket import WSCommand

from .pilotd import Pilotd

WAIT_S = 120.0
BIG_BYTES, STDIN_BYTES = 50 << 20, 5 << 20
NAMES = ("plain", "with space", "ünï-çødé-日本", "percent%20and?query#hash", "quote'\"and\\slash", "new\nline")


@dataclasses.dataclass(frozen=True)
class Bed:
    """What a row is asked of. `sprite` is shared by all rows: a row leaves nothing in it that another could meet."""

    pilotd: Pilotd
    client: Any
    sprite: Any


Row = Callable[[Bed], None]
ROWS: dict[str, Row] = {}


def _row(row: Row) -> Row:
    ROWS[row.__name__] = row
    return row


def until(condition: Callable[[], Any], what: str) -> Any:
    """What `condition` says as soon as it says anything."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def said(sprite: Any, *command: str, **rest: Any) -> str:
    """The stdout of a command that has to succeed."""
    done = sprite.run(*command, capture_output=True, check=True, timeout=WAIT_S, **rest)
    return bytes(done.stdout).decode()


# ---- sprites


@_row
def sprites_are_created_got_updated_and_deleted(bed: Bed) -> None:
    made = bed.client.create_sprite("row", labels=["a"])
    assert (made.name, made.status, list(made.labels)) == ("row", "running", ["a"])
    assert bed.client.get_sprite("row").id == made.id
    bed.client.update_sprite("row", labels=["b", "c"])
    bed.client.update_url_settings("row", URLSettings(auth="public"))
    found = bed.client.get_sprite("row")
    assert (list(found.labels), found.url_settings.auth) == (["b", "c"], "public")
    bed.client.update_sprite("row", labels=[])
    assert list(bed.client.get_sprite("row").labels) == []
    bed.client.destroy_sprite("row")
    with pytest.raises(NotFoundError):
        bed.client.get_sprite("row")


@_row
def lists_have_pages_and_prefixes(bed: Bed) -> None:
    names = [f"page-{letter}" for letter in "abc"]
    for name in names:
        bed.client.create_sprite(name)
    first = bed.client.list_sprites(ListOptions(prefix="page-", max_results=2))
    assert ([each.name for each in first.sprites], first.has_more) == (names[:2], True)
    options = ListOptions(prefix="page-", max_results=2, continuation_token=first.next_continuation_token)
    rest = bed.client.list_sprites(options)
    assert ([each.name for each in rest.sprites], rest.has_more) == (names[2:], False)
    assert {*names, bed.sprite.name} <= {each.name for each in bed.client.list_all_sprites()}
    assert [each.name for each in bed.client.list_all_sprites(prefix="page-")] == names
    for name in names:
        bed.client.destroy_sprite(name)


@_row
def refusals_are_the_clients_own_errors(bed: Bed) -> None:
    with pytest.raises(SpriteError, match="409"):
        bed.client.create_sprite(bed.sprite.name)
    with pytest.raises(NotFoundError):
        bed.client.get_sprite("nobody")
    with pytest.raises(NotFoundError):
        bed.client.destroy_sprite("nobody")
    with pytest.raises(SpriteError, match="sprite not found"):
        bed.client.sprite("nobody").run("true")
    with SpritesClient("acme/1/2/wrong", base_url=bed.pilotd.url) as stranger:
        with pytest.raises(AuthenticationError):
            stranger.get_sprite(bed.sprite.name)
        with pytest.raises(SpriteError, match="authentication failed"):
            stranger.sprite(bed.sprite.name).run("true")


# ---- commands


@_row
def stdout_and_stderr_are_apart(bed: Bed) -> None:
    done = bed.sprite.run("sh", "-c", "echo out; echo err >&2", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")


@_row
def exit_codes_are_told(bed: Bed) -> None:
    assert [bed.sprite.run("sh", "-c", f"exit {code}").returncode for code in (0, 1, 42, 255)] == [0, 1, 42, 255]
    with pytest.raises(ExecError) as caught:
        bed.sprite.run("sh", "-c", "echo why >&2; exit 42", capture_output=True, check=True)
    assert (caught.value.exit_code(), bytes(caught.value.stderr)) == (42, b"why\n")


@_row
def environment_and_directory_are_the_callers(bed: Bed) -> None:
    assert (
        said(bed.sprite, "sh", "-c", 'echo "$A|$B"; pwd', env={"A": "1 2", "B": "ü=&"}, cwd="/tmp") == "1 2|ü=&\n/tmp\n"
    )
    assert said(bed.sprite, "pwd") == "/home/sprite\n"


@_row
def much_output_is_whole(bed: Bed) -> None:
    """50 MB, which others cut."""
    script = f"head -c {BIG_BYTES} /dev/zero | tr '\\0' 'x'"
    done = bed.sprite.run("sh", "-c", script, capture_output=True, timeout=WAIT_S * 3)
    assert (done.returncode, len(done.stdout), set(done.stdout)) == (0, BIG_BYTES, {ord("x")})


@_row
def twenty_quick_commands_lose_nothing(bed: Bed) -> None:
    assert [said(bed.sprite, "echo", str(number)) for number in range(20)] == [f"{n}\n" for n in range(20)]


@_row
def ten_commands_at_once(bed: Bed) -> None:
    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        found = list(threads.map(lambda number: said(bed.sprite, "sh", "-c", f"sleep 0.2; echo {number}"), range(10)))
    assert found == [f"{number}\n" for number in range(10)]


@_row
def stdin_is_taken_to_its_end(bed: Bed) -> None:
    data = hashlib.shake_256(b"stdin").digest(STDIN_BYTES)
    command = bed.sprite.command("sha256sum", stdin=io.BytesIO(data), timeout=WAIT_S)
    assert command.output().split()[0].decode() == hashlib.sha256(data).hexdigest()


# ---- terminals


async def _has_said(terminal: WSCommand, word: bytes) -> None:
    while word not in terminal.get_stdout():  # noqa: ASYNC110 - the client has no event for it
        await asyncio.sleep(0.01)


def _on_terminal(sprite: Any, script: str, act: Callable[[WSCommand], Any]) -> tuple[int, str]:
    """What the terminal of `script` said, `act` having been awaited once it said `ready`."""

    async def run() -> tuple[int, str]:
        command = sprite.command("bash", "-c", script, tty=True, tty_rows=30, tty_cols=100)
        terminal = WSCommand(command)
        await terminal.start()
        async with asyncio.timeout(WAIT_S):
            await _has_said(terminal, b"ready")
            await act(terminal)
            code = await terminal.wait()
        await terminal.close()
        return code, terminal.get_stdout().decode()

    return asyncio.run(run())


@_row
def a_terminal_has_its_size_from_the_beginning(bed: Bed) -> None:
    done = bed.sprite.run("stty", "size", tty=True, tty_rows=30, tty_cols=100, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"30 100\r\n")
    assert bed.sprite.run("tty", tty=True, capture_output=True).stdout.startswith(b"/dev/")
    assert b"not a tty" in bed.sprite.run("tty", capture_output=True).stdout


@_row
def a_terminal_is_resized(bed: Bed) -> None:
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    code, seen = _on_terminal(bed.sprite, script, lambda terminal: terminal.resize(132, 43))
    assert (code, "43 132" in seen) == (0, True)


@_row
def a_terminal_tells_its_exit_code(bed: Bed) -> None:
    assert [bed.sprite.run("sh", "-c", f"exit {code}", tty=True).returncode for code in (0, 7)] == [0, 7]


@_row
def ctrl_c_interrupts(bed: Bed) -> None:
    code, seen = _on_terminal(
        bed.sprite, "echo ready; exec sleep 1000", lambda terminal: terminal._write_stdin(b"\x03")
    )
    assert (code, "^C" in seen) == (130, True)


# ---- sessions


@_row
def a_session_is_left_listed_attached_to_and_killed(bed: Bed) -> None:
    async def leave() -> None:
        command = bed.sprite.command("bash", "-c", "echo before; exec sleep 4711", tty=True)
        terminal = WSCommand(command)
        await terminal.start()
        async with asyncio.timeout(WAIT_S):
            await _has_said(terminal, b"before")
        await terminal.close()

    asyncio.run(leave())
    (session,) = [each for each in bed.sprite.list_sessions() if "4711" in each.command]
    assert session.tty

    attached = bed.sprite.attach_session(session.id, timeout=WAIT_S)
    seen = io.BytesIO()
    attached.stdout = seen
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        ended = threads.submit(attached._run_sync)
        until(lambda: b"before" in seen.getvalue(), "what was said before is told again")
        story = [message.type for message in kill_session(bed.sprite, session.id)]
        assert ended.result(WAIT_S) == 143
    assert (story[0], story[-1]) == ("signal", "complete")
    assert not [each for each in bed.sprite.list_sessions() if each.id == session.id]


@_row
def a_session_that_is_not_there_is_not_found(bed: Bed) -> None:
    with pytest.raises(SpriteError, match="session not found"):
        bed.sprite.attach_session("999999").run()


# ---- files


@_row
def every_call_on_files(bed: Bed) -> None:
    root = bed.sprite.filesystem("/home/sprite") / "files"
    file, blob = root / "deep" / "a.bin", bytes(range(256)) * 1000
    file.write_bytes(blob, mode=0o640)
    assert (file.read_bytes(), file.stat().size, file.stat().mode.lstrip("0")) == (blob, len(blob), "640")
    (root / "t.txt").write_text("grüße\n")
    assert (root / "t.txt").read_text() == "grüße\n"
    (root / "sub").mkdir(parents=True)
    assert sorted(root.listdir()) == ["deep", "sub", "t.txt"]
    assert sorted(path.name for path in root.iterdir()) == ["deep", "sub", "t.txt"]
    file.chmod(0o755)
    assert file.stat().mode.lstrip("0") == "755"
    file.copy_to(root / "b.bin")
    moved = (root / "b.bin").rename(root / "c.bin")
    assert (moved.read_bytes(), (root / "b.bin").exists()) == (blob, False)
    (root / "touched").touch()
    assert (root / "touched").stat().size == 0
    moved.unlink()
    (root / "sub").rmdir()
    with pytest.raises(DirectoryNotEmptyError):
        (root / "deep").rmdir()
    with pytest.raises(IsADirectoryError_):
        (root / "deep").read_bytes()
    root.rmtree()
    with pytest.raises(FileNotFoundError_):
        (root / "t.txt").read_bytes()
    assert not (root / "t.txt").exists()
    (root / "t.txt").unlink(missing_ok=True)


@_row
def names_of_any_text(bed: Bed) -> None:
    root = bed.sprite.filesystem("/home/sprite") / "names"
    for name in NAMES:
        (root / name).write_text(name)
    assert sorted(root.listdir()) == sorted(NAMES)
    assert [(root / name).read_text() for name in NAMES] == list(NAMES)
    assert said(bed.sprite, "sh", "-c", "ls names | wc -l") == f"{len(NAMES) + 1}\n"  # one has two lines
    root.rmtree()


@_row
def a_large_file_both_ways(bed: Bed) -> None:
    """64 MB here; `make outside-tests` has 200."""
    large_file(bed, 64 << 20)


def large_file(bed: Bed, size_bytes: int) -> None:
    """A file of so many bytes is written, looked at inside, and read again."""
    data = hashlib.shake_256(b"file").digest(1 << 20) * (size_bytes >> 20)
    path = bed.sprite.filesystem("/home/sprite") / "large"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert said(bed.sprite, "sha256sum", "/home/sprite/large").split()[0] == digest
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    path.unlink()


# ---- checkpoints


@_row
def checkpoints_are_created_listed_got_and_restored(bed: Bed) -> None:
    keep = bed.sprite.filesystem("/home/sprite") / "keep"
    keep.write_text("precious")
    messages = list(bed.sprite.create_checkpoint("of the matrix"))
    assert messages[-1].type == "complete"
    points = [each for each in bed.sprite.list_checkpoints() if each.comment == "of the matrix"]
    assert len(points) == 1
    assert bed.sprite.get_checkpoint(points[0].id).create_time == points[0].create_time
    keep.write_text("damaged")
    assert list(bed.sprite.restore_checkpoint(points[0].id))[-1].type == "complete"
    assert keep.read_text() == "precious"


@_row
def a_checkpoint_that_is_not_there_is_not_found(bed: Bed) -> None:
    for call in (bed.sprite.get_checkpoint, lambda point: list(bed.sprite.restore_checkpoint(point))):
        with pytest.raises(SpriteError, match=r"404|not found"):
            call("v4711")


# ---- services


def _status(bed: Bed, name: str) -> str:
    state = services.get_service(bed.sprite, name).state
    assert state is not None
    return state.status


@_row
def a_services_whole_life(bed: Bed) -> None:
    script = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done"
    events = list(services.create_service(bed.sprite, "web", "sh", ["-c", script], duration=1.0, http_port=9000))

    def told() -> bool:
        """Of this start, or (a machine may take longer than we listen) of another one."""
        if any(each.type == "stdout" and "up" in (each.data or "") for each in events):
            return events[0].type == "started"
        list(services.stop_service(bed.sprite, "web", timeout=5.0))
        events[:] = services.start_service(bed.sprite, "web", duration=5.0)
        return False

    until(told, "that it has started is told, and what it says")
    assert [each.name for each in services.list_services(bed.sprite)] == ["web"]
    until(lambda: _status(bed, "web") == "running", "it runs")
    services.signal_service(bed.sprite, "web", "SIGUSR1")
    assert list(services.stop_service(bed.sprite, "web", timeout=5.0))[-1].type == "complete"
    assert _status(bed, "web") == "stopped"
    assert list(services.start_service(bed.sprite, "web", duration=0.1))[-1].type == "complete"
    until(lambda: _status(bed, "web") == "running", "it runs again")
    with pytest.raises(SpriteError, match="Service conflict"):
        services.create_service(bed.sprite, "other", "sleep", ["1"], http_port=9001)
    with pytest.raises(SpriteError, match="Invalid signal"):
        services.signal_service(bed.sprite, "web", "SIGNONSENSE")
    services.delete_service(bed.sprite, "web")
    with pytest.raises(SpriteError, match="not found"):
        services.get_service(bed.sprite, "web")


# ---- the network's policy; that it is in force is `make outside-tests`' and `tests/kernel/test_network_sprite.py`'s


@_row
def the_networks_policy_is_set_and_told(bed: Bed) -> None:
    rules = [PolicyRule(domain="example.com", action="allow"), PolicyRule(domain="*", action="deny")]
    update_network_policy(bed.sprite, NetworkPolicy(rules=rules))
    assert get_network_policy(bed.sprite).rules == rules
    with pytest.raises(SpriteError, match=r"400|Invalid policy"):
        update_network_policy(bed.sprite, NetworkPolicy(rules=[PolicyRule(domain="a b", action="allow")]))
    update_network_policy(bed.sprite, NetworkPolicy(rules=[]))
    assert get_network_policy(bed.sprite).rules == []


# ---- lives


@_row
def a_cold_sprite_is_woken_within_the_upgrade(bed: Bed) -> None:
    """sprites-py gives an upgrade ten seconds."""
    bed.sprite.filesystem("/home/sprite").path("slept").write_text("here")
    stop = f"{bed.pilotd.url}/v1/sprites/{bed.sprite.name}/stop"
    assert bed.client.http_client.post(stop).status_code == 200
    assert bed.client.get_sprite(bed.sprite.name).status == "cold"
    assert said(bed.sprite, "cat", "/home/sprite/slept") == "here"


@_row
def control_mode_falls_back(bed: Bed) -> None:
    with SpritesClient(bed.pilotd.token(), base_url=bed.pilotd.url, control_mode=True) as client:
        assert said(client.sprite(bed.sprite.name), "echo", "direct") == "direct\n"


def silent(bed: Bed, seconds: int) -> None:
    """A command that says nothing for so long, and then something; not of every run (`tests/outside`)."""
    assert said(bed.sprite, "sh", "-c", f"sleep {seconds}; echo after") == "after\n"
