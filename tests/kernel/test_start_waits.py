"""`start` of a container that is being created: it waits until it is, and starts it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.support import bundles

from pilot.runtime import Runtime

pytestmark = pytest.mark.requires("root", "private", "busybox")


def test_start_while_it_is_created(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    """Its creator is held up by a hook; who lists it meanwhile may want to start it."""
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    script = f"touch {begun}; while ! test -e {go_on}; do sleep 0.01; done"
    config = bundles.make_config("sh", "-c", "echo ran > /tmp/ran")
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 60}]}
    created = []
    creator = threading.Thread(target=lambda: created.append(bundles.create(runtime, bundle, config)), name="creator")
    creator.start()
    while not begun.exists():
        creator.join(0.01)
    container = runtime.load("web")
    assert container.status().value == "creating"
    starter = threading.Thread(target=container.start, name="starter")
    starter.start()
    go_on.touch()
    starter.join(60)
    creator.join(60)
    assert runtime.wait(created[0].process, 60).exit_code() == 0
    assert (bundle / "rootfs/tmp/ran").read_text() == "ran\n"
