"""`sprite up` ended at each place where it can be: the next one does setup and checkpoint from the first command on."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from pilot import errors
from pilot.client import setting_up, words
from pilot.client.api import Api
from pilot.client.context import Context
from pilot.client.verbs import SPRITE

FILE = """
name = "shop"
labels = ["z", "demo"]
setup = ["one", "two"]
checkpoint = "ready"
[services.web]
cmd = "serve"
"""


class Killed(BaseException):
    """As by a signal that nobody can catch."""


class Sprites(Api):
    """One sprite, of which there is what has been asked for. `steps`: after so many it is all over."""

    def __init__(self) -> None:
        self.row: dict[str, Any] | None = None
        self.checkpoints: dict[str, str | None] = {}
        self.services: dict[str, Any] = {}
        self.ran: list[str] = []
        self.steps = 1 << 30

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Killed

    def call(self, method: str, path: str, body: Any = None, query: Any = ()) -> Any:
        self.step()
        place = path.removeprefix("/v1/sprites").removeprefix("/shop").lstrip("/")
        if method == "POST" and not place:
            self.row = {"name": "shop", "status": "running", "url": "http://shop", "labels": [], **body}
        elif self.row is None:
            raise errors.NotFound("no such sprite")
        elif place.startswith("checkpoints/"):
            self.checkpoints[place.partition("/")[2]] = body["name"]
        elif place == "checkpoints":
            return [{"id": id, "name": name} for id, name in self.checkpoints.items()]
        elif place.startswith("services/"):
            return self.services.get(place) or _missing(place)
        elif method == "PUT":
            self.row |= body
        self.step()
        return self.row

    def stream(
        self, method: str, path: str, body: Any = None, query: Any = (), *, patience_s: float | None = None
    ) -> Iterator[dict[str, Any]]:
        self.step()
        if path.endswith("/checkpoint"):
            assert body["name"] not in self.checkpoints.values(), "another one is called so"
            self.checkpoints[f"v{len(self.checkpoints) + 1}"] = body["name"]
            self.ran.append("checkpoint")
        else:
            self.services[path.removeprefix("/v1/sprites/shop/")] = body
        self.step()
        yield {"data": "done"}


def _missing(place: str) -> NoReturn:
    raise errors.NotFound(place)


@pytest.fixture
def sprites(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Sprites:
    made = Sprites()

    def run(context: Context, name: str, command: str) -> int:
        made.step()
        made.ran.append(command)
        made.step()
        return 0

    (tmp_path / setting_up.FILE).write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Context, "api", made)
    monkeypatch.setattr(setting_up, "_run", run)
    return made


def _up(*said: str) -> int:
    return setting_up.up(Context(words.parse(["up", *said], SPRITE.verbs)))


def test_it_is_set_up_once(sprites: Sprites) -> None:
    assert (_up(), _up()) == (0, 0)
    assert sprites.ran == ["one", "two", "checkpoint"]
    assert sprites.row is not None
    assert sprites.row["labels"] == ["z", "demo"]
    assert _up("--setup") == 0
    assert (sprites.ran[3:], sprites.checkpoints) == (["one", "two", "checkpoint"], {"v1": None, "v2": "ready"})
    assert sprites.row["labels"] == ["z", "demo"]


@pytest.mark.parametrize("said", [[], ["--setup"]])
def test_ended_at_any_place_it_is_begun_again(sprites: Sprites, said: list[str]) -> None:
    """Before and after each call that it makes. What was done to the last is not done again."""
    for place in itertools.count():
        sprites.row, sprites.checkpoints, sprites.services, sprites.ran = None, {}, {}, []
        if said:
            assert _up() == 0
            sprites.ran.clear()
        sprites.steps = place
        try:
            _up(*said)
        except Killed:
            pass
        else:
            break
        sprites.steps = 1 << 30
        is_begun, is_labelled = (
            sprites.row is not None,
            sprites.row is not None and setting_up.UNFINISHED in sprites.row["labels"],
        )
        already = list(sprites.ran)
        assert _up() == 0
        assert sprites.row is not None
        assert sprites.row["labels"] == ["z", "demo"]
        assert list(sprites.checkpoints.values()).count("ready") == 1
        if is_labelled or not is_begun:
            assert sprites.ran[len(already) :] == ["one", "two", "checkpoint"]
        else:
            assert already in ([], ["one", "two", "checkpoint"]), f"ended at {place}, it was left as it was"
            assert bool(already) or bool(said)
    assert place > 15, os.linesep.join(sprites.ran)
