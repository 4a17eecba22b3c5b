"""sprites-py, unmodified, against pilotd's HTTP side; machines and volumes are fakes behind real sockets."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sprites import SpritesClient
from sprites.exceptions import AuthenticationError, FileNotFoundError_, NotFoundError, SpriteError
from sprites.types import ListOptions, URLSettings
from tests.support.host import HostUnderTest


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


@pytest.fixture
def client(host: HostUnderTest) -> Iterator[Any]:
    with SpritesClient(host.token, base_url=host.url, timeout=30.0) as client:
        yield client


@pytest.fixture
def sprite(client: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    made = client.create_sprite(name)
    yield made
    made.destroy()


def test_a_sprite_is_created_found_listed_and_destroyed(client: Any, host: HostUnderTest) -> None:
    made = client.create_sprite("first", labels=["one"])
    assert made.status == "running"
    assert client.get_sprite("first").id == made.id
    assert [entry.name for entry in client.list_sprites().sprites] == ["first"]
    machine = host.sprites.find(host.organisation.id, "first").machine
    made.destroy()
    with pytest.raises(NotFoundError):
        client.get_sprite("first")
    assert machine not in host.vmm.made
    assert [name for name in host.volumes.names() if not name.startswith("base")] == []
    assert host.database.query("SELECT * FROM machines") == []


def test_lists_are_paged_by_name(client: Any) -> None:
    names = [f"page-{letter}" for letter in "abcde"]
    for name in names:
        client.create_sprite(name)
    page = client.list_sprites(ListOptions(prefix="page-", max_results=2))
    assert ([entry.name for entry in page.sprites], page.has_more) == (names[:2], True)
    rest = client.list_sprites(
        ListOptions(prefix="page-", max_results=3, continuation_token=page.next_continuation_token)
    )
    assert ([entry.name for entry in rest.sprites], rest.has_more) == (names[2:], False)
    for name in names:
        client.destroy_sprite(name)


def test_updates_are_partial(client: Any, sprite: Any) -> None:
    client.update_sprite(sprite.name, labels=["a", "b"])
    client.update_url_settings(sprite.name, URLSettings(auth="public"))
    again = client.get_sprite(sprite.name)
    assert list(again.labels) == ["a", "b"]
    assert again.url_settings.auth == "public"


def test_refusals(client: Any, host: HostUnderTest, sprite: Any) -> None:
    with pytest.raises(SpriteError, match=r"409.*sprite already exists"):
        client.create_sprite(sprite.name)
    with pytest.raises(SpriteError, match=r"400.*invalid sprite name"):
        client.create_sprite("Not A Name")
    with pytest.raises(NotFoundError):
        client.get_sprite("nobody")
    with SpritesClient(host.token[:-1], base_url=host.url) as stranger, pytest.raises(AuthenticationError):
        stranger.list_sprites()


def test_exec_is_relayed_both_ways(sprite: Any) -> None:
    done = sprite.run("sh", "-c", "cat etc/os-release; echo err >&2; exit 42", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (42, b"ID=fake\n", b"err\n")


def test_much_data_passes_in_both_directions(sprite: Any) -> None:
    payload = bytes(range(256)) * 20_000
    command = sprite.command("cat", stdin=io.BytesIO(payload))
    assert command.output() == payload


def test_the_machine_is_asked_its_own_paths_and_never_shown_the_token(sprite: Any, host: HostUnderTest) -> None:
    sprite.run("true")
    machine = host.machine(sprite.name)
    method, target, headers = machine.requests[-1]
    assert method == "WS"
    assert target.startswith("/v1/exec?container=world&detach_after=900000ms&cmd=true")
    assert "authorization" not in {name.lower() for name in headers}
    assert host.token not in str(machine.requests)


def test_upgrades_are_refused_before_they_happen(client: Any, host: HostUnderTest) -> None:
    with pytest.raises(Exception, match=r"sprite not found"):
        client.sprite("nobody").run("true")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 22 + "==",
               "Sec-WebSocket-Version": "13"}  # fmt: skip
    control = httpx.get(
        f"{host.url}/v1/sprites/any/control", headers=upgrade | {"Authorization": f"Bearer {host.token}"}
    )
    assert (control.status_code, control.json()) == (404, {"error": "not found"})
    nobody = httpx.get(f"{host.url}/v1/sprites/any/exec?cmd=x", headers=upgrade)
    assert (nobody.status_code, nobody.json()) == (401, {"error": "authentication failed"})


def test_files_are_relayed(sprite: Any) -> None:
    path = sprite.filesystem("/") / "home/x.bin"
    blob = bytes(range(256)) * 4096
    path.write_bytes(blob)
    assert path.read_bytes() == blob
    with pytest.raises(FileNotFoundError_):
        (sprite.filesystem("/") / "absent").read_bytes()


def test_a_stopped_machine_is_woken_by_exec(sprite: Any, host: HostUnderTest) -> None:
    row = host.sprites.find(host.organisation.id, sprite.name)
    assert host.sprites.stop(row).result(30).done
    assert host.sprites.status(row) == "cold"
    assert sprite.run("true").returncode == 0
    assert host.sprites.status(row) == "running"


def test_a_machine_that_died_unseen_is_woken(sprite: Any, host: HostUnderTest) -> None:
    row = host.sprites.find(host.organisation.id, sprite.name)
    assert row.machine is not None
    host.vmm.stop(row.machine)
    assert host.sprites.is_ready(row)
    assert sprite.run("true").returncode == 0


def test_a_world_that_died_unseen_is_started_again(sprite: Any, host: HostUnderTest) -> None:
    machine = host.machine(sprite.name)
    machine.world = "failed"
    assert host.sprites.is_ready(host.sprites.find(host.organisation.id, sprite.name))
    assert sprite.run("true").returncode == 0
    assert host.machine(sprite.name) is machine


def test_the_base_is_made_once(host: HostUnderTest) -> None:
    base = next(name for name in host.volumes.names() if name.startswith("base-"))
    made = host.volumes.identity(base)
    host.restart()
    assert host.sprites.prepare_base().result(30).done
    assert host.volumes.identity(base) == made


def test_checkpoint_damage_restore(sprite: Any) -> None:
    keep = sprite.filesystem("/") / "keep"
    keep.write_bytes(b"precious")
    messages = list(sprite.create_checkpoint("before"))
    assert [message.type for message in messages] == ["info", "complete"]
    points = {point.id: point for point in sprite.list_checkpoints()}
    assert set(points) == {"Current", "v1"}
    assert points["v1"].comment == "before"
    keep.write_bytes(b"damaged")
    assert [message.type for message in sprite.restore_checkpoint("v1")] == ["info", "complete"]
    assert keep.read_bytes() == b"precious"
    assert sprite.get_checkpoint("v1").id == "v1"


def test_restoring_what_is_not_there_changes_nothing(sprite: Any) -> None:
    keep = sprite.filesystem("/") / "keep"
    keep.write_bytes(b"x")
    with pytest.raises(Exception, match=r"404"):
        list(sprite.restore_checkpoint("v9"))
    assert keep.read_bytes() == b"x"


@pytest.mark.parametrize("from_checkpoint", [False, True])
def test_a_fork_goes_its_own_way(client: Any, host: HostUnderTest, sprite: Any, from_checkpoint: bool) -> None:
    keep = sprite.filesystem("/") / "keep"
    keep.write_bytes(b"old")
    list(sprite.create_checkpoint("c"))
    keep.write_bytes(b"new")
    source = {"sprite": sprite.name} | ({"checkpoint": "v1"} if from_checkpoint else {})
    answer = httpx.post(
        f"{host.url}/v1/sprites",
        headers={"Authorization": f"Bearer {host.token}"},
        json={"name": "child", "from": source},
        timeout=30,
    )
    assert answer.status_code == 201
    child = client.sprite("child").filesystem("/") / "keep"
    assert child.read_bytes() == (b"old" if from_checkpoint else b"new")
    child.write_bytes(b"child")
    assert keep.read_bytes() == b"new"
    client.destroy_sprite("child")


def test_a_create_that_fails_leaves_nothing(client: Any, host: HostUnderTest) -> None:
    host.vmm.fail_start = 100
    try:
        with pytest.raises(SpriteError, match=r"503.*no luck"):
            client.create_sprite("luckless")
    finally:
        host.vmm.fail_start = 0
    with pytest.raises(NotFoundError):
        client.get_sprite("luckless")
    assert [name for name in host.volumes.names() if not name.startswith("base")] == []
    assert host.vmm.made == {}


def test_a_new_pilotd_adopts_what_runs(client: Any, host: HostUnderTest) -> None:
    (client.create_sprite("outlives").filesystem("/") / "f").write_bytes(b"x")
    machine = host.machine("outlives")
    host.restart()
    row = host.sprites.find(host.organisation.id, "outlives")
    assert host.sprites.status(row) == "warm"
    assert host.sprites.adopt(row)
    with SpritesClient(host.token, base_url=host.url) as again:
        assert (again.get_sprite("outlives").filesystem("/") / "f").read_bytes() == b"x"
        assert host.machine("outlives") is machine
        again.destroy_sprite("outlives")
