"""A sprite shipped: an image that podman runs and skopeo reads, of a sprite that somebody has worked in."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support import clients, flyapi, images, registry
from tests.support.flyapi import Fly
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space", "podman", "skopeo")

_WORK = r"""
set -e
cd ~
mkdir -p app .ssh .cache/x
echo 'print("served")' > app/main.py
ln -s app/main.py main
ln app/main.py app/again.py
echo secret > .ssh/id_ed25519
echo KEY=1 > app/.env
echo big > .cache/x/big
sudo setfattr -n user.colour -v red app/main.py 2>/dev/null || true
sudo rm -rf /usr/share/doc /etc/motd
sudo sh -c 'echo changed > /etc/issue'
sudo install -d -o 1000 -g 1000 -m 0750 /srv/data
"""


def call(pilotd: Pilotd, method: str, path: str, body: object) -> None:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    answer = httpx.request(method, f"{pilotd.url}/v1/sprites{path}", json=body, headers=headers, timeout=60)
    assert answer.is_success, answer.text


@pytest.fixture(scope="module")
def sprite(pilotd: Pilotd) -> Iterator[Any]:
    with pilotd.client() as client:
        made = client.create_sprite("proto")
        made.run("sh", "-c", _WORK, check=True)
        service = {"cmd": "python3", "args": ["app/main.py"], "http_port": 8080, "env": {"MODE": "fast"}}
        call(pilotd, "PUT", "/proto/services/web", service)
        yield made


def ship(pilotd: Pilotd, *words: str) -> dict[str, Any]:
    environment = os.environ | {"SPRITES_API_URL": pilotd.url, "SPRITE_TOKEN": pilotd.token()}
    command = [".venv/bin/sprite", "ship", "--json", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr + pilotd.tail()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def shipped(pilotd: Pilotd, sprite: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    place = tmp_path_factory.mktemp("image") / "proto.tar"
    return place, ship(pilotd, "proto", "--to", f"oci-archive:{place}")


def test_skopeo_reads_it(shipped: tuple[Path, dict[str, Any]]) -> None:
    place, told = shipped
    done = subprocess.run(["skopeo", "inspect", "--config", f"oci-archive:{place}"], capture_output=True, check=True)
    config = json.loads(done.stdout)["config"]
    assert (config["User"], config["WorkingDir"]) == ("sprite", "/home/sprite")
    assert (config["Cmd"], config["ExposedPorts"]) == (["python3", "app/main.py"], {"8080/tcp": {}})
    assert "MODE=fast" in config["Env"]
    inspected = subprocess.run(["skopeo", "inspect", f"oci-archive:{place}"], capture_output=True, check=True)
    assert json.loads(inspected.stdout)["Digest"] == told["digest"]


def test_what_is_left_out_is_told_and_is_not_there(shipped: tuple[Path, dict[str, Any]]) -> None:
    place, told = shipped
    left = {each["path"] for each in told["left_out"]}
    assert {"/home/sprite/.ssh", "/home/sprite/app/.env", "/home/sprite/.cache"} <= left
    assert told["whiteouts"] >= 2
    with tarfile.open(place) as archive:
        blobs = [member for member in archive.getmembers() if member.name.startswith("blobs/")]
        upper = min((member for member in blobs if member.size > 5000), key=lambda member: member.size)
        file = archive.extractfile(upper)
        assert file is not None
        with tarfile.open(fileobj=file) as layer:
            names = layer.getnames()
    assert {"./etc/.wh.motd", "./usr/share/.wh.doc", "./home/sprite/app/main.py"} <= set(names)
    assert not [name for name in names if ".ssh" in name or ".env" in name or "/.cache" in name]
    assert len(names) < 100, "and nothing that nobody touched"


_LOOK = """
cat /etc/issue; stat -c '%u %g %a' /srv/data; stat -c %h app/main.py; readlink main; id -un; pwd
ls -d .ssh /etc/motd /usr/share/doc app/.env 2>/dev/null; stat -c %u:%g /home/sprite; sudo -n id -u
"""


def test_podman_runs_it(shipped: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the runtime that most have, and with ours."""
    place, _ = shipped
    podman = clients.podman(tmp_path_factory.mktemp("pod"))
    image = podman.run("--storage-driver=overlay", "pull", "--quiet", f"oci-archive:{place}").split()[-1]
    for runtime in ("runc", str(clients.PILOT)):
        run = ("--storage-driver=overlay", "--runtime", runtime, "run", "--rm", "--network=none")
        assert podman.run(*run, image, "sh", "-c", _LOOK).splitlines() == [
            "changed", "1000 1000 750", "2", "app/main.py", "sprite", "/home/sprite", "1000:1000", "0",
        ]  # fmt: skip
        assert podman.run(*run, image) == "served\n"


@pytest.mark.requires("docker-registry")
def test_a_registry_takes_it(
    pilotd: Pilotd, sprite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fly: Fly
) -> None:
    """By skopeo, as its own configuration says; and a Machine runs what was pushed."""
    with registry.registry(tmp_path / "registry") as running:
        configured = tmp_path / ".config/containers/registries.conf"
        configured.parent.mkdir(parents=True)
        configured.write_text(f'[[registry]]\nlocation = "{running.domain}"\ninsecure = true\n')
        monkeypatch.setenv("HOME", str(tmp_path))
        reference = f"{running.domain}/team/proto:1"
        told = ship(pilotd, "proto", "--to", reference)
        assert told["file"] == reference
        id = fly.create({"image": reference, "init": {"cmd": ["sleep", "10000"]}})["id"]
        assert fly.run(id, "sh", "-c", "cat /etc/issue; id -un; ls -d .ssh") == (2, "changed\nsprite\n")


def test_a_checkpoint_ships_the_same_again(
    pilotd: Pilotd, shipped: tuple[Path, dict[str, Any]], sprite: Any, tmp_path: Path
) -> None:
    sprite.run("sh", "-c", "echo later > ~/app/main.py", check=True)
    again = ship(pilotd, "proto", "--checkpoint", shipped[1]["checkpoint"], "--to", f"oci-archive:{tmp_path}/again.tar")
    assert again["digest"] == shipped[1]["digest"]
    assert {volume.name for volume in (pilotd.state / "volumes").iterdir() if "look-" in volume.name} == set()


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    with flyapi.app(pilotd, request.node.originalname.replace("_", "-")[:60].strip("-")) as app:
        yield app


_SERVING = "import time; open('/srv/data/mark', 'w').write('machine'); time.sleep(10000)"


def test_a_machine_on_a_fork_of_the_checkpoint(pilotd: Pilotd, fly: Fly) -> None:
    """It runs what the sprite served, as its user, on the disk as it was; each on its own from there on."""
    with pilotd.client() as client:
        call(pilotd, "POST", "", {"name": "prototype", "environment": {"COLOUR": "red", "API_KEY": "hidden"}})
        sprite = client.sprite("prototype")
        sprite.run("sh", "-c", "sudo install -d -o sprite /srv/data; echo here > ~/notes; sync", check=True)
        service = {"cmd": "python3", "args": ["-c", _SERVING], "env": {"MODE": "fast"}}
        call(pilotd, "PUT", "/prototype/services/app", service)
        told = ship(pilotd, "prototype", "--to", f"machine:{fly.app}")
        id = told["machine"]["id"]
        assert (told["machine"]["state"], told["machine"]["image_ref"]["repository"]) == ("started", "sprite/prototype")
        look = "cat notes; id -un; echo $COLOUR$MODE$API_KEY; pwd"
        assert fly.run(id, "sh", "-c", look) == (0, "here\nsprite\nredfast\n/home/sprite\n")
        assert fly.call("GET", f"/{id}/ps")[0]["command"].split()[:2] == ["python3", "-c"]
        fly.run(id, "sh", "-c", "echo machine > notes")
        assert sprite.run("cat", "notes", capture_output=True).stdout == b"here\n"
        sprite.destroy()
    fly.call("POST", f"/{id}/stop", {})
    fly.wait(id, "stopped")
    fly.call("POST", f"/{id}/start")
    fly.wait(id, "started")
    assert fly.run(id, "cat", "notes") == (0, "here\n")  # a start begins as the checkpoint was
    config = fly.get(id)["config"]
    fly.call("POST", f"/{id}", {"config": {**config, "env": {"COLOUR": "blue"}}})
    fly.wait(id, "started")
    assert fly.run(id, "sh", "-c", "cat notes; echo $COLOUR") == (0, "here\nblue\n")


def test_a_sprite_of_a_machine(pilotd: Pilotd, fly: Fly, tmp_path: Path) -> None:
    """On a fork of its root, as it is while it runs; each on its own from there on. It outlives the Machine."""
    forever = {"Cmd": ["sh", "-c", "while :; do sleep 0.1; done"]}
    with images.serve(images.busybox(tmp_path / "image", forever)) as served, pilotd.client() as client:
        config = {"image": f"{served.domain}/box:1", "stop_config": {"signal": "SIGKILL"}}
        id = fly.create(config)["id"]
        fly.run(id, "sh", "-c", "echo here > /root/notes")
        call(pilotd, "POST", "", {"name": "of-a-machine", "from": {"machine": f"{fly.app}/{id}"}})
        sprite = client.sprite("of-a-machine")
        assert sprite.run("sh", "-c", "cat /root/notes; id -u", capture_output=True).stdout == b"here\n0\n"
        sprite.run("sh", "-c", "echo sprite > /root/notes", check=True)
        assert fly.run(id, "cat", "/root/notes") == (0, "here\n")
        fly.call("DELETE", f"/{id}?force=true")
        assert sprite.run("cat", "/root/notes", capture_output=True).stdout == b"sprite\n"
        asked = {"name": "of-none", "from": {"machine": f"{fly.app}/{id}"}}
        headers = {"Authorization": f"Bearer {pilotd.token()}"}
        assert httpx.post(f"{pilotd.url}/v1/sprites", json=asked, headers=headers, timeout=60).status_code == 404
        sprite.destroy()


def test_a_machine_of_no_checkpoint(pilotd: Pilotd, sprite: Any, fly: Fly) -> None:
    for image, status in (("sprite://proto/v99", 404), ("sprite://nobody/v1", 404), ("sprite://proto", 400)):
        fly.call("POST", "", {"config": {"image": image}}, status=status)
    assert fly.call("GET", "") == []
