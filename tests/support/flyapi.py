"""The Machines API as a client sees it: over HTTP, with nothing of ours but the token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from tests.support import machines_document, pilotd
from tests.support.isolation import ISOLATION
from tests.support.pilotd import Pilotd

WAIT_S = 60
_PATIENCE = 6  # times WAIT_S
JSON = dict[str, Any]


class Fly:
    """One app of a pilotd."""

    def __init__(self, pilotd: Pilotd, app: str) -> None:
        self.pilotd = pilotd
        self.app = app
        self.last: httpx.Response | None = None

    def call(self, method: str, path: str, body: object = None, *, status: int = 200, **more: Any) -> Any:
        """Below the app's Machines; the answer's JSON, when it has the status."""
        answer = self.raw(method, f"/v1/apps/{self.app}/machines{path}", body, **more)
        said = f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.status_code == status, f"{said}\n{self.pilotd.tail()}"
        return answer.json() if answer.content else None

    def raw(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """Any call; its answer is held against the document."""
        headers = {"Authorization": f"Bearer {self.pilotd.token()}", **more.pop("headers", {})}
        self.last = httpx.request(
            method, f"{self.pilotd.url}{path}", json=body, headers=headers, timeout=WAIT_S + 30, **more
        )
        machines_document.check(method, path, self.last.status_code, self.last.json() if self.last.content else None)
        return self.last

    def raw_text(self, path: str) -> str:
        """An answer that is no document of JSON."""
        headers = {"Authorization": f"Bearer {self.pilotd.token()}"}
        return httpx.get(f"{self.pilotd.url}{path}", headers=headers, timeout=WAIT_S).raise_for_status().text

    def create(self, config: Mapping[str, object], *, wait: str | None = "started", **more: object) -> JSON:
        """A Machine, in that state."""
        made: JSON = self.call("POST", "", {"config": config, **more})
        if wait is not None:
            self.wait(made["id"], wait)
        return made

    def wait(self, id: str, state: str) -> JSON:
        """Until it is in that state."""
        answer: JSON = self.call("GET", f"/{id}/wait?state={state}&timeout={WAIT_S}")
        assert answer["ok"] is True
        return answer

    def get(self, id: str) -> JSON:
        answer: JSON = self.call("GET", f"/{id}")
        return answer

    def run(self, id: str, *words: str, **more: object) -> tuple[int, str]:
        """A command in it: exit status, and what it wrote."""
        answer: JSON = self.call("POST", f"/{id}/exec", {"command": list(words), **more})
        return answer["exit_code"], answer["stdout"]


def serving() -> contextlib.AbstractContextManager[Pilotd]:
    """A pilotd whose Machines are of the kind that is asked for."""
    return pilotd.serving(isolation=ISOLATION)


def meet(pilotd: Pilotd, config: Mapping[str, object], *, volume: str = "") -> None:
    """Has the host make such a Machine once, and patiently; `volume`: where it has one of a gibibyte.

    The first virtual machine of a shape boots the template that all others are clones of, which takes a minute where
    processors are emulated and shared with much else. Clients wait as long as that for all of a start.
    """
    if ISOLATION != "vm":
        return
    with app(pilotd, "met") as fly:
        mounts = []
        if volume:
            made = fly.raw("POST", f"/v1/apps/{fly.app}/volumes", {"name": "met", "size_gb": 1}).json()["id"]
            mounts = [{"volume": made, "path": volume}]
        id = fly.create({**config, "mounts": mounts}, wait=None)["id"]
        path = f"/v1/apps/{fly.app}/machines/{id}/wait?state=started&timeout={WAIT_S}"
        statuses = (fly.raw("GET", path).status_code for _ in range(_PATIENCE))
        assert 200 in statuses, fly.get(id)


@contextlib.contextmanager
def app(pilotd: Pilotd, name: str) -> Iterator[Fly]:
    """An app, which goes with all that is in it."""
    fly = Fly(pilotd, name)
    assert fly.raw("POST", "/v1/apps", {"app_name": name, "org_slug": "personal"}).status_code == 201
    try:
        yield fly
    finally:
        gone = fly.raw("DELETE", f"/v1/apps/{name}")
        assert gone.status_code == 202, gone.text
