"""Templates, several forks at once, and what is in a checkpoint, on real disks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.support import programs
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")

FILL = "mkdir ~/d; cd ~/d; echo one > file; ln -s ../d/file link; ln -s /etc/shadow out; mkfifo fifo; sync"


def _call(pilotd: Pilotd, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.request(method, f"{pilotd.url}{path}", headers=headers, json=body, timeout=120)


def test_forks_begin_as_their_template_and_it_can_be_looked_into(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        base = client.create_sprite("base")
        base.run("sh", "-c", FILL, check=True)
        home = base.run("sh", "-c", "cd; pwd", capture_output=True).stdout.decode().strip()
        assert _call(pilotd, "POST", "/v1/sprites/base/checkpoint", {"name": "ready"}).status_code == 200
        base.run("sh", "-c", "echo two > ~/d/file; sync", check=True)
        inside = f"/v1/sprites/base/checkpoints/ready/fs/list?path={home}/d"
        entries = _call(pilotd, "GET", inside).json()["entries"]
        assert [(row["name"], row["type"]) for row in entries] == [
            ("fifo", "other"), ("file", "file"), ("link", "symlink"), ("out", "symlink"),
        ]  # fmt: skip
        read = f"/v1/sprites/base/checkpoints/ready/fs/read?path={home}/d"
        assert _call(pilotd, "GET", f"{read}/link").content == b"one\n"
        assert _call(pilotd, "GET", f"{read}/fifo").status_code == 400, "which would wait for a writer"
        shadow = _call(pilotd, "GET", f"{read}/out")
        mine = base.run("sh", "-c", "cat /etc/shadow 2>/dev/null", capture_output=True).stdout
        assert shadow.status_code == 404 or shadow.content == mine or not mine, "the sprite's own, never the host's"
        wanted = {"names": ["a", "b", "c"], "checkpoint": "ready"}
        assert _call(pilotd, "POST", "/v1/sprites/base/fork", wanted).status_code == 201
        assert _call(pilotd, "POST", "/v1/sprites", {"name": "d", "template": "base:ready"}).status_code == 201
        base.destroy()
        for name in ("a", "b", "c", "d"):
            sprite = client.get_sprite(name)
            assert sprite.run("sh", "-c", "cat ~/d/link", capture_output=True).stdout == b"one\n"
            sprite.destroy()


_IDENTITY = """
set -e
printf '%032x\\n' 7 >/etc/machine-id
mkdir -p /etc/ssh && cd /etc/ssh
ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key
ssh-keygen -q -t ecdsa -N '' -f ssh_host_ecdsa_key && touch ssh_host_ecdsa_key-cert.pub
"""
_TOLD = "cat /etc/machine-id && cd /etc/ssh && ssh-keygen -lf ssh_host_ed25519_key && cat ssh_host_ecdsa_key"


def _told(sprite: Any) -> list[str]:
    """Machine id, host key of the system, host key that somebody has signed."""
    done = sprite.run("sudo", "sh", "-c", _TOLD, capture_output=True, check=True)
    id, own, signed = done.stdout.decode().split("\n", 2)
    return [id, own.split()[1], signed]


@pytest.mark.requires("ssh")
def test_a_fork_is_another_machine_and_stays_the_one_that_it_is(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        base = client.create_sprite("identity")
        programs.install(base, "ssh-keygen")
        base.run("sudo", "sh", "-c", _IDENTITY, check=True)
        before = _told(base)
        made = _call(pilotd, "POST", "/v1/sprites/identity/fork", {"names": ["fork-1", "fork-2"]})
        assert made.status_code == 201, made.text
        forks = [client.get_sprite(name) for name in ("fork-1", "fork-2")]
        ids, keys, signed = zip(before, *map(_told, forks), strict=True)
        assert (len(set(ids)), len(set(keys)), len(set(signed))) == (3, 3, 1)
        seen = _told(forks[0])
        for call in ("restart", "checkpoint"):
            assert _call(pilotd, "POST", f"/v1/sprites/fork-1/{call}", {}).status_code == 200
        assert _call(pilotd, "POST", "/v1/sprites/fork-1/checkpoints/v1/restore").status_code == 200
        assert _told(forks[0]) == seen, "only the first time"
        assert _told(base) == before
        for sprite in (base, *forks):
            sprite.destroy()


_TREE = """
mkdir -p ~/app/sub && cd ~/app && echo one > file && ln file sub/hard && ln -s /etc/passwd link
sudo setfattr -n user.mark -v kept file 2>/dev/null || true
sudo install -o root -g daemon -m 2750 -d owned && truncate -s 64M hole && printf x >>hole
sudo mkdir -p '/srv/a b' && echo deep | sudo tee '/srv/a b/ü' >/dev/null
ln -s /srv ~/elsewhere
"""
_SEEN = "cd ~/app && cat file link | sha256sum && stat -c '%n %a %U %G %h %F' * sub/* && stat -c %b hole"


def _restored(pilotd: Pilotd, path: object, checkpoint: str = "ready") -> dict[str, Any]:
    """The last line of what is said."""
    answer = _call(pilotd, "POST", f"/v1/sprites/base/checkpoints/{checkpoint}/restore", {"path": path})
    assert answer.status_code == 200, answer.text
    line: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
    return line


def test_one_path_is_put_back_while_all_else_runs_on(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        base = client.create_sprite("base")

        def said(script: str) -> str:
            return bytes(base.run("sh", "-c", script, capture_output=True, check=True).stdout).decode()

        said(_TREE)
        before = said(_SEEN)
        assert _call(pilotd, "POST", "/v1/sprites/base/checkpoint", {"name": "ready"}).status_code == 200
        begun = said("setsid sleep 1000 >/dev/null 2>&1 & echo $!").strip()
        said("cd ~/app && echo two > file && sudo rm -rf owned link && echo new > added; echo stays > ~/other")
        assert _restored(pilotd, "/home/sprite/app")["type"] == "complete"
        assert said(_SEEN) == before, "owners, modes, links, holes as they were; what was added is gone"
        assert said(f"cat ~/other; cat /proc/{begun}/comm; ls -A ~").split()[:2] == ["stays", "sleep"]
        assert ".restoring" not in said("ls -A ~")

        said("sudo rm -rf /srv/*")
        assert _restored(pilotd, "/home/sprite/elsewhere/a b/\u00fc")["type"] == "complete", (
            "links as the sprite has them"
        )
        assert said("cat '/srv/a b/ü'") == "deep\n"

        said("rm ~/app/link && mkdir ~/app/link")
        assert _restored(pilotd, "/home/sprite/app/link/")["type"] == "complete"
        assert said("readlink ~/app/link") == "/etc/passwd\n", "the link, and not where it leads"

        said("mkdir ~/mine && echo mine > ~/mine/file && sudo mkdir -p '/srv/mounted/a b'")
        said("sudo mount --bind ~/mine '/srv/mounted/a b'")
        for path, why in (
            ("/home/sprite/nothing", "no such file"),
            ("/srv", "mounted at /srv/mounted/a b"),
        ):
            line = _restored(pilotd, path)
            assert (line["type"], why in line["error"]) == ("error", True), line
        assert said("cat ~/mine/file; ls -A /srv/mounted") == "mine\na b\n", "of what is mounted nothing is removed"
        said("sudo umount '/srv/mounted/a b'")
        for wrong in ("relative", "/", "//", "/a/../b", "/a\0b", 7, "", "/proc", "/.sprite/llm.txt", "/dev/", "//sys"):
            refused = _call(pilotd, "POST", "/v1/sprites/base/checkpoints/ready/restore", {"path": wrong})
            assert refused.status_code == 400, wrong
        refused = _call(pilotd, "POST", "/v1/sprites/base/checkpoints/ready/restore", {"paht": "/srv"})
        assert refused.status_code == 400, "or it would be the whole disk"
        for tools in ("/usr/bin", "/usr"):
            assert _restored(pilotd, tools)["type"] == "complete", "what it is done with is put back as well"
        assert said("ls -A /usr | grep -c restoring; sudo -n true && echo well") == "0\nwell\n"
        missing = _call(pilotd, "POST", "/v1/sprites/base/checkpoints/v99/restore", {"path": "/etc"})
        assert missing.status_code == 404

        said("sudo rm -rf /srv/*")
        assert _call(pilotd, "POST", "/v1/sprites/base/stop").status_code == 200
        assert _restored(pilotd, "/srv")["type"] == "complete", "one that slept is woken"
        assert said("cat '/srv/a b/ü'") == "deep\n"
        base.destroy()
