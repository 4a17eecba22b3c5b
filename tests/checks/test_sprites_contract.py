"""api/sprites.openapi.yaml and pilotd's tables of calls name the same operations, and the answers fit its schemas."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from tests.support.host import HostUnderTest

from pilot.host.api.sprites import calls
from pilot.host.relay import paths
from pilot.host.relay.table import Row, Table
from pilot.wire.operations import Operation

DOCUMENT = yaml.safe_load((pathlib.Path(__file__).parents[2] / "api" / "sprites.openapi.yaml").read_text())
METHODS = frozenset({"get", "put", "post", "delete", "head"})
ROWS = (*calls.CALLS, *calls.MACHINE)
UPGRADES = [row for row in ROWS if row.websocket]


def _shape(path: str) -> str:
    """Names of parameters are not compared: a sprite's `{session}` is the pilot API's `{id}`."""
    return re.sub(r"\{.*?\}", "{}", path)


def test_every_call_is_in_the_contract_and_the_other_way_round() -> None:
    served = {(row.method.lower(), _shape(row.path)) for row in ROWS}
    written = {
        (method, _shape(path)) for path, item in DOCUMENT["paths"].items() for method in item if method in METHODS
    }
    assert served - written == set(), "served, and not in api/sprites.openapi.yaml"
    assert written - served == set(), "in api/sprites.openapi.yaml, and in no table of calls"


@pytest.mark.parametrize("row", UPGRADES, ids=lambda row: row.path)
def test_upgrades_are_routed(row: Row[calls.Answer]) -> None:
    path = _shape(row.path).replace("{}", "7")
    match = Table(ROWS).find("GET", paths.split(path.encode()), websocket=True)
    assert match.row is row
    assert isinstance(match.row.call, Operation)
    assert match.row.call.target(match.parameters) == "/v1/" + path.split("/", 4)[4]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def _check(answer: httpx.Response, status: int, schema: str | None) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["sprite-version"] == "v0.0.1-rc48"
    if schema is None:
        assert answer.content == b""
        return None
    jsonschema.Draft202012Validator(_schema(schema)).validate(answer.json())
    return answer.json()


def test_answers_have_the_statuses_and_shapes_of_the_contract(host: HostUnderTest) -> None:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=60) as http:
        assert http.get("/v1/organization").json()["organization"] == "local"
        _check(http.post("/v1/sprites", json={"name": "web", "unknown": 1}), 201, "Sprite")
        _check(http.post("/v1/sprites", json={"name": "web"}), 409, "Error")
        made = _check(http.post("/v1/webhooks", json={"url": "https://example.com/"}), 201, "Webhook")
        _check(http.post("/v1/webhooks", json={"url": "http://10.0.0.1/"}), 400, "Error")
        _check(http.get(f"/v1/webhooks/{made['id']}"), 200, "Webhook")
        _check(http.put(f"/v1/webhooks/{made['id']}", json={"enabled": False}), 200, "Webhook")
        _check(http.delete(f"/v1/webhooks/{made['id']}"), 204, None)
        _check(http.post(f"/v1/webhooks/{made['id']}/ping"), 404, "Error")
        _check(http.post("/v1/sprites", json={"name": 7}), 400, "Error")
        _check(http.post("/v1/sprites", content=b"{"), 400, "Error")
        _check(http.post("/v1/sprites", json={"name": "x", "from": {"sprite": "nobody"}}), 404, "Error")
        for source in ({}, {"sprite": "web", "url": "file:///x/vol/0"}, {"url": "file:///no/disk"}):
            _check(http.post("/v1/sprites", json={"name": "x", "from": source}), 400, "Error")
        no_store = {"url": f"file:///store/vol/{'0' * 16}"}
        _check(http.post("/v1/sprites", json={"name": "x", "from": no_store}), 400, "Error")
        _check(http.get("/v1/sprites/x"), 404, "Error")
        _check(http.get("/v1/sprites/web/disk"), 200, "Disk")
        assert _check(http.get("/v1/sprites/web/usage"), 200, "Usage")["machine"]["processes"] == 7
        assert _check(http.get("/v1/sprites/web/usage/days?days=400"), 200, "UsageDays") == {"days": []}
        none = {"days": [], "has_more": False, "next_continuation_token": None}
        assert _check(http.get("/v1/usage/days"), 200, "UsageDays") == none
        _check(http.get("/v1/usage/days?continuation_token=x"), 400, "Error")
        for wrong in ("0", "401", "-1", "x", ""):
            _check(http.get("/v1/usage/days", params={"days": wrong}), 400, "Error")
        _check(http.get("/v1/sprites/web/policy/network"), 200, "NetworkPolicy")
        _check(http.post("/v1/sprites/web/policy/network", json={"rules": [{}]}), 400, "Error")
        _check(http.post("/v1/sprites/web/policy/network", json={"rules": []}), 409, "Error")  # it has no network
        _check(http.get("/v1/sprites/web/network"), 409, "Error")
        assert (
            _check(http.get("/v1/sprites/web/policy/resources"), 200, "ResourcesPolicy")["memory"]["limit_mb"] == 2048
        )
        _check(http.post("/v1/sprites/web/policy/resources", json={"memory": {"limit_mb": 512}}), 204, None)
        _check(http.post("/v1/sprites/web/policy/resources", json={"memory": {"autoscale": True}}), 400, "Error")
        assert http.get("/v1/sprites/web").json()["config"] == {"ram_mb": 512}
        _check(http.delete("/v1/sprites/web/policy/resources"), 204, None)
        assert _check(http.get("/v1/sprites/web/policy/spawn"), 200, "SpawnPolicy") == {"children": 0}
        _check(http.post("/v1/sprites/web/policy/spawn", json={"children": 0}), 400, "Error")
        _check(http.post("/v1/sprites/web/policy/spawn", json={"children": 2, "from": ["self"]}), 204, None)
        assert _check(http.get("/v1/sprites/web/policy/spawn"), 200, "SpawnPolicy")["from"] == ["self"]
        _check(http.delete("/v1/sprites/web/policy/spawn"), 204, None)
        _check(http.get("/v1/sprites/web/policy/privileges"), 200, "PrivilegesAnswer")
        _check(http.post("/v1/sprites/web/policy/privileges", json={"profile": "minimal"}), 204, None)
        _check(http.post("/v1/sprites/web/policy/privileges", json={"profile": "all"}), 400, "Error")
        _check(http.delete("/v1/sprites/web/policy/privileges"), 204, None)
        _check(http.get("/v1/sprites/web/network/private"), 200, "PrivateNetwork")
        _check(http.put("/v1/sprites/web/network/private", json={"network": "Not One"}), 400, "Error")
        _check(http.put("/v1/sprites/web/network/private", json={}), 400, "Error")
        _check(http.put("/v1/sprites/web/network/private", json={"network": "shop"}), 409, "Error")
        assert _check(http.get("/v1/sprites/web/connectors"), 200, "Connectors") == {"connectors": []}
        place, bearer = "/v1/sprites/web/connectors/api", {"hosts": ["api.test"], "attach": {"kind": "bearer"}}
        _check(http.put(place, json=bearer | {"attach": {"kind": "none"}}), 400, "Error")
        _check(http.put(place, json=bearer | {"hosts": ["*.test"]}), 400, "Error")
        _check(http.put(place, json=bearer | {"secret": "0123456789"}), 409, "Error")  # it has no network
        _check(http.get(place), 404, "Error")
        _check(http.delete(place), 404, "Error")
        made = _check(http.post("/v1/tokens", json={"description": "another"}), 201, "NewToken")
        _check(http.post("/v1/organizations/local/tokens", json={}), 201, "NewToken")
        _check(http.post("/v1/organizations/other/tokens", json={}), 404, "Error")
        assert made["id"] in {row["id"] for row in _check(http.get("/v1/tokens"), 200, "Tokens")["tokens"]}
        _check(http.delete(f"/v1/tokens/{made['id']}"), 204, None)
        _check(http.delete("/v1/tokens/none"), 404, "Error")
        _check(http.get("/v1/sprites/web/why"), 200, "Why")
        _check(http.put("/v1/sprites/web/holds/mine", json={"expire": 60}), 200, "Hold")
        _check(http.get("/v1/sprites/web/holds"), 200, "Holds")
        _check(http.delete("/v1/sprites/web/holds/mine"), 204, None)
        _check(http.post("/v1/sprites/web/sleep"), 200, "Sprite")
        _check(http.post("/v1/sprites/web/wake"), 200, "Sprite")
        listed = _check(http.get("/v1/sprites", params={"max_results": "100"}), 200, "SpriteList")
        assert (listed["running"], listed["org"]["running"]) == (1, 1)
        _check(http.get("/v1/sprites/web"), 200, "Sprite")
        _check(http.get("/v1/sprites/nobody"), 404, "Error")
        _check(http.put("/v1/sprites/web", json={"labels": ["a"]}), 200, "Sprite")
        assert _check(http.put("/v1/sprites/web", json={"clear_labels": True}), 200, "Sprite")["labels"] == []
        _check(http.head("/v1/sprites/web/exec"), 200, None)
        assert http.get("/v1/sprites/web/exec").json() == {"count": 0, "sessions": []}
        kinds = [line["type"] for line in _stream(http, "/v1/sprites/web/checkpoint")]
        assert kinds == ["info", "complete"]
        points = _check(http.get("/v1/sprites/web/checkpoints"), 200, "Checkpoints")
        assert [point["id"] for point in points] == ["Current", "v1"]
        _check(http.get("/v1/sprites/web/checkpoints/v1"), 200, "Checkpoint")
        _check(http.get("/v1/sprites/web/checkpoints/Current"), 200, "Checkpoint")
        _check(http.get("/v1/sprites/web/checkpoints/v9"), 404, "Error")
        *_, end = _lines(http.get("/v1/sprites/web/checkpoints/v1/diff"), "Difference")
        assert (end["type"], end["added"], end["deleted"]) == ("complete", 0, 0)
        _check(http.get("/v1/sprites/web/checkpoints/v1/diff?to=v7"), 404, "Error")
        image = http.get("/v1/sprites/web/checkpoints/v1/image")
        assert (image.status_code, image.headers["content-type"]) == (200, "application/x-tar")
        assert json.loads(image.headers["sprite-shipped"])["digest"] == image.headers["docker-content-digest"]
        _check(http.get("/v1/sprites/web/checkpoints/v1/image?leave_out=relative"), 400, "Error")
        _check(http.get("/v1/sprites/web/checkpoints/v7/image"), 404, "Error")
        assert [line["type"] for line in _stream(http, "/v1/sprites/web/checkpoints/v1/restore")] == kinds
        _check(http.delete("/v1/sprites/web/checkpoints/Current"), 400, "Error")
        _check(http.delete("/v1/sprites/web/checkpoints/v1"), 204, None)
        _check(http.delete("/v1/sprites/web/checkpoints/v1"), 404, "Error")
        assert _check(http.post("/v1/sprites/web/stop"), 200, "Sprite")["status"] == "cold"
        assert _check(http.get("/v1/sprites/web/usage"), 200, "Usage")["machine"] is None
        _check(http.post("/v1/sprites/web/restart"), 200, "Restarted")
        _check(http.post("/v1/sprites/web/upgrade"), 200, "Restarted")
        assert http.get("/v1/sprites/web/check").json()["status"] == "running"
        _check(http.delete("/v1/sprites/web"), 204, None)
        _check(http.get("/v1/sprites/web/no/such/call"), 404, "Error")
        assert http.get("/v1/sprites/").status_code == 404, "a redirect would break clients"
    _check(httpx.get(f"{host.url}/v1/sprites"), 401, "Error")
    assert httpx.get(f"{host.url}/healthz").status_code == 200
    assert 'pilotd_sprites{status="running"} 0.0' in httpx.get(f"{host.url}/metrics").text


def test_what_is_answered_of_a_sprite_without_a_machine_is_said(host: HostUnderTest) -> None:
    """One that is being made."""
    with httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {host.token}"}, timeout=60) as http:
        _check(http.post("/v1/sprites", json={"name": "early"}), 201, "Sprite")
        with host.database.transaction() as tx:
            tx.execute("UPDATE sprites SET machine = NULL WHERE name = ?", ("early",))
        reads = [
            path for path, item in DOCUMENT["paths"].items() if re.fullmatch(r"/v1/sprites/\{name\}(/[a-z/]+)?", path)
        ]
        reads = [path for path in reads if not DOCUMENT["paths"][path].get("get", {"x-relayed": True}).get("x-relayed")]
        for path in reads:
            answer = http.get(path.format(name="early"), params={"since": "0"})
            assert str(answer.status_code) in DOCUMENT["paths"][path]["get"]["responses"], (path, answer.text)


def _lines(answer: httpx.Response, schema: str) -> list[dict[str, Any]]:
    import json

    assert answer.status_code == 200
    found = [json.loads(text) for text in answer.text.splitlines() if text]
    for line in found:
        jsonschema.Draft202012Validator(_schema(schema)).validate(line)
    return found


def _stream(http: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    import json

    with http.stream("POST", path, json={}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        for text in answer.iter_lines():
            line = json.loads(text)
            jsonschema.Draft202012Validator(_schema("StreamLine")).validate(line)
            yield line
