"""Runs in the environment of `make clients`: hyperterse-sandboxer, unmodified, with a sandbox that is a Machine. It is
told where pilotd is by Fly's variables alone; one line of JSON for each thing that it did.

    FLY_API_HOSTNAME=URL FLY_API_TOKEN=… FLY_APP_NAME=APP python sandboxes.py IMAGE
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main(image: str) -> None:
    """A sandbox from its creation to its end, without a pause between two calls, as people use it."""
    sandboxer = importlib.import_module("sandboxer")
    client = sandboxer.Sandboxer("fly-machines", {})
    wanted = sandboxer.CreateSandboxRequest(template=image, memory_mb=256, envs={"COLOUR": "red"})
    sandbox, made = client.create_sandbox(wanted)
    tell("create", status=made.status.value)
    info = sandbox.info()
    tell("info", is_it=info.id == made.id, template=info.template, cpus=info.cpus, memory_mb=info.memory_mb)
    sandbox.pause()
    tell("pause")
    sandbox.resume()
    tell("resume", running=sandbox.is_running())
    tell("list", ids=[row.id == made.id for row in client.list_sandboxes()])
    tell("attach", is_it=client.attach_sandbox(made.id).id == made.id)
    sandbox.kill()
    tell("kill", left=len(client.list_sandboxes()))
    client.close()


def tell(what: str, **seen: Any) -> None:
    """For the test."""
    print(json.dumps({"did": what, **seen}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
