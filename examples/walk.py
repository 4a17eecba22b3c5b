"""The way, walked before your eyes: create, run, checkpoint, damage, restore, fork. Each step with its time.

    make demo            (or: pilotd serve ... in one terminal, then python examples/walk.py URL TOKEN)

Speaks to pilotd by the official client (sprites-py, unmodified); the fork, which upstream does not have, is plain HTTP.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from sprites import Sprite, SpritesClient


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print `what` and the milliseconds that the body took."""
    began = time.monotonic()
    yield
    print(f"{(time.monotonic() - began) * 1000:9.0f} ms   {what}", flush=True)


def show(sprite: Sprite, command: str) -> None:
    """Run `command` in a shell of the sprite and print it with its output, indented."""
    with step(f"{sprite.name}$ {command}"):
        done = sprite.run("sh", "-c", command, capture_output=True)
    for line in (done.stdout + done.stderr).decode().splitlines():
        print(f"{'':15}{line}")


def fork(url: str, token: str, parent: str, name: str) -> None:
    """Our extension of `POST /v1/sprites`: `from` names the sprite whose disk is shared."""
    body = {"name": name, "from": {"sprite": parent}}
    answer = httpx.post(f"{url}/v1/sprites", headers={"Authorization": f"Bearer {token}"}, json=body, timeout=60)
    answer.raise_for_status()


def walk(url: str, token: str) -> None:
    """The whole way against the pilotd at `url`."""
    with SpritesClient(token, base_url=url, timeout=120.0) as client:
        with step("create a sprite"):
            sprite = client.create_sprite("walker")
        show(sprite, ". /etc/os-release; echo $PRETTY_NAME, $(id -un) in $PWD on $(hostname)")
        show(sprite, "df -h / | tail -1")
        show(sprite, "echo precious > keep; sudo touch /made-by-root; ls -l keep /made-by-root")
        with step("checkpoint v1"):
            list(sprite.create_checkpoint("before the damage"))
        show(sprite, "sudo rm -rf --no-preserve-root /usr /etc /home 2>/dev/null; echo survived: $(echo /*)")
        with step("restore v1"):
            list(sprite.restore_checkpoint("v1"))
        show(sprite, "cat keep; ls / | wc -l")
        with step("fork walker into child"):
            fork(url, token, "walker", "child")
        child = client.sprite("child")
        show(child, "echo written in the child >> keep; cat keep")
        show(sprite, "echo written in the parent >> keep; cat keep")
        show(child, "cat keep")
        with step("destroy both"):
            child.destroy()
            sprite.destroy()


if __name__ == "__main__":
    walk(*sys.argv[1:3])
