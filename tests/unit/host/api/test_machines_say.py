"""The Machines API beside agents that say nothing, or what they like: who asks is answered, with what is known."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest
from tests.support.hostile import machine, saying

from pilot.host.fly.containers import ImageOf
from pilot.host.store import fly, machines
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId

CHECKED: dict[str, object] = {"image": "box", "checks": {"web": {"type": "tcp", "port": 80}}}
UNKNOWN = "the machine does not say how it is"


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    for name in ("app", "other"):
        with under_test.database.transaction() as tx:
            fly.add_app(tx, App(name, under_test.organisation.id, name, "default", 0))
    yield under_test
    under_test.close()


def add(host: HostUnderTest, id: str, app: str = "app", *, exists: bool = True) -> pathlib.Path:
    """A started Machine with a check; where its agent is asked."""
    image = ImageOf("app", "box", "sha256:0", "base")
    row = Machine(
        MachineId(id), app, id, "local", "created", "1", CHECKED, {}, (image,), cordoned=False, lease=None,
        created_us=0, updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, row)
        fly.enter(tx, id, "started", "start", "flyd")
        if exists:
            machines.assign(tx, row.id, host.vmm.isolation.value, 256 << 20, 1)
    path = pathlib.Path(host.vmm.dial_path(row.id))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def ask(host: HostUnderTest, path: str, method: str = "GET", body: object = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {host.token}"}
    return httpx.request(method, f"{host.url}/v1/apps{path}", headers=headers, json=body, timeout=WAIT_S)


def refusal(status: int, body: bytes = b'{"error": "no"}') -> bytes:
    return b"HTTP/1.1 %d no\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 503])
def test_an_agent_that_refuses_is_told_as_unknown(host: HostUnderTest, status: int) -> None:
    with machine(add(host, "m1"), saying(refusal(status))):
        [listed] = ask(host, "/app/machines").json()
        shown = ask(host, "/app/machines/m1").json()
    assert [each["output"] for each in (*listed["checks"], *shown["checks"])] == [UNKNOWN, UNKNOWN]


def test_a_machine_that_has_just_gone_is_told_as_unknown(host: HostUnderTest) -> None:
    add(host, "m1", exists=False)
    [listed] = ask(host, "/app/machines").json()
    assert [each["output"] for each in listed["checks"]] == [UNKNOWN]
