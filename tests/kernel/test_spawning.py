"""Sprites that a sprite makes by itself, and checkpoints that it asks for, by its own socket and without a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "veth", "nft")

RULES = {"rules": [{"domain": "example.test", "action": "allow"}]}


@pytest.fixture
def http(pilotd: Pilotd) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    with httpx.Client(base_url=f"{pilotd.url}/v1/sprites", headers=headers, timeout=120) as client:
        yield client


def _env(sprite: Any, words: str) -> tuple[int, str]:
    """The exit status of `sprite-env` in it, and what it said."""
    done = sprite.run("sh", "-c", f"/.sprite/bin/sprite-env {words} 2>&1", capture_output=True)
    return done.returncode, bytes(done.stdout).decode()


def test_children_are_made_as_far_as_their_parent_may(pilotd: Pilotd, http: httpx.Client) -> None:
    with pilotd.client() as client:
        parent, other = client.create_sprite("parent"), client.create_sprite("parent-other")
        parent.run("sh", "-c", "echo mine > ~/file; sync", check=True)
        code, said = _env(parent, "sprites create a")
        assert (code, "may make no others" in said) == (1, True), said

        policy = {"children": 2, "from": ["image", "self"], "expires_in_s": 3600}
        assert http.post("/parent/policy/spawn", json=policy).status_code == 204
        assert http.post("/parent/policy/network", json=RULES).status_code == 204
        assert http.put("/parent/network/private", json={"network": "family"}).status_code == 200
        privileges = {"profile": "standard", "devices": ["/dev/fuse"], "noNewPrivileges": False}
        assert http.post("/parent/policy/privileges", json=privileges).status_code == 204
        code, said = _env(parent, "sprites create a --env A=1")
        assert code == 0, said
        assert (json.loads(said)["name"], json.loads(said)["status"]) == ("parent-a", "running")
        assert http.get("/parent-a/policy/network").json() == RULES
        assert http.get("/parent-a/policy/privileges").json() == privileges | {"pending": False}
        assert http.get("/parent-a/network/private").json()["network"] == "family"
        assert http.get("/parent-a").json()["lifecycle"]["expires_at"] is not None
        child = client.get_sprite("parent-a")
        seen = child.run("sh", "-c", "echo $A; cat /.sprite/policy/network.json", capture_output=True).stdout
        assert (seen[:2], b"example.test" in seen) == (b"1\n", True)

        code, said = _env(parent, "sprites create --from self --expire 60")
        assert code == 0, said
        fork = client.get_sprite(json.loads(said)["name"])
        assert fork.run("sh", "-c", "cat ~/file", capture_output=True).stdout == b"mine\n"
        code, said = _env(parent, "sprites create c")
        assert (code, "as many as it may" in said) == (1, True), said
        listed = json.loads(_env(parent, "sprites list")[1])["sprites"]
        assert {each["name"] for each in listed} == {"parent-a", fork.name}

        code, said = _env(fork, "sprites create d")
        assert (code, "may make no others" in said) == (1, True), "a fork has its parent's disk, and not what it may"
        for name in (other.name, parent.name, "nobody"):
            code, said = _env(parent, f"sprites delete {name}")
            assert (code, "child not found" in said) == (1, True), said
        assert _env(parent, f"sprites delete {fork.name}")[0] == 0
        assert http.get(f"/{fork.name}").status_code == 404

        code, said = _env(parent, "sprites create t --from parent-other:v1")
        assert (code, "it may make some from image, self" in said) == (1, True), said
        code, said = _env(parent, "sprites create other")
        assert (code, "sprite already exists" in said) == (1, True), said
        assert http.delete("/parent/policy/spawn").status_code == 204
        assert _env(parent, "sprites create e")[0] == 1
        assert http.get("/parent-a").status_code == 200
        for name in ("parent-a", "parent-other", "parent"):
            client.destroy_sprite(name)


def test_checkpoints_are_asked_for_from_inside(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("inside")
        code, said = _env(sprite, "checkpoints create --comment 'by myself' --name mine")
        assert (code, [json.loads(line)["type"] for line in said.splitlines()]) == (0, ["info", "complete"]), said
        code, said = _env(sprite, "checkpoints create --name mine")
        assert '"error"' in said, said
        found = json.loads(_env(sprite, "checkpoints list")[1])
        assert [(each["id"], each["comment"], each["name"]) for each in found] == [("v1", "by myself", "mine")]
        assert sprite.get_checkpoint("mine").id == "v1"
        sprite.destroy()
