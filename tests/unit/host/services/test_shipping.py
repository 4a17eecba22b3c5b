"""Who makes images of sprites keeps nobody else from looking at disks, nor from making one."""

from __future__ import annotations

import contextlib
import pathlib

import httpx
import pytest
from tests.support.host import HostUnderTest

from pilot.host.services import looking
from pilot.wire import faults


@pytest.fixture
def host(tmp_path: pathlib.Path) -> contextlib.closing[HostUnderTest]:
    return contextlib.closing(HostUnderTest(tmp_path))


def test_one_at_a_time_for_each_organisation(host: contextlib.closing[HostUnderTest]) -> None:
    with host as under_test:
        shipping = under_test.sprites._shipping
        refused = pytest.raises(faults.Exhausted, match="of this organisation")
        with shipping.turn_of("one"), shipping.turn_of("two"), refused, shipping.turn_of("one"):
            pass
        with shipping.turn_of("one"):
            pass


def test_looks_do_not_wait_for_it(host: contextlib.closing[HostUnderTest]) -> None:
    with host as under_test, contextlib.ExitStack() as stack:
        headers = {"Authorization": f"Bearer {under_test.token}"}
        http = stack.enter_context(httpx.Client(base_url=under_test.url, headers=headers, timeout=60))
        assert http.post("/v1/sprites", json={"name": "web"}).status_code == 201
        assert http.post("/v1/sprites/web/checkpoint").status_code == 200
        row = under_test.sprites.find(under_test.organisation.id, "web")
        for _ in range(looking.AT_ONCE):
            stack.enter_context(under_test.sprites._shipping._looking.disks([(row.volume, None)], "ship"))
        assert "complete" in http.get("/v1/sprites/web/checkpoints/v1/diff").text
