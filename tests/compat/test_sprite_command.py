"""The `sprite` command as people run it: a process, against pilotd's HTTP side on fakes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.host import HostUnderTest

SOURCE = pathlib.Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


class Sprite:
    """Runs the command with a home of its own."""

    def __init__(self, host: HostUnderTest, home: pathlib.Path) -> None:
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "SPRITES_API_URL": host.url,
            "SPRITE_TOKEN": host.token,
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, stdin: bytes | int = subprocess.DEVNULL) -> tuple[int, str, str]:
        given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        done = subprocess.run(
            [sys.executable, "-m", "pilot.client.main", *words],
            env=self.environment,
            capture_output=True,
            timeout=60,
            check=False,
            **given,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def sprite(host: HostUnderTest, tmp_path: pathlib.Path) -> Sprite:
    return Sprite(host, tmp_path)


def test_a_sprite_is_made_used_saved_restored_forked_and_destroyed(sprite: Sprite) -> None:
    assert sprite("create", "web")[0] == 0
    code, out, _ = sprite("list")
    assert (code, "web" in out, "running" in out) == (0, True, True)
    assert sprite("exec", "-s", "web", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert sprite("exec", "-s", "web", "tr", "a-z", "A-Z", stdin=b"hello")[:2] == (0, "HELLO")
    code, out, err = sprite("exec", "-t", "-s", "web", "sh", "-c", "echo out; exit 7")
    assert (code, out.strip(), err) == (7, "out", "")
    assert sprite("exec", "-s", "web", "sh", "-c", "echo one > file")[0] == 0
    assert sprite("checkpoint", "create", "-s", "web", "-m", "first")[0] == 0
    assert "first" in sprite("checkpoint", "list", "-s", "web")[1]
    assert sprite("exec", "-s", "web", "sh", "-c", "echo two > file")[0] == 0
    assert sprite("fork", "web", "old", "--checkpoint", "v1")[0] == 0
    assert sprite("exec", "-s", "old", "cat", "file") == (0, "one\n", "")
    assert sprite("checkpoint", "restore", "-s", "web", "v1")[0] == 0
    assert sprite("exec", "-s", "web", "cat", "file") == (0, "one\n", "")
    assert sprite("url", "update", "-s", "web", "--auth", "public")[0] == 0
    assert "(public)" in sprite("url", "show", "-s", "web")[1]
    assert sprite("stop", "web")[0] == 0
    assert sprite("destroy", "-f", "web")[0] == 0
    assert sprite("destroy", "-f", "old")[0] == 0
    assert "web" not in sprite("list")[1]


def test_a_disk_tells_its_url_and_a_sprite_comes_back_by_it(host: HostUnderTest, sprite: Sprite) -> None:
    url = "s3://bucket/prefix/vol/0123456789abcdef"
    assert sprite("create", "lost")[0] == 0
    assert sprite("disk", "lost") == (0, "on this host alone\n", "")
    code, _, said = sprite("create", "back", "--from", url)
    assert (code, "no store" in said) == (1, True)
    host.volumes.stored = {url: []}
    assert sprite("create", "back", "--from", url)[0] == 0
    code, _, said = sprite("create", "twice", "--from", url)
    assert (code, "another sprite" in said) == (1, True)
    assert sprite("destroy", "-f", "back")[0] == 0
    assert sprite("destroy", "-f", "lost")[0] == 0


def test_stdin_from_a_file_larger_than_any_buffer(sprite: Sprite, tmp_path: pathlib.Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    assert sprite("create", "feeds")[0] == 0
    with big.open("rb") as file:
        assert sprite("exec", "-s", "feeds", "wc", "-c", stdin=file.fileno())[:2] == (0, "3000000\n")
    assert sprite("destroy", "-f", "feeds")[0] == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("destroy", "-f", "nobody"), "sprite: sprite not found\n"),
        (("exec", "-s", "nobody", "true"), "sprite: sprite not found\n"),
        (("create", "Not-A-Name"), "sprite: invalid sprite name 'Not-A-Name' (use 1 to 63 of"),
    ],
)
def test_errors_are_told_once_in_plain_words(sprite: Sprite, words: tuple[str, ...], text: str) -> None:
    code, out, err = sprite(*words)
    assert (code, out) == (1, "")
    assert err.startswith(text)


def test_login_is_remembered_for_its_owner_alone(sprite: Sprite, host: HostUnderTest, tmp_path: pathlib.Path) -> None:
    del sprite.environment["SPRITE_TOKEN"], sprite.environment["SPRITES_API_URL"]
    assert sprite("list")[2].startswith("sprite: no token")
    assert sprite("login", host.url, "--token", "no/such/token/x")[2].startswith("sprite: authentication failed")
    assert sprite("login", host.url, "--token", host.token)[0] == 0
    saved = tmp_path / ".config/pilot/sprite.json"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert sprite("list")[0] == 0


def test_no_server(sprite: Sprite) -> None:
    sprite.environment["SPRITES_API_URL"] = "http://127.0.0.1:1"
    code, _, err = sprite("list")
    assert code == 1
    assert err.startswith("sprite: reach http://127.0.0.1:1: ")
