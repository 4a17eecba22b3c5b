"""Stores that earlier builds have left: opened, their rows read, their runs gone on with to the end."""

from __future__ import annotations

import pathlib
import sqlite3
from collections.abc import Iterator

import pytest

from pilot.host.fsm.operation import Action
from pilot.host.fsm.outcome import Ending
from pilot.host.operations import requests
from pilot.host.operations.disks import VolumeDisk
from pilot.host.store import clocks, fly, fly_members, machines, sprites, tokens, usage
from pilot.host.store.database import Database
from pilot.host.store.journal import SqlJournal
from pilot.host.store.migrations import MIGRATIONS
from pilot.host.vmm import MachineSpec
from pilot.ids import CheckpointId, RunId, VolumeId
from tests.support.fake_volumes import FakeVolumes
from tests.support.host import WAIT_S, HostUnderTest

SAMPLES = pathlib.Path(__file__).parent
URL = "s3://bucket/prefix/vol/0123456789abcdef"

# What had its machine down, or no machine yet, when its process died.
DOWN = {"stopping", "restarting", "plain", "fork", "fork-live", "stored", "going", "cold"}

ENDS = {
    "claimed-early": "live",
    "claimed-late": "live",
    "plain": "live",
    "fork": "live",
    "fork-live": "live",
    "stored": "live",
    "asleep": "live",
    "stopping": "live",
    "restarting": "live",
    "cutting": "live",
    "publishing": "live",
    "swapping": "live",
    "rising": "live",
    "forgetting": "live",
    "source": "live",
}


class Revived(HostUnderTest):
    """A pilotd of this build on a store of an earlier one, among the machines and volumes that were there then."""

    def __init__(self, root: pathlib.Path, sample: pathlib.Path) -> None:
        with sqlite3.connect(root / "state.db") as connection:
            connection.executescript(sample.read_text())
        connection.close()
        super().__init__(root)

    def _build(self) -> None:
        [row] = self.database.query("SELECT volume FROM bases")
        _with_content(self.volumes, row["volume"])
        self.volumes.sealed.add(row["volume"])
        self.volumes.stored = {URL: [CheckpointId("v1")]}
        for sprite in [*sprites.every(self.database), *sprites.members(self.database)]:
            self._recall(sprite)
        super()._build()

    def _recall(self, sprite: sprites.Sprite) -> None:
        if sprite.name in {"fork", "fork-live", "stored"}:
            return
        _with_content(self.volumes, sprite.volume)
        for row in self.database.query("SELECT id FROM checkpoints WHERE sprite = ?", (sprite.id,)):
            self.volumes.checkpoint(sprite.volume, "", row["id"])
        if sprite.name == "publishing":
            self.volumes.checkpoint(sprite.volume, "late", CheckpointId("v1"))
        if sprite.machine is None:
            return
        machine = machines.find(self.database, sprite.machine)
        self.vmm.create(MachineSpec(machine.id, machine.uid_base))
        if sprite.name not in DOWN and not sprite.name.startswith("member-"):
            self.vmm.start(machine.id)
            if sprite.name not in {"swapping", "rising"}:
                self.vmm.attach(machine.id, VolumeDisk(self.volumes, sprite.volume))


def _with_content(volumes: FakeVolumes, volume: VolumeId) -> None:
    volumes.create(volume, 1 << 30)
    (volumes._live(volume) / "rootfs").mkdir()


@pytest.fixture
def revived(tmp_path: pathlib.Path) -> Iterator[Revived]:
    host = Revived(tmp_path, SAMPLES / "state-1.sql")
    yield host
    host.close()


def test_the_runs_of_the_build_before_go_on_to_their_ends(revived: Revived) -> None:
    rows = revived.database.query("SELECT id, resource, action FROM runs WHERE finished_us IS NULL")
    for row in rows:
        if (ended := revived.engine.waiting_for(RunId(row["id"]))) is not None:
            outcome = ended.result(WAIT_S)
            had_failed = outcome.error == "disk: no luck"
            assert outcome.ending is (Ending.ABORTED if had_failed else Ending.DONE), (row["action"], outcome.error)
    assert SqlJournal(revived.database).active() == []
    phases = {sprite.name: sprite.phase for sprite in sprites.every(revived.database)}
    assert phases == ENDS, "destroyed is destroyed, what failed is undone, and all else is there"
    assert {member.phase for member in sprites.members(revived.database)} == {"pooled"}


def test_what_the_requests_said_has_been_done(revived: Revived) -> None:
    for record in revived.engine.active():
        if (ended := revived.engine.waiting_for(record.id)) is not None:
            ended.result(WAIT_S)

    def sprite(name: str) -> sprites.Sprite:
        return revived.sprites.find(_local(revived.database), name)

    early = sprite("claimed-early")
    assert early.labels == ("a",), "the member's row was taken over"
    assert revived.vmm.calls.count(("start", str(early.machine))) == 1, "its machine ran on"
    assert sprite("claimed-late").environment == {"A": "1"}
    assert revived.machine("claimed-late").adopted["name"] == "claimed-late"
    plain = revived.vmm.made[sprite("plain").machine]  # type: ignore[index]
    assert (plain.memory_bytes, plain.cpus) == (256 << 20, 1)
    assert [point.id for point in revived.sprites.checkpoints(sprite("stored"))] == ["v1"]
    assert [point.comment for point in revived.sprites.checkpoints(sprite("cutting"))] == ["early"]
    assert [point.comment for point in revived.sprites.checkpoints(sprite("publishing"))] == ["late"]
    assert [point.id for point in revived.sprites.checkpoints(sprite("forgetting"))] == []
    for name in ("swapping", "rising"):
        assert sprite(name).current_source == "v1"
        assert revived.sprites.status(sprite(name)) == "running"


@pytest.mark.parametrize("sample", ["state-2.sql", "state-4.sql"])
def test_rests_of_the_build_that_began_them_go_on(tmp_path: pathlib.Path, sample: str) -> None:
    """One going to sleep, one waking up from it, one being stopped; each held as its lifecycle says.

    In state-4 the one that is forced to sleep is told from one that is not by the name of its operation.
    """
    host = Revived(tmp_path, SAMPLES / sample)
    try:
        for record in host.engine.active():
            if (ended := host.engine.waiting_for(record.id)) is not None:
                assert ended.result(WAIT_S).done
        found = {name: host.sprites.find(_local(host.database), name) for name in ("drowsy", "asleep", "stopping")}
        statuses = {name: host.sprites.status(row) for name, row in found.items()}
        assert statuses == {"drowsy": "warm", "asleep": "running", "stopping": "cold"}
        assert [hold.name for hold in host.sprites.holding.every(found["drowsy"])] == ["build"]
        assert {row.lifecycle.cold_after_s for row in found.values()} == {60.0}
        assert found["asleep"].rested is not None
        assert found["asleep"].rested.why == "unused for 30 s"
    finally:
        host.close()


def test_a_size_that_was_given_is_written_down(tmp_path: pathlib.Path) -> None:
    """state-3: a machine that has its new size, of which no row says so yet."""
    host = Revived(tmp_path, SAMPLES / "state-3.sql")
    try:
        for record in host.engine.active():
            if (ended := host.engine.waiting_for(record.id)) is not None:
                assert ended.result(WAIT_S).done
        row = host.sprites.find(_local(host.database), "growing")
        assert (row.config.ram_mb, row.config.cpus) == (512, 3)
        machine = host.host.machine(row)
        assert (machine.memory_bytes, machine.cpus) == (512 << 20, 3)
    finally:
        host.close()


@pytest.mark.parametrize("version", range(5, len(MIGRATIONS) + 1))
def test_what_each_version_of_the_store_had_is_there(tmp_path: pathlib.Path, version: int) -> None:
    """`make_state`, run in the first build that wrote this version."""
    sample = SAMPLES / f"state-v{version}.sql"
    assert sample.exists(), f"no sample: python -m tests.formats.make_state >{sample}"
    host = Revived(tmp_path, sample)
    try:
        web, cold = (host.sprites.find(_local(host.database), name) for name in ("web", "cold"))
        assert (web.labels, web.environment, web.config.ram_mb) == (("a",), {"A": "1"}, 512)
        assert [point.comment for point in host.sprites.checkpoints(web)] == ["kept"]
        assert [point.name for point in host.sprites.checkpoints(web)] == ["ready" if version >= 16 else None]
        for row in (web, cold):
            assert host.sprites.wake(row).result(WAIT_S).done
            assert host.sprites.status(row) == "running"
        assert host.sprites.make_checkpoint(web, "another").result(WAIT_S).done
        _check_later_tables(host, web, version)
    finally:
        host.close()


def _check_later_tables(host: Revived, web: sprites.Sprite, version: int) -> None:
    """What came with a version, and is none of a sprite's row."""
    if version >= 7:
        assert [hold.name for hold in host.sprites.holding.every(web)] == ["build"]
        assert web.lifecycle.cold_after_s == 60
    if version >= 8:
        assert fly.app(host.database, _local(host.database), "shop").name == "shop"
    if version >= 10:
        organisation = tokens.ensure_organisation(host.database, "local")
        assert "reader" in {key.wanted.name for key in host.sprites.tokens.every(organisation)}
    if version >= 11:
        query = "SELECT v.name, s.name AS secret FROM fly_volumes v JOIN fly_secrets s ON v.app = s.app"
        assert [(row["name"], row["secret"]) for row in host.database.query(query)] == [("data", "key")]
    if version >= 15:
        hooks = host.sprites.webhooks.every(_local(host.database))
        assert [hook.url for hook in hooks] == ["https://receiver.example/"]
    if version >= 19:
        assert [day.used.awake_us for day in host.sprites.usages.days_of(web, 400)] == [60_000_000]
        assert usage.counters(host.database) == {web.id: usage.Counted(7, 8, 9)}
    if version >= 20:
        shop = fly.app(host.database, _local(host.database), "shop")
        assert [(key.label, key.version, key.kind) for key in host.fly.keys.every(shop)] == [
            ("orders", 0, "xaes256gcm")
        ]
    if version >= 21:
        assert [len(member.digests) for member in fly_members.every(host.database)] == [1]
        assert clocks.find(host.database, "snapshots") == 1_790_000_000_000_000


def test_every_operation_has_a_run_in_the_samples() -> None:
    """Who adds an operation, or changes a format, adds a sample of the build that has it."""
    stored = set[str]()
    for sample in sorted(SAMPLES.glob("state-*.sql")):
        connection = sqlite3.connect(":memory:")
        connection.executescript(sample.read_text())
        stored |= {row[0] for row in connection.execute("SELECT DISTINCT action FROM runs WHERE finished_us IS NULL")}
        connection.close()
    assert stored == {row.name for row in vars(requests).values() if isinstance(row, Action)}


def _local(database: Database) -> str:
    [row] = database.query("SELECT id FROM organisations WHERE slug = 'local'")
    return str(row["id"])
