"""Checkpoints with names, sprites made from them, several at once, and what is in them without a restore."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.operations import automatic, requests
from pilot.host.services import browsing, looking
from pilot.host.services.wanted import Forks
from pilot.host.store import checkpoints, tokens


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {host.token}"}
    with httpx.Client(base_url=host.url, headers=headers, timeout=WAIT_S) as client:
        assert client.post("/v1/sprites", json={"name": "base"}).status_code == 201
        yield client


def _write(http: httpx.Client, name: str, text: str, path: str = "/file") -> None:
    assert http.put(f"/v1/sprites/{name}/fs/write?path={path}", content=text).status_code == 200


def _read(http: httpx.Client, name: str, path: str = "/file") -> str:
    return http.get(f"/v1/sprites/{name}/fs/read?path={path}").text


def _save(http: httpx.Client, sprite: str = "base", **body: str) -> dict[str, Any]:
    answer = http.post(f"/v1/sprites/{sprite}/checkpoint", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = httpx.Response(200, content=answer.content.splitlines()[-1]).json()
    return found


def test_a_checkpoint_is_called_by_its_name_everywhere(http: httpx.Client) -> None:
    _write(http, "base", "one")
    assert _save(http, name="ready")["data"] == "checkpoint v1 created"
    _write(http, "base", "two")
    path = "/v1/sprites/base/checkpoints/ready"
    assert (http.get(path).json()["id"], http.get(path).json()["name"]) == ("v1", "ready")
    assert '"complete"' in http.get(f"{path}/diff").text
    assert http.post(f"{path}/restore").text.splitlines()[-1].count('"complete"') == 1
    assert _read(http, "base") == "one"
    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404


def test_a_name_is_at_one_checkpoint(http: httpx.Client) -> None:
    _save(http, name="ready")
    refused = http.post("/v1/sprites/base/checkpoint", json={"name": "ready"})
    assert refused.status_code == 409
    _save(http)
    assert http.put("/v1/sprites/base/checkpoints/v2", json={"name": "ready"}).json()["name"] == "ready"
    names = {row["id"]: row.get("name") for row in http.get("/v1/sprites/base/checkpoints").json()}
    assert names == {"Current": None, "v1": None, "v2": "ready"}
    for name, wanted in (("ready", "other"), ("other", "other"), ("other", None)):
        answer = http.put(f"/v1/sprites/base/checkpoints/{name}", json={"name": wanted})
        assert (answer.status_code, answer.json()["id"], answer.json()["name"]) == (200, "v2", wanted)
    assert http.put("/v1/sprites/base/checkpoints/other", json={"name": "x"}).status_code == 404
    assert http.get("/v1/sprites/base/checkpoints/v2").json()["name"] is None
    assert http.put("/v1/sprites/base/checkpoints/v9", json={"name": "x"}).status_code == 404


@pytest.mark.parametrize(
    "name", ["v1", "v77", "auto-1", "current", "Current", "Ready", "", "a b", "a/b", "-a", "x" * 64]
)
def test_what_is_no_name(http: httpx.Client, name: str) -> None:
    _save(http)
    assert http.post("/v1/sprites/base/checkpoint", json={"name": name}).status_code == 400
    assert http.put("/v1/sprites/base/checkpoints/v1", json={"name": name}).status_code == 400


def test_a_name_that_is_taken_while_its_turn_comes_makes_no_checkpoint(host: HostUnderTest, http: httpx.Client) -> None:
    """Two at once: the second finds it when its turn comes, before anything is cut."""
    row = host.sprites.find(host.organisation.id, "base")
    assert host.sprites.make_checkpoint(row, "", "ready").result(WAIT_S).done
    late = host.engine.start(requests.CHECKPOINT, row.id, requests.MakeCheckpoint("", "ready")).result(WAIT_S)
    assert late.code == "conflict"
    assert [(point.id, point.name) for point in checkpoints.every(host.database, row.id)] == [("v1", "ready")]
    assert [point.id for point in host.volumes.checkpoints(row.volume)] == ["v1"]


def test_of_several_forks_the_one_whose_name_is_taken_is_named(http: httpx.Client) -> None:
    refused = http.post("/v1/sprites/base/fork", json={"names": ["one", "base", "two"]})
    assert (refused.status_code, refused.json()) == (
        409, {"error": "sprite already exists", "message": "base is taken"},
    )  # fmt: skip
    assert http.get("/v1/sprites/one").status_code == 404


def test_a_sprite_is_made_from_a_template(http: httpx.Client) -> None:
    _write(http, "base", "one")
    _save(http, name="ready")
    _write(http, "base", "two")
    assert http.post("/v1/sprites", json={"name": "job", "template": "base:ready"}).status_code == 201
    assert http.post("/v1/sprites", json={"name": "job-1", "template": "base:v1"}).status_code == 201
    assert [_read(http, name) for name in ("job", "job-1", "base")] == ["one", "one", "two"]
    assert http.delete("/v1/sprites/base").status_code == 204
    assert _read(http, "job") == "one", "it needs its template no more"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"template": "base:nothing"}, 404), ({"template": "nobody:ready"}, 404), ({"template": "base"}, 400),
     ({"template": "base:a:b"}, 400), ({"template": "base:ready", "from": {"sprite": "base"}}, 400)],
)  # fmt: skip
def test_templates_that_are_none(http: httpx.Client, body: dict[str, Any], status: int) -> None:
    assert http.post("/v1/sprites", json={"name": "job", **body}).status_code == status
    assert http.get("/v1/sprites/job").status_code == 404


def test_several_forks_are_of_one_moment(host: HostUnderTest, http: httpx.Client) -> None:
    _write(http, "base", "one")
    names = [f"try-{number}" for number in range(6)]
    answer = http.post("/v1/sprites/base/fork", json={"names": names, "config": {"cpus": 3}, "labels": ["a"]})
    assert (answer.status_code, [row["name"] for row in answer.json()["sprites"]]) == (201, names), answer.text
    assert answer.json()["failed"] == []
    assert {(row["config"]["cpus"], *row["labels"]) for row in answer.json()["sprites"]} == {(3, "a")}
    assert {_read(http, name) for name in names} == {"one"}
    row = host.sprites.find(host.organisation.id, "base")
    [point] = checkpoints.every(host.database, row.id)
    assert (point.is_auto, "6 forks" in point.comment) == (True, True)


def test_forks_of_a_checkpoint_need_no_other(host: HostUnderTest, http: httpx.Client) -> None:
    _write(http, "base", "one")
    _save(http, name="ready")
    _write(http, "base", "two")
    answer = http.post("/v1/sprites/base/fork", json={"names": ["a", "b"], "checkpoint": "ready"})
    assert (answer.status_code, {_read(http, name) for name in ("a", "b")}) == (201, {"one"})
    assert len(checkpoints.every(host.database, host.sprites.find(host.organisation.id, "base").id)) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [({"names": []}, 400), ({"names": ["a", "a"]}, 400), ({"names": ["a", "base"]}, 409), ({"names": ["A B"]}, 400),
     ({"names": ["a"], "checkpoint": "v9"}, 404), ({"names": [f"n{n}" for n in range(51)]}, 400), ({}, 400)],
)  # fmt: skip
def test_forks_that_cannot_be_meant_make_nothing(http: httpx.Client, body: dict[str, Any], status: int) -> None:
    assert http.post("/v1/sprites/base/fork", json=body).status_code == status
    assert [row["name"] for row in http.get("/v1/sprites").json()["sprites"]] == ["base"]


def test_a_fork_that_fails_leaves_nothing_and_the_others_stay(host: HostUnderTest, http: httpx.Client) -> None:
    real = host.volumes.fork
    broken: list[Any] = []

    def fork(source: Any, volume: Any, checkpoint: Any = None) -> Any:
        broken.append(volume)
        if volume == broken[0]:
            raise errors.NotFound("no such checkpoint any more")
        return real(source, volume, checkpoint)

    host.volumes.fork = fork  # type: ignore[method-assign]
    answer = http.post("/v1/sprites/base/fork", json={"names": ["a", "b", "c"]})
    assert answer.status_code == 201
    made, failed = ([row["name"] for row in answer.json()[key]] for key in ("sprites", "failed"))
    assert (len(made), len(failed), sorted(made + failed)) == (2, 1, ["a", "b", "c"])
    assert http.get(f"/v1/sprites/{failed[0]}").status_code == 404


def test_the_next_pilotd_makes_those_that_are_left(host: HostUnderTest, http: httpx.Client) -> None:
    host.vmm.fail_start = 3
    row = host.sprites.find(host.organisation.id, "base")
    host.sprites.fork_many(row, Forks(("a", "b", "c")))
    host.restart()
    for record in host.engine.active():
        if (ended := host.engine.waiting_for(record.id)) is not None:
            assert ended.result(WAIT_S).done
    names = {sprite.name for sprite in host.sprites.every() if sprite.phase == "live"}
    assert names == {"base", "a", "b", "c"}


def test_automatic_ones_go_but_not_those_that_have_a_name(host: HostUnderTest, http: httpx.Client) -> None:
    for number in range(automatic.KEPT + 2):
        assert http.post("/v1/sprites/base/fork", json={"names": [f"n{number}"]}).status_code == 201
        if number == 0:
            [kept] = http.get("/v1/sprites/base/checkpoints?includeAuto=true").json()[1:]
            assert http.put(f"/v1/sprites/base/checkpoints/{kept['id']}", json={"name": "first"}).status_code == 200
    found = http.get("/v1/sprites/base/checkpoints?includeAuto=true").json()[1:]
    assert (len(found), found[-1]["name"]) == (automatic.KEPT + 1, "first")


def _scoped(host: HostUnderTest, http: httpx.Client, **body: str) -> httpx.Client:
    token = http.post("/v1/tokens", json=body).json()["token"]
    return httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_S)


def test_keys_of_others_and_of_less(host: HostUnderTest, http: httpx.Client) -> None:
    _save(http, name="ready")
    assert http.post("/v1/sprites", json={"name": "other"}).status_code == 201
    stranger = tokens.issue(host.database, tokens.ensure_organisation(host.database, "them"), tokens.Wanted())
    files = "/v1/sprites/base/checkpoints/ready/fs/list?path=/"
    with httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {stranger}"}, timeout=WAIT_S) as them:
        assert them.post("/v1/sprites", json={"name": "x", "template": "base:ready"}).status_code == 404
        assert them.post("/v1/sprites/base/fork", json={"names": ["x"]}).status_code == 404
        assert them.get(files).status_code == 404
        assert them.put("/v1/sprites/base/checkpoints/v1", json={"name": "y"}).status_code == 404
    with _scoped(host, http, sprite="other") as one:
        assert one.post("/v1/sprites/base/fork", json={"names": ["x"]}).status_code in (403, 404)
        assert one.post("/v1/sprites/other/fork", json={"names": ["x"]}).status_code in (403, 404)
        assert one.get(files).status_code in (403, 404)
    with _scoped(host, http, role="exec") as runs:
        assert runs.get(files).status_code == 403
        assert runs.put("/v1/sprites/base/checkpoints/v1", json={"name": "y"}).status_code == 403
    with _scoped(host, http, role="read") as reads:
        assert reads.get(files).status_code == 200
        assert reads.post("/v1/sprites/base/fork", json={"names": ["x"]}).status_code == 403
    assert [row["name"] for row in http.get("/v1/sprites").json()["sprites"]] == ["base", "other"]


def _inside(host: HostUnderTest) -> pathlib.Path:
    """The sprite's root directory, as it is now."""
    return host.volumes._live(host.sprites.find(host.organisation.id, "base").volume) / "rootfs"


def test_what_is_in_a_checkpoint_is_seen_without_a_restore(host: HostUnderTest, http: httpx.Client) -> None:
    root = _inside(host)
    (root / "d").mkdir()
    (root / "d/file").write_bytes(b"one\0\xff")
    (root / "d/link").symlink_to("/d/file")
    (root / "d/out").symlink_to("../../../../../../etc/passwd")
    (root / os.fsdecode(b"caf\xe9")).write_text("")
    _save(http, name="ready")
    (root / "d/file").write_bytes(b"two")
    found = http.get("/v1/sprites/base/checkpoints/ready/fs/list?path=/d").json()
    entries = {row["name"]: row for row in found["entries"]}
    assert list(entries) == ["file", "link", "out"]
    assert (entries["file"]["size"], entries["file"]["type"], entries["link"]["target"]) == (5, "file", "/d/file")
    read = "/v1/sprites/base/checkpoints/ready/fs/read?path="
    assert http.get(f"{read}/d/file").content == b"one\0\xff"
    assert http.get(f"{read}/d/link").content == b"one\0\xff", "as the sprite would follow it"
    assert http.get(f"{read}/d/out").status_code == 404, "and never out of it"
    one = http.get("/v1/sprites/base/checkpoints/v1/fs/list?path=/d/out").json()["entries"]
    assert [(row["type"], row["target"]) for row in one] == [("symlink", "../../../../../../etc/passwd")]
    top = http.get("/v1/sprites/base/checkpoints/v1/fs/list?path=/").json()["entries"]
    assert "caf\udce9" in [row["name"] for row in top]
    assert [name for name in host.volumes.names() if name.startswith(looking.PREFIX)] == []


@pytest.mark.parametrize(
    ("question", "status"),
    [("list?path=/nothing", 404), ("read?path=/nothing", 404), ("read?path=/etc", 400),
     ("list?path=etc", 400), ("list", 400), ("read?path=/a%00b", 400), ("list?path=/etc/os-release/x", 404),
     ("read?path=/" + "a" * 300, 400), ("read?path=/big", 400)],
)  # fmt: skip
def test_what_cannot_be_seen_in_it(host: HostUnderTest, http: httpx.Client, question: str, status: int) -> None:
    with (_inside(host) / "big").open("wb") as big:
        big.truncate(browsing.MOST_BYTES + 1)
    _save(http)
    answer = http.get(f"/v1/sprites/base/checkpoints/v1/fs/{question}")
    assert (answer.status_code, "error" in answer.json()) == (status, True)
    assert http.get(f"/v1/sprites/base/checkpoints/v9/fs/{question}").status_code in (400, 404)
