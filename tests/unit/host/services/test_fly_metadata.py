"""Metadata of a Machine: within bounds, whoever writes it, and nothing that others wrote meanwhile is lost."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.fly import metadata
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId

LARGE = {f"k{n}": "x" * metadata.MOST_VALUE_BYTES for n in range(metadata.MOST_BYTES // metadata.MOST_VALUE_BYTES)}


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    machine = Machine(
        MachineId("m"), "1", "m", "local", "created", "1", {"image": "box"}, {"old": "1"}, (), cordoned=False,
        lease=None, created_us=0, updated_us=0,
    )  # fmt: skip
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("1", under_test.organisation.id, "shop", "default", 0))
        fly.add(tx, machine)
    yield under_test
    under_test.close()


@pytest.mark.parametrize(
    "wanted",
    [{"k": "x" * (metadata.MOST_VALUE_BYTES + 1)}, {"k" * 257: ""}, {"": ""}, LARGE,
     {str(n): "" for n in range(metadata.MOST_KEYS + 1)}, {"k": "é" * (metadata.MOST_VALUE_BYTES // 2 + 1)}],
)  # fmt: skip
def test_beyond_the_bounds_nothing_is_written(host: HostUnderTest, wanted: dict[str, str]) -> None:
    row = fly.by_id(host.database, "m")
    with pytest.raises(errors.SpecError):
        host.fly.change_metadata(row, wanted)
    with httpx.Client(headers={"Authorization": f"Bearer {host.token}"}, timeout=WAIT_S) as http:
        for method in ("PUT", "PATCH"):
            answer = http.request(method, f"{host.url}/v1/apps/shop/machines/m/metadata", json={"metadata": wanted})
            assert answer.status_code == 400, answer.text
        made = {"config": {"image": "box", "metadata": wanted}}
        assert http.post(f"{host.url}/v1/apps/shop/machines", json=made).status_code == 400
    assert fly.by_id(host.database, "m").metadata == {"old": "1"}


def test_one_key_after_another_comes_to_the_bound(host: HostUnderTest) -> None:
    row = fly.by_id(host.database, "m")
    *most, last = LARGE.items()
    for key, value in most:
        host.fly.change_metadata(row, {key: value})
    with pytest.raises(errors.SpecError):
        host.fly.change_metadata(row, dict([last]))


def test_what_others_wrote_meanwhile_stays(host: HostUnderTest) -> None:
    row = fly.by_id(host.database, "m")
    host.fly.change_metadata(row, {"a": "1"})
    host.fly.change_metadata(row, {"b": "2"}, {"old"})
    assert fly.by_id(host.database, "m").metadata == {"a": "1", "b": "2"}
    host.fly.replace_metadata(row, {"c": "3"})
    assert fly.by_id(host.database, "m").metadata == {"c": "3"}


def test_what_is_beyond_the_bounds_since_before_can_go(host: HostUnderTest) -> None:
    row = fly.by_id(host.database, "m")
    with host.database.transaction() as tx:
        fly.change(tx, "m", metadata=LARGE | {"last": "x"})
    host.fly.change_metadata(row, {}, set(LARGE))
    assert fly.by_id(host.database, "m").metadata == {"last": "x"}
