"""What is asked of a Machine that is still being launched follows its launch, whatever has become of that."""

from __future__ import annotations

import threading
import time

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fly.containers import ImageOf
from pilot.host.fly.pulling import Images
from pilot.host.services.fly import NewMachine
from pilot.host.services.fly_images import FlyImages
from pilot.host.store import fly
from pilot.host.store.fly import Machine

_IMAGE = ImageOf("app", "example.org/box:1", "sha256:" + "0" * 64, "image-0")


def test_suspended_while_it_is_launched(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as its launch left it: one that has failed is not started by having been suspended."""
    asked, goes_on = threading.Event(), threading.Event()

    def bring(*_: object) -> None:
        asked.set()
        assert goes_on.wait(WAIT_S)
        raise errors.NotFound("no such image")

    monkeypatch.setattr(FlyImages, "find", lambda *_: (_IMAGE,))
    monkeypatch.setattr(Images, "bring", bring)
    app = host.fly.create_app(host.organisation.id, "app", "default")
    id, launched = host.fly.create(app, NewMachine("", "", {"image": "box"}))
    assert asked.wait(WAIT_S)
    suspended = host.fly.suspend(_row(host, id), None)
    goes_on.set()
    assert suspended is not None
    assert not launched.result(WAIT_S).done
    outcome = suspended.result(WAIT_S)
    assert (outcome.done, outcome.code) == (False, "failed_precondition")
    assert _row(host, id).state == "failed"


def _row(host: HostUnderTest, id: str) -> Machine:
    """As soon as it is there."""
    end_s = time.monotonic() + WAIT_S
    while True:
        try:
            return fly.by_id(host.database, id)
        except errors.NotFound:
            assert time.monotonic() < end_s
            time.sleep(0.01)
