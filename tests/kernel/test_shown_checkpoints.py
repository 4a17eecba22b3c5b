"""/.sprite/checkpoints in a sprite: what was saved, read from inside, and nothing more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support import agents
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

PLACE, SAVED = "/.sprite/checkpoints", "/.sprite/saved"


def _sh(sprite: Any, words: str) -> tuple[int, str]:
    done = sprite.run("sh", "-c", f"{{ {words}\n}} 2>&1", capture_output=True)
    return done.returncode, bytes(done.stdout).decode()


def _saved(sprite: Any, text: str) -> None:
    assert _sh(sprite, f"echo {text} >~/file && sync") == (0, "")
    for _ in sprite.create_checkpoint(text):
        pass


def test_the_newest_five_are_there_to_read(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("shown")
        assert _sh(sprite, f"ls {PLACE}") == (0, "")
        for number in range(1, 7):
            _saved(sprite, f"text-{number}")
        assert _sh(sprite, f"ls {PLACE}") == (0, "v2\nv3\nv4\nv5\nv6\n")
        home = _sh(sprite, "cd; pwd")[1].strip()
        assert _sh(sprite, f"cat {PLACE}/v3{home}/file {PLACE}/v6{home}/file") == (0, "text-3\ntext-6\n")
        assert _sh(sprite, f"cd {PLACE}/v2 && cat .{home}/file") == (0, "text-2\n")
        assert _sh(sprite, f"ls -A {PLACE}/v4{home}; stat -c %U {PLACE}/v4{home}/file")[1].endswith(
            f"{_sh(sprite, 'id -un')[1]}"
        )
        for missing in ("v1", "v7", "v0", "x", "v2x"):
            assert _sh(sprite, f"cat {PLACE}/{missing}/etc/passwd")[0] == 1
        assert sprite.filesystem("/").path(f"{PLACE}/v5{home}/file").read_text() == "text-5\n"


def test_nothing_in_there_is_written_even_by_root(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("kept")
        _saved(sprite, "mine")
        assert _sh(sprite, f"test -d {PLACE}/v1/etc")[0] == 0
        place = f"{PLACE}/v1"
        for words, why in (
            (f"touch {place}/x", "Read-only file system"),
            (f"rm -r {place}/etc", "Read-only file system"),
            (f"mkdir {PLACE}/new", "Read-only file system"),
            (f"mkdir {SAVED}/new", "Read-only file system"),
            (f"mount -o remount,bind,rw {SAVED}/v1", "permission denied"),
            (f"mkdir -p /tmp/b; mount --bind {SAVED}/v1 /tmp/b; mount -o remount,bind,rw /tmp/b", "permission denied"),
            (f"ls {SAVED}/v1/pilot", "No such file"),
        ):
            code, said = _sh(sprite, f"sudo sh -c '{words}'")
            assert (code != 0, why in said) == (True, True), said
        assert _sh(sprite, f"ls {PLACE}/v1/x")[0] != 0


def test_it_outlives_the_agent_and_goes_with_what_it_is_of(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("lasting")
        _saved(sprite, "one")
        home = _sh(sprite, "cd; pwd")[1].strip()
        assert _sh(sprite, f"cat {PLACE}/v1{home}/file") == (0, "one\n")
        assert agents.kill_agent()
        assert _sh(sprite, f"cat {PLACE}/v1{home}/file") == (0, "one\n")
        pilotd.kill()
        pilotd.start()
        assert _sh(sprite, f"cat {PLACE}/v1{home}/file") == (0, "one\n")
        _saved(sprite, "two")
        for _ in sprite.restore_checkpoint("v1"):
            pass
        assert _sh(sprite, f"cat ~/file {PLACE}/v1{home}/file {PLACE}/v2{home}/file") == (0, "one\none\ntwo\n")
        assert len(json.loads(_sh(sprite, "/.sprite/bin/sprite-env checkpoints list")[1])) == 2
        sprite.destroy()


def test_what_its_root_writes_there_once_it_can_is_in_no_checkpoint(pilotd: Pilotd) -> None:
    """A world that is begun anew is given the mounts that there are, of which nothing is locked (docs/reference/
    isolation.md, Not held)."""
    with pilotd.client() as client:
        sprite = client.create_sprite("again")
        _saved(sprite, "mine")
        assert _sh(sprite, f"test -d {PLACE}/v1/etc")[0] == 0
        for _ in sprite.restore_checkpoint("v1"):
            pass
        assert _sh(sprite, f"touch {SAVED}/v1/x")[0] != 0
        assert _sh(sprite, f"sudo sh -c 'mount -o remount,bind,rw {SAVED} && touch {SAVED}/mine'") == (0, "")
        written = f"mount -o remount,bind,rw {SAVED}/v1 && echo x >{SAVED}/v1/x && cat {PLACE}/v1/x"
        assert _sh(sprite, f"sudo sh -c '{written}'") == (0, "x\n")
        for _ in sprite.restore_checkpoint("v1"):
            pass
        assert _sh(sprite, "ls /x")[0] != 0
        assert _sh(sprite, f"ls {PLACE}/v1/x")[0] == 0, "until it is let go of"
        sprite.destroy()
