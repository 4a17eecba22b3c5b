"""No lease of a Machine is longer than a day, also that of its creation."""

from __future__ import annotations

import pathlib

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot.host.services.fly import MOST_LEASE_S, NewMachine
from pilot.host.services.fly_images import FlyImages
from pilot.host.store import fly
from pilot.host.store.journal import now_us


@pytest.mark.parametrize("ttl_s", [-1, 1 << 60])
def test_a_lease_of_a_creation_has_bounds(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, ttl_s: int) -> None:
    monkeypatch.setattr(FlyImages, "find", lambda *_: ())
    host = HostUnderTest(tmp_path)
    app = host.fly.create_app(host.organisation.id, "app", "default")
    before_us = now_us()
    id, ended = host.fly.create(app, NewMachine("", "", {"image": "box"}, launch=False, lease_s=ttl_s))
    ended.result(WAIT_S)
    lease = fly.by_id(host.database, id).lease
    assert lease is not None
    assert before_us < lease.expires_us <= now_us() + MOST_LEASE_S * 1_000_000
    host.close()
