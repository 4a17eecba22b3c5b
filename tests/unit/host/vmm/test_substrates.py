"""Each machine is on the substrate that its row names; pools are kept by shape; machine.json is read back."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest
from tests.support.fake_vmm import FakeVmm
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services.pool import Pool
from pilot.host.services.sprites import Sprites
from pilot.host.services.wanted import NewSprite, Source
from pilot.host.store import machines, sprites
from pilot.host.store.sprites import Config
from pilot.host.vmm import Isolation, MachineSpec, Size, spec_file
from pilot.host.vmm.shape import Shape
from pilot.host.vmm.substrates import Substrates
from pilot.ids import MachineId


class TwoSubstrates(HostUnderTest):
    """`other` has no guest of its own either: only its name is that of virtual machines."""

    def _substrates(self) -> Substrates:
        self.other = getattr(self, "other", None) or FakeVmm(self._root / "others", Isolation.VM)
        return Substrates({Isolation.CONTAINER: lambda: self.vmm, Isolation.VM: lambda: self.other})


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[TwoSubstrates]:
    under_test = TwoSubstrates(tmp_path)
    yield under_test
    under_test.close()
    for machine in list(under_test.other.machines):
        under_test.other.stop(machine)


def _create(
    host: TwoSubstrates, name: str, config: Config | None = None, source: Source | None = None
) -> sprites.Sprite:
    outcome = host.sprites.create(host.organisation.id, NewSprite(name, config, source=source)).result(WAIT_S)
    assert outcome.done, outcome.error
    return host.sprites.find(host.organisation.id, name)


def test_machines_of_two_isolations_live_beside_each_other(host: TwoSubstrates) -> None:
    one = _create(host, "one")
    object.__setattr__(host.host, "isolation", Isolation.VM)  # as after a start with another --isolation
    two = _create(host, "two")
    assert (one.machine in host.vmm.machines, two.machine in host.other.machines) == (True, True)
    assert [host.sprites.isolation(sprite) for sprite in (one, two)] == ["container", "vm"]

    host.restart()
    one, two = (host.sprites.find(host.organisation.id, name) for name in ("one", "two"))
    for sprite in (one, two):
        assert host.sprites.restart(sprite).result(WAIT_S).done
        assert host.sprites.status(sprite) == "running"
    assert [machine for _, machine in host.other.calls if machine == one.machine] == []
    assert host.sprites.destroy(two).result(WAIT_S).done
    assert two.machine not in host.other.made
    assert [row.id for row in machines.every(host.database)] == [one.machine]


def test_a_fork_is_of_the_isolation_of_what_it_is_forked_from(host: TwoSubstrates) -> None:
    object.__setattr__(host.host, "isolation", Isolation.VM)
    _create(host, "guest")
    object.__setattr__(host.host, "isolation", Isolation.CONTAINER)
    fork = _create(host, "fork", source=Source(sprite="guest"))
    assert host.sprites.isolation(fork) == "vm"


def test_an_isolation_that_this_host_lacks_is_told() -> None:
    with pytest.raises(errors.HostError, match="isolation vm"):
        Substrates({}).of(Isolation.VM)


def test_a_create_gets_a_member_of_its_shape(host: TwoSubstrates) -> None:
    small = Shape(Isolation.CONTAINER, "minimal", Size(512 << 20, 1))
    usual = Shape(Isolation.CONTAINER, "minimal")
    pool = Pool(host.host, host.engine, {small: 1, usual: 1})
    pool.start()
    for run in host.engine.active():
        if (ended := host.engine.waiting_for(run.id)) is not None:
            ended.result(WAIT_S)
    assert len(pool) == 2
    members = {row.machine for row in sprites.members(host.database)}
    host.sprites = Sprites(host.host, host.engine, pool)

    made = _create(host, "small", Config(ram_mb=512, cpus=1))
    assert made.machine in members
    assert made.machine is not None
    assert host.vmm.made[made.machine].memory_bytes == 512 << 20
    assert _create(host, "usual", Config(region="here")).machine in members
    assert _create(host, "large", Config(ram_mb=4096)).machine not in members
    pool.stop()


@pytest.mark.parametrize("version", [{}, {"version": 2}])
def test_what_a_machine_was_made_from_is_read_as_any_version(tmp_path: pathlib.Path, version: dict[str, int]) -> None:
    stored = {"id": "m1", "uid_base": 131072, "memory_bytes": 1 << 30, "cpus": 3}
    (tmp_path / "machine.json").write_text(json.dumps(stored | version))
    spec = spec_file.read(str(tmp_path))
    assert spec == MachineSpec(MachineId("m1"), 131072, 1 << 30, 3)
    spec_file.write(str(tmp_path), spec)
    assert json.loads((tmp_path / "machine.json").read_text())["version"] == spec_file.VERSION


def test_what_a_newer_program_wrote_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "machine.json").write_text('{"version": 99, "id": "m1"}')
    with pytest.raises(errors.HostError, match="version 99"):
        spec_file.read(str(tmp_path))
    (tmp_path / "machine.json").write_text("{")
    with pytest.raises(errors.HostError, match=r"machine\.json"):
        spec_file.read(str(tmp_path))
