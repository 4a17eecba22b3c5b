"""Bases of images: kept while a Machine is made of them or the operator has the image, and for a while after that."""

from __future__ import annotations

import ipaddress
import pathlib
from collections.abc import Iterator

import pytest
from tests.support import images
from tests.support.host import WAIT_S, HostUnderTest
from tests.support.layers import Item, tar

from pilot.host import daemon, main
from pilot.host.fly.containers import ImageOf
from pilot.host.operations import image_base
from pilot.host.operations.image_base import Collect
from pilot.host.services.image_bases import Bases
from pilot.host.store import fly
from pilot.host.store.fly import App, Machine
from pilot.ids import MachineId, VolumeId
from pilot.image.oci import digest as digests

KEEP_S = 100.0
_DIGEST = f"sha256:{'0' * 64}"
_VOLUME = VolumeId("image-0")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    _publish(under_test, _DIGEST, _VOLUME)
    with under_test.database.transaction() as tx:
        fly.add_app(tx, App("app", under_test.organisation.id, "app", "default", 0))
    yield under_test
    under_test.close()


def _publish(host: HostUnderTest, digest: str, volume: VolumeId) -> None:
    host.volumes.create(volume, 1 << 30)
    host.volumes.seal(volume)
    with host.database.transaction() as tx:
        fly.publish_base(tx, digest, volume)


def _machine(host: HostUnderTest, id: str) -> None:
    machine = Machine(
        MachineId(id), "app", id, "local", "stopped", "1", {"image": "box"}, {},
        (ImageOf("app", "docker.io/library/box:1", _DIGEST, _VOLUME),), cordoned=False, lease=None, created_us=0,
        updated_us=0,
    )  # fmt: skip
    with host.database.transaction() as tx:
        fly.add(tx, machine)


def _destroy(host: HostUnderTest, id: str) -> None:
    with host.database.transaction() as tx:
        fly.enter(tx, id, fly.DESTROYED, "destroy", "flyd")


def _collect(bases: Bases) -> list[bool]:
    return [ended.result(WAIT_S).done for ended in bases.collect()]


def test_kept_while_it_is_used_and_a_while_after(host: HostUnderTest) -> None:
    clock = Clock()
    bases = Bases(host.host, host.engine, KEEP_S, clock)
    _machine(host, "01")
    for _ in range(3):
        clock.now_s += KEEP_S
        assert _collect(bases) == []
    _destroy(host, "01")
    assert _collect(bases) == []
    clock.now_s += KEEP_S - 1
    _machine(host, "02")
    assert _collect(bases) == []
    _destroy(host, "02")
    assert _collect(bases) == []  # it was used meanwhile: this is when the count begins
    clock.now_s += KEEP_S - 1
    assert _collect(bases) == []
    clock.now_s += 1
    assert _collect(bases) == [True]
    assert fly.bases(host.database) == {}
    assert _VOLUME not in host.volumes.names()
    assert _collect(bases) == []


def test_a_machine_that_comes_first_keeps_it(host: HostUnderTest) -> None:
    """Between the look and the run."""
    _machine(host, "01")
    outcome = host.engine.start(image_base.COLLECT, _DIGEST, Collect(_VOLUME)).result(WAIT_S)
    assert not outcome.done
    assert fly.bases(host.database) == {_DIGEST: _VOLUME}
    assert _VOLUME in host.volumes.names()


def test_a_volume_that_has_gone_already_is_no_failure(host: HostUnderTest) -> None:
    """As a pilotd leaves it that died after it had deleted it."""
    host.volumes.delete(_VOLUME)
    assert host.engine.start(image_base.COLLECT, _DIGEST, Collect(_VOLUME)).result(WAIT_S).done
    assert fly.bases(host.database) == {}


def test_what_the_operator_has_is_kept_until_it_is_removed(host: HostUnderTest, tmp_path: pathlib.Path) -> None:
    made = images.make_layout(tmp_path / "layout", [tar(Item("file", data=b"x"))], {"Cmd": ["true"]})
    store = host.host.images
    assert store is not None
    with images.serve(made) as served:
        name = f"{served.domain}/box"
        store.bring(name, digests.parse(made.digest))
    _publish(host, made.digest, VolumeId("image-1"))
    bases = Bases(host.host, host.engine, 0.0)
    assert _collect(bases) == [True]  # the other one
    assert set(fly.bases(host.database)) == {made.digest}
    store.forget(name, digests.parse(made.digest))
    assert _collect(bases) == [True]
    assert fly.bases(host.database) == {}


def test_the_command_line_says_for_how_long_and_from_where() -> None:
    options = main._parser().parse_args(
        [
            "serve",
            "--state-dir",
            "/s",
            "--keep-images",
            "7",
            "--insecure-registry",
            "one.test",
            "--insecure-registry",
            "b",
            "--allow-registry",
            "10.1.0.0/16",
        ]
    )
    settings = main._settings(options)
    assert (settings.keep_images_s, settings.insecure_registries) == (7.0, ("one.test", "b"))
    permits = daemon._images(settings).permits
    asked = ("10.1.2.3", "10.2.0.1", "169.254.169.254", "127.0.0.1", "8.8.8.8")
    assert [each for each in asked if permits(ipaddress.ip_address(each))] == ["10.1.2.3", "8.8.8.8"]
