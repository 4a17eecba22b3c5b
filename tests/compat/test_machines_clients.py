"""The Machines API as clients that are not ours ask it: one that is generated from the served document, and
hyperterse-sandboxer, unmodified."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import flyapi, images
from tests.support.pilotd import Pilotd

from pilot.host.api.machines.calls import DOCUMENT

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space", "clients")

_CMD = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]
_BIN = pathlib.Path(sys.prefix) / "clients/bin"
_ROOT = pathlib.Path(__file__).parents[1]
# What each call answered, in their order.
_STATUSES = [
    ("apps_create", 201), ("volumes_create", 200), ("secret_create", 201), ("machines_create", 200),
    ("machines_wait", 200), ("machines_exec", 200), ("machines_list_processes", 200), ("machines_create_lease", 201),
    ("machines_stop", 409), ("machines_release_lease", 200), ("machines_show", 200), ("machines_update", 200),
    ("machines_list_versions", 200), ("machines_replace_metadata", 204), ("machines_show_metadata", 200),
    ("machines_list", 200), ("app_ip_assignments_list", 200), ("machines_stop", 200), ("machines_wait", 200),
    ("machines_list_events", 200), ("machines_delete", 200), ("volumes_delete", 200), ("apps_delete", 202),
    ("apps_show", 404),
]  # fmt: skip


@pytest.fixture(scope="module")
def pilotd() -> Iterator[Pilotd]:
    with flyapi.serving() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _CMD})) as served:
        yield f"{served.domain}/box:1"


def test_a_client_that_is_generated_from_the_document(pilotd: Pilotd, image: str, tmp_path: pathlib.Path) -> None:
    """Without a warning, and with every answer read as the model that the document says."""
    flyapi.meet(pilotd, {"image": image}, volume="/data")
    served = tmp_path / "openapi3.json"
    served.write_bytes(httpx.get(pilotd.url + DOCUMENT).raise_for_status().content)
    made = tmp_path / "machines_client"
    told = _run("openapi-python-client", "generate", "--path", str(served), "--output-path", str(made), "--meta=none")
    assert "Warning" not in told, told
    lines = _run("python", str(_ROOT / "clients/generated.py"), str(tmp_path), pilotd.url, pilotd.token(), image)
    answers: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
    assert [(each["call"], each["status"]) for each in answers] == _STATUSES
    by_call = {each["call"]: each["answer"] for each in answers}
    assert by_call["machines_exec"] == {"exit_code": 0, "exit_signal": 0, "stdout": "hidden\n", "stderr": ""}
    shown = by_call["machines_show"]["config"]
    assert (shown["unknown_to_us"], shown["services"][0]["autostop"]) == ({"kept": True}, True)
    assert len(by_call["machines_list_versions"]) == 2
    assert "hidden" not in json.dumps([each for each in answers if each["call"] != "machines_exec"])


def test_a_sandbox_of_hyperterse(pilotd: Pilotd, image: str) -> None:
    """Unmodified, and without a pause between its calls."""
    flyapi.meet(pilotd, {"image": image})
    with flyapi.app(pilotd, "sandboxes") as fly:
        told = {"FLY_API_HOSTNAME": pilotd.url, "FLY_API_TOKEN": pilotd.token(), "FLY_APP_NAME": fly.app}
        lines = _run("python", str(_ROOT / "clients/sandboxes.py"), image, **told)
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"did": "create", "status": "starting"},
        {"did": "info", "is_it": True, "template": image, "cpus": 1, "memory_mb": 256},
        {"did": "pause"}, {"did": "resume", "running": True}, {"did": "list", "ids": [True]},
        {"did": "attach", "is_it": True}, {"did": "kill", "left": 0},
    ]  # fmt: skip


def _run(program: str, *arguments: str, **told: str) -> str:
    """Of the environment of `make clients`; what it said. `told`: by variables."""
    environment = os.environ | {"PATH": f"{_BIN}:{os.environ['PATH']}"} | told
    command = [str(_BIN / program), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
