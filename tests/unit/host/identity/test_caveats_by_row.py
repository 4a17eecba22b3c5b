"""Caveats about one machine, volume, feature or command: what each row of the Machines API's table does with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import wire
from tests.support.host import HostUnderTest

from pilot.host.api.machines import calls
from pilot.host.fly.containers import ImageOf
from pilot.host.relay.table import Reach, Row
from pilot.host.store import fly
from pilot.host.store.fly import Machine
from pilot.host.store.tokens import Wanted
from pilot.ids import MachineId
from pilot.wire.macaroons import caveats, header, macaroon
from pilot.wire.macaroons.caveats import Caveat
from pilot.wire.permissions import Permission

ROWS = [row for row in calls.CALLS if row.permission is not None]
OF_AN_APP = [row for row in ROWS if row.reach is Reach.NAMED]
# Whose answer comes when something has happened.
_LASTING = "/wait"
OURS, OTHERS = caveats.Machines({"m1": 31}), caveats.Machines({"m2": 31})
COMMAND: tuple[Caveat, ...] = (OURS, caveats.Commands((caveats.Command(["ls"]),)))
METADATA = caveats.MachineFeatureSet({calls.METADATA: 31})


def _id(row: Row[Any]) -> str:
    return f"{row.method} {row.path}"


class App:
    """With a machine, a volume, and a token of all of it, which whoever holds it attenuates."""

    def __init__(self, host: HostUnderTest) -> None:
        self._host = host
        owner = {"Authorization": f"Bearer {host.token}"}
        made = httpx.post(f"{host.url}/v1/apps", json={"app_name": "mill", "org_slug": "local"}, headers=owner)
        assert made.status_code == 201
        with host.database.transaction() as tx:
            app = fly.app(tx, host.organisation.id, "mill")
            image = ImageOf("app", "box:1", "sha256:0", "v")
            row = Machine(
                MachineId("m1"), app.id, "m1", "local", "stopped", "1", {"image": "box:1"}, {}, (image,),
                cordoned=False, lease=None, created_us=0, updated_us=0,
            )  # fmt: skip
            fly.add(tx, row)
        body = {"name": "data", "size_gb": 1}
        self.volume = str(httpx.post(f"{host.url}/v1/apps/mill/volumes", json=body, headers=owner).json()["id"])
        text, _ = host.authority.mint(host.organisation, Wanted())
        self._token = macaroon.decode(header.parse_tokens(text)[0])

    def ask(self, row: Row[Any], *added: Caveat, body: str = "{}") -> tuple[int, str]:
        """Of this machine and volume."""
        names = {"app": "mill", "machine": "m1", "volume": self.volume}
        path = re.sub(r"\{(.*?)\}", lambda found: names.get(found[1], "7"), row.path)
        shown = header.write([self._token.attenuate(*added)])
        head = f"{row.method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {shown}\r\nConnection: close\r\n"
        content = "" if row.method in ("GET", "DELETE") else body
        said = wire.exchange(self._host.url, f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        (answer,) = wire.parse_answers(said, row.method)
        return answer.status, answer.body.decode()

    def reaches(self, row: Row[Any], *added: Caveat) -> bool:
        """Whether the row is answered; asked of such as change nothing."""
        assert row.method == "GET"
        status, said = self.ask(row, *added)
        assert status in (200, 404, 412), said
        return not (status == 404 and "app not found" in said)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    host = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield App(host)
    host.close()


@pytest.mark.parametrize("row", OF_AN_APP, ids=_id)
def test_a_row_refuses_whoever_has_something_else_of_the_app(app: App, row: Row[Any]) -> None:
    """As if there were no such app."""
    others: list[tuple[Caveat, ...]] = [
        (OTHERS,), (caveats.Volumes({"vol_other": 31}),), (caveats.MachineFeatureSet({"oidc": 31}),),
        (caveats.AppFeatureSet({"images": 31}),), (OTHERS, METADATA), (OURS, caveats.Volumes({app.volume: 31})),
    ]  # fmt: skip
    if row.permission is not Permission.EXEC:
        others.append(COMMAND)
    if row.feature is None:
        others += [(METADATA,), (OURS, METADATA)]
    if "{machine}" not in row.path:
        others.append((OURS,))
    if "{volume}" not in row.path:
        others.append((caveats.Volumes({app.volume: 31}),))
    if row.method not in ("GET", "HEAD"):
        others += [(caveats.Machines({"m1": 1}),), (caveats.Volumes({app.volume: 1}),)]
    for added in others:
        status, said = app.ask(row, *added)
        assert status == 404, (added, said)
        assert "app not found: mill" in said, added


@pytest.mark.parametrize("row", [row for row in ROWS if row.reach is Reach.ORGANISATION], ids=_id)
def test_a_row_of_the_organisation_refuses_a_part_of_an_app(app: App, row: Row[Any]) -> None:
    for added in ((OURS,), COMMAND, (METADATA,), (caveats.Volumes({app.volume: 31}),)):
        assert app.ask(row, *added)[0] == 403


def test_the_list_of_apps_is_of_what_is_reached(app: App) -> None:
    row = next(row for row in ROWS if (row.method, row.path) == ("GET", "/v1/apps"))
    assert '"mill"' in app.ask(row)[1]
    for added in ((OURS,), COMMAND, (METADATA,), (caveats.Volumes({app.volume: 31}),)):
        assert '"mill"' not in app.ask(row, *added)[1]


READS = [row for row in OF_AN_APP if row.method == "GET" and not row.path.endswith(_LASTING)]


@pytest.mark.parametrize("row", READS, ids=_id)
def test_its_own_is_answered(app: App, row: Row[Any]) -> None:
    assert app.reaches(row)
    assert app.reaches(row, OURS) is ("{machine}" in row.path)
    assert app.reaches(row, caveats.Volumes({app.volume: 31})) is ("{volume}" in row.path)
    assert app.reaches(row, OURS, METADATA) is (row.feature == calls.METADATA)


def test_a_command_is_looked_at_where_one_is_run(app: App) -> None:
    (row,) = [row for row in OF_AN_APP if row.permission is Permission.EXEC]
    assert app.ask(row, *COMMAND, body='{"command": ["rm"]}')[0] == 403
    assert app.ask(row, *COMMAND, body='{"command": ["ls", "-l"]}')[0] == 412, "the machine is stopped"


def test_what_is_about_metadata_is_said_to_be() -> None:
    """So that no row is forgotten: those whose path names it, and no others."""
    assert [row for row in ROWS if row.feature is not None] == [row for row in ROWS if "/metadata" in row.path]
