"""kill -9 of pilotd while secret keys are made, brought, used and deleted: what was answered is so, and no key is half
there."""

from __future__ import annotations

import base64
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import leftovers
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

KILLS = 3
KEPT = 4  # versions of a label: an app has so many in all
_TEXT = base64.b64encode(b"hello").decode()
_SEAL, _SIGN = "xaes256gcm", "es256"


@pytest.fixture
def pilotd(tmp_path: pathlib.Path) -> Iterator[Pilotd]:
    with leftovers.nothing(), Pilotd(tmp_path / "state").running() as daemon:  # what is left of it is in others' way
        yield daemon


@dataclasses.dataclass
class Told:
    """What one label's only user was answered. `asked`: deletions, answered or not."""

    label: str
    kind: str
    made: list[str] = dataclasses.field(default_factory=list)
    asked: set[str] = dataclasses.field(default_factory=set)
    deleted: set[str] = dataclasses.field(default_factory=set)
    uses: dict[str, str] = dataclasses.field(default_factory=dict)  # version → what it has made
    enough: threading.Event = dataclasses.field(default_factory=threading.Event)


class App:
    """Whoever may change it."""

    def __init__(self, pilotd: Pilotd) -> None:
        headers = {"Authorization": f"Bearer {pilotd.token()}"}
        self._http = httpx.Client(base_url=pilotd.url, headers=headers, timeout=60)

    def call(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        answer = self._http.request(method, f"/v1/apps/shop/secretkeys{path}", json=body)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def listed(self) -> set[str]:
        return {row["name"] for row in self.call("GET", "")["secret_keys"]}

    def use(self, name: str, kind: str) -> str:
        what, said = ("encrypt", "ciphertext") if kind == _SEAL else ("sign", "signature")
        return str(self.call("POST", f"/{name}/{what}", {"plaintext": _TEXT})[said])

    def check(self, name: str, kind: str, made: str) -> None:
        """What was made with it is still of it."""
        if kind == _SEAL:
            assert self.call("POST", f"/{name}/decrypt", {"ciphertext": made}) == {"plaintext": _TEXT}
        else:
            self.call("POST", f"/{name}/verify", {"plaintext": _TEXT, "signature": made}, status=204)

    def close(self) -> None:
        self._http.close()


def _go_on(app: App, told: Told, *, brings: bool) -> None:
    """Makes a version, uses it, deletes an old one; until nobody answers."""
    try:
        for count in range(100_000):
            body = {"type": told.kind, **({"value": base64.b64encode(os.urandom(32)).decode()} if brings else {})}
            path = f"/{told.label}" if brings else f"/{told.label}/generate"
            name = app.call("POST", path, body, status=201)["name"]
            told.made.append(name)
            told.uses[name] = app.use(told.label, told.kind)
            if len(old := [each for each in told.made if each not in told.asked]) > KEPT:
                told.asked.add(old[0])
                app.call("DELETE", f"/{old[0]}")
                told.deleted.add(old[0])
            if count == KEPT + 2:
                told.enough.set()
    except httpx.TransportError:
        return


def test_what_was_answered_is_so_and_no_key_is_half_there(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    first = App(pilotd)
    made = first._http.post("/v1/apps", json={"app_name": "shop", "org_slug": "personal"})
    assert made.status_code == 201, made.text
    first.close()
    labels = [Told("orders", _SEAL), Told("letters", _SIGN), Told("brought", _SEAL)]
    for _ in range(KILLS):
        users = []
        for told in labels:
            told.enough.clear()
            app = App(pilotd)
            brings = {"brings": told.label == "brought"}
            user = threading.Thread(target=_go_on, args=(app, told), kwargs=brings, name=told.label)
            user.start()
            users.append((user, app))
        for told in labels:
            assert told.enough.wait(120), told.label
        pilotd.kill()
        for user, app in users:
            user.join(60)
            app.close()
        pilotd.start()
        _look(App(pilotd), labels)
    _restored(pilotd, tmp_path, labels)


def _look(app: App, labels: list[Told]) -> None:
    listed = app.listed()
    for told in labels:
        assert set(told.made) - told.asked <= listed, "none that was answered is lost"
        assert not told.deleted & listed, "none that was deleted is back"
        for name in sorted(each for each in listed if each.startswith(f"{told.label}v")):
            app.check(name, told.kind, app.use(name, told.kind))
            if name in told.uses:
                app.check(name, told.kind, told.uses[name])
            elif name not in told.made:
                told.made.append(name)  # made, and the answer did not come
        # The next version is that of no other key, of before or since.
        name = app.call("POST", f"/{told.label}/generate", {"type": told.kind}, status=201)["name"]
        assert name not in told.made
        told.made.append(name)
        told.uses[name] = app.use(name, told.kind)
    app.close()


def _restored(pilotd: Pilotd, tmp_path: pathlib.Path, labels: list[Told]) -> None:
    """From a backup that was made while it served: the keys of that moment, and what was made with them is theirs."""
    command = str(pathlib.Path(sys.executable).with_name("pilotd"))
    file, state = tmp_path / "backup", tmp_path / "again"
    for words in (("backup", "--state-dir", pilotd.state, file), ("restore", "--state-dir", state, file)):
        done = subprocess.run([command, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    before = App(pilotd)
    listed = before.listed()
    for told in labels:  # since then: gone here, and there as it was
        before.call("DELETE", f"/{told.label}")
    assert before.listed() == set()
    before.close()
    pilotd.stop()
    with Pilotd(state).running() as other:
        app = App(other)
        assert app.listed() == listed
        for told in labels:
            for name in sorted(listed & set(told.uses)):
                app.check(name, told.kind, told.uses[name])
        app.close()
