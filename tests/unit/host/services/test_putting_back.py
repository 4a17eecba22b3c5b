"""One path is put back at a time of each sprite, and what one that died had set aside is there again."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import threading
from collections.abc import Iterator, Sequence

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services import putting_back
from pilot.host.services.lending import Lending
from pilot.host.services.looking import Looking
from pilot.host.services.putting_back import PuttingBack
from pilot.host.services.wanted import NewSprite
from pilot.host.store.sprites import Sprite
from pilot.ids import CheckpointId, VolumeId
from pilot.wire import faults


class Held(Looking):
    """A look that lasts until it is let go, and finds nothing."""

    def __init__(self, host: HostUnderTest) -> None:
        super().__init__(host.volumes)
        self.begun, self.go = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def disks(self, states: Sequence[tuple[VolumeId, CheckpointId | None]], what: str) -> Iterator[list[int]]:
        self.begun.set()
        if self.go.wait(WAIT_S):
            raise errors.NotFound("checkpoint not found")
        yield []


def _make(host: HostUnderTest, name: str) -> Sprite:
    assert host.sprites.create(host.organisation.id, NewSprite(name)).result(WAIT_S).done
    return host.sprites.find(host.organisation.id, name)


def test_one_at_a_time_of_each_sprite(host: HostUnderTest, tmp_path: pathlib.Path) -> None:
    held, web, other = Held(host), _make(host, "web"), _make(host, "other")
    back, point = PuttingBack(host.host, held, Lending(str(tmp_path), 0)), CheckpointId("v1")

    def put(sprite: Sprite) -> None:
        with pytest.raises(errors.NotFound):
            back.put(sprite, point, "/home/file")

    first = threading.Thread(target=put, args=(web,))
    first.start()
    try:
        assert held.begun.wait(WAIT_S)
        with pytest.raises(faults.Exhausted, match="another one of this sprite"):
            back.put(web, point, "/home/file")
    finally:
        held.go.set()
        first.join()
    put(other)
    put(web)


def test_what_was_set_aside_is_there_again_also_when_the_next_one_fails(tmp_path: pathlib.Path) -> None:
    aside = tmp_path / ".restoring-file" / "old"
    aside.mkdir(parents=True)
    (aside / "file").write_text("mine")
    words = ["sh", "-c", putting_back._SCRIPT, "restore", str(tmp_path), "file", putting_back._PERL]
    done = subprocess.run(words, input=b"no tar", capture_output=True, check=False)
    assert done.returncode != 0
    assert (tmp_path / "file").read_text() == "mine", done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
