"""A program finds the same commands and may open as many files, whichever way it was started in a sprite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

WAYS = {
    "a command": ["sh", "-c"],
    "a login shell": ["bash", "-lc"],
    "a shell that sh is": ["sh", "-lc"],
    "sudo": ["sudo", "sh", "-c"],
    "sudo, a login": ["sudo", "-i", "sh", "-c"],
    "sudo to oneself": ["sudo", "-iu", "sprite", "sh", "-c"],
    "su": ["sudo", "su", "-s", "/bin/sh", "-c"],
    "su, a login": ["sudo", "su", "-", "-c"],
    "su to another": ["sudo", "su", "sprite", "-c"],
    "su to another, a login": ["sudo", "su", "-", "sprite", "-c"],
    # What sshd(8) and cron(8) give, too: of no environment but what PAM reads.
    "nothing but PAM": ["sudo", "env", "-i", "/usr/bin/su", "sprite", "-s", "/bin/sh", "-c"],
}
FOUND = {f"{place}{kind}" for place in ("/usr/local/", "/usr/", "/") for kind in ("bin", "sbin")} | {"/.sprite/bin"}


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("ways")
        yield made
        made.destroy()


def _says(sprite: Any, way: str, command: str) -> list[str]:
    done = sprite.run(*WAYS[way], command, capture_output=True)
    assert done.returncode == 0, done.stderr
    return bytes(done.stdout).decode().split()


@pytest.mark.parametrize("way", WAYS)
def test_every_directory_of_commands_is_looked_in(sprite: Any, way: str) -> None:
    [path] = _says(sprite, way, "printenv PATH")
    assert set(path.split(":")) >= FOUND


@pytest.mark.parametrize("way", WAYS)
def test_as_many_files_may_be_open(sprite: Any, way: str) -> None:
    limits = "ulimit -Sn; ulimit -Hn"
    assert _says(sprite, way, limits) == _says(sprite, "a command", limits)
