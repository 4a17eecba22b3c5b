"""What sprites have used is added up by day: of values, by the test's clocks, in a real database."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence

import httpx
import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.api.sprites import usage as usage_calls
from pilot.host.services import retention, usage_days
from pilot.host.services.usage_days import LOOK_S, WRITE_S, Accounting, OfSprites
from pilot.host.services.wanted import NewSprite
from pilot.host.store import usage
from pilot.host.store.sprites import Config, Rested, Sprite, UrlSettings
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.store.usage import Counted, Day, Used
from pilot.ids import SpriteName, VolumeId

DAY_US = 86400 * 10**6
NOON_US = 20_000 * DAY_US + DAY_US // 2
NOON = "2024-10-04"
AFTER = "2024-10-05"


def row(name: str = "a", rested: Rested | None = None) -> Sprite:
    return Sprite(
        f"sprite-{name}", "org", SpriteName(name), "0", None, VolumeId(f"v-{name}"), "live", (), UrlSettings(), {},
        Config(), None, 0, 0, None, None, rested=rested,
    )  # fmt: skip


@dataclasses.dataclass
class Fake:
    """`Measured`, as the test says it."""

    rows: list[Sprite] = dataclasses.field(default_factory=lambda: [row()])
    awake: set[str] = dataclasses.field(default_factory=lambda: {"sprite-a"})
    counters: dict[str, Counted | None] = dataclasses.field(default_factory=dict)
    disks: dict[VolumeId, int] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)

    def every(self) -> Sequence[Sprite]:
        return self.rows

    def is_ready(self, sprite: Sprite) -> bool:
        return sprite.id in self.awake

    def counted(self, sprite: Sprite) -> Counted | None:
        self.asked.append(sprite.name)
        if sprite.id not in self.counters:
            raise errors.HostError("nobody knows")
        return self.counters[sprite.id]

    def disk_bytes(self) -> Mapping[VolumeId, int]:
        return self.disks


def told(database: SqliteDatabase, sprite: str = "sprite-a") -> dict[str, Used]:
    return {day.day: day.used for day in usage.of_sprite(database, sprite, 400)}


def test_who_is_awake_is_counted_and_who_rests_costs_nothing(database: SqliteDatabase) -> None:
    fake = Fake(counters={"sprite-a": Counted(5, 6, 7)}, disks={VolumeId("v-a"): 100})
    book = Accounting(database, fake, 0.0)
    for second in range(0, int(WRITE_S) + 1, int(LOOK_S)):
        book.look(float(second), NOON_US)
    assert told(database) == {NOON: Used(60_000_000, Counted(5, 6, 7), 100)}
    fake.awake.clear()
    fake.counters["sprite-a"] = Counted(8, 6, 7)
    book.look(2 * WRITE_S, NOON_US)
    assert told(database)[NOON] == Used(60_000_000, Counted(8, 6, 7), 100), "what it did before it was frozen"
    fake.asked.clear()
    for minute in range(3, 9):
        book.look(minute * WRITE_S, NOON_US)
    assert fake.asked == []
    fake.awake.add("sprite-a")
    fake.counters["sprite-a"] = Counted(9, 8, 7)
    book.look(9 * WRITE_S, NOON_US)
    assert told(database)[NOON] == Used(120_000_000, Counted(9, 8, 7), 100)


def test_another_pilotd_goes_on_from_there(database: SqliteDatabase) -> None:
    fake = Fake(counters={"sprite-a": Counted(50, 0, 0)})
    book = Accounting(database, fake, 0.0)
    book.end(3.0, NOON_US)
    assert told(database) == {NOON: Used(3_000_000, Counted(50, 0, 0))}
    fake.counters["sprite-a"] = Counted(70, 0, 0)
    Accounting(database, fake, 1000.0).look(1000.0 + WRITE_S, NOON_US)
    assert told(database)[NOON].counted == Counted(70, 0, 0), "what it did while there was none, too"


@pytest.mark.parametrize("rested", [None, Rested("cold", NOON_US, "unused")])
def test_another_machine_counts_from_nothing(database: SqliteDatabase, rested: Rested | None) -> None:
    """One that says that there is none, or that was stopped: also where the next one has counted more by then."""
    fake = Fake(counters={"sprite-a": Counted(50, 50, 50)})
    book = Accounting(database, fake, 0.0)
    book.look(WRITE_S, NOON_US)
    fake.awake.clear()
    book.look(2 * WRITE_S, NOON_US)
    if rested is None:
        fake.awake.add("sprite-a")
        fake.counters["sprite-a"] = None
    fake.rows = [row(rested=rested)]
    book.look(3 * WRITE_S, NOON_US)
    fake.awake.add("sprite-a")
    fake.counters["sprite-a"] = Counted(60, 1, 70)
    book.look(4 * WRITE_S, NOON_US)
    assert told(database)[NOON].counted == Counted(110, 51, 120)
    fake.counters["sprite-a"] = Counted(2, 2, 2)
    book.look(5 * WRITE_S, NOON_US)
    assert told(database)[NOON].counted == Counted(112, 53, 122), "less than before: from nothing, too"


def test_a_network_counts_on_when_its_machine_is_stopped_and_started(database: SqliteDatabase) -> None:
    """It is there all the while, with its counters: nothing is added twice, by whichever way the machine has gone."""
    fake = Fake(counters={"sprite-a": Counted(50, 50, 50)})
    book = Accounting(database, fake, 0.0)
    book.look(WRITE_S, NOON_US)
    fake.counters["sprite-a"] = Counted(2, 60, 70)  # it was restarted meanwhile
    book.look(2 * WRITE_S, NOON_US)
    assert told(database)[NOON].counted == Counted(52, 60, 70)
    fake.awake.clear()
    book.look(3 * WRITE_S, NOON_US)
    fake.rows, fake.counters["sprite-a"] = [row(rested=Rested("cold", NOON_US, "unused"))], None
    for minute in range(4, 7):
        book.look(minute * WRITE_S, NOON_US)
    assert usage.counters(database) == {"sprite-a": Counted(0, 60, 70)}
    fake.rows, fake.awake, fake.counters["sprite-a"] = [row()], {"sprite-a"}, Counted(3, 61, 70)
    Accounting(database, fake, 1000.0).look(1000.0 + WRITE_S, NOON_US)
    assert told(database)[NOON].counted == Counted(55, 61, 70)


def test_a_clock_that_is_set_moves_days_and_counts_nothing_twice(database: SqliteDatabase) -> None:
    fake = Fake(counters={"sprite-a": Counted(1, 0, 0)}, disks={VolumeId("v-a"): 9})
    book = Accounting(database, fake, 0.0)
    book.look(5.0, NOON_US)
    book.look(10.0, NOON_US + DAY_US)
    fake.counters["sprite-a"] = Counted(4, 0, 0)
    book.look(15.0, NOON_US)
    assert {day: (used.awake_us, used.counted.cpu_us) for day, used in told(database).items()} == {
        NOON: (10_000_000, 4), AFTER: (5_000_000, 0),
    }  # fmt: skip
    for year in range(500):
        book.look(15.0 + year, NOON_US + year * 365 * DAY_US)
    retention.forget(database, NOON_US + 500 * 365 * DAY_US)
    assert len(told(database)) == usage.MOST_DAYS


def test_one_sprites_trouble_is_not_the_others(database: SqliteDatabase) -> None:
    fake = Fake([row("a"), row("b")], {"sprite-a", "sprite-b"}, {"sprite-b": Counted(3, 0, 0)})
    Accounting(database, fake, 0.0).look(WRITE_S, NOON_US)
    assert told(database)[NOON] == Used(60_000_000)
    assert told(database, "sprite-b")[NOON] == Used(60_000_000, Counted(3, 0, 0))


def test_who_is_destroyed_is_kept_by_name(database: SqliteDatabase) -> None:
    fake = Fake(counters={"sprite-a": Counted(1, 0, 0)})
    book = Accounting(database, fake, 0.0)
    book.look(WRITE_S, NOON_US)
    book.look(WRITE_S + LOOK_S, NOON_US)
    fake.rows, fake.awake = [], set()
    book.look(2 * WRITE_S, NOON_US)
    assert usage.of_organisation(database, "org", 400) == [
        Day(NOON, "sprite-a", "a", Used(65_000_000, Counted(1, 0, 0)))
    ]
    assert usage.counters(database) == {}
    assert usage.of_organisation(database, "another", 400) == []


def test_so_many_rows_at_most_and_whole_days(database: SqliteDatabase) -> None:
    with database.transaction() as tx:
        for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
            for name in "abc":
                usage.add(tx, Day(day, name, name, Used(1)), "org")
        usage.forget(tx, most_rows=7)
    assert {day.day for day in usage.of_organisation(database, "org", 400)} == {"2024-01-02", "2024-01-03"}
    with database.transaction() as tx:
        usage.forget(tx, most_rows=1)
    assert {day.day for day in usage.of_organisation(database, "org", 400)} == {"2024-01-03"}, "never the newest"


def test_a_fault_of_ours_does_not_end_the_counting(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, looked = HostUnderTest(tmp_path), threading.Semaphore(0)

    def look(*_: object) -> None:
        looked.release()
        raise ZeroDivisionError

    try:
        monkeypatch.setattr(Accounting, "look", look)
        monkeypatch.setattr(usage_days, "LOOK_S", 0.0)
        with usage_days.watching(host.database, host.sprites):
            assert all(looked.acquire(timeout=WAIT_S) for _ in range(3))
    finally:
        host.close()


def test_of_sprites_as_they_are(tmp_path: pathlib.Path) -> None:
    host = HostUnderTest(tmp_path)
    try:
        assert host.sprites.create(host.organisation.id, NewSprite("web")).result(WAIT_S).done
        web = host.sprites.find(host.organisation.id, "web")
        book = Accounting(host.database, OfSprites(host.sprites), 0.0)
        book.look(WRITE_S, NOON_US)
        [day] = host.sprites.usages.days_of(web, 7)
        assert (day.day, day.used.awake_us, day.used.counted.cpu_us) == (NOON, 60_000_000, 1_500_000)
        assert day.used.disk_bytes == host.volumes.stat(web.volume).allocated_bytes
    finally:
        host.close()


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path)
    yield under_test
    under_test.close()


def test_of_all_there_are_pages(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_calls, "PAGE", 2)
    days = [usage.Day(f"2026-11-2{day}", id, name, Used(1)) for day in (8, 9) for id, name in (("1", "b"), ("2", "a"))]
    with host.database.transaction() as tx:
        for each in days:
            usage.add(tx, each, host.organisation.id)
    seen, token, pages = [], "", 0
    while token is not None:
        found = httpx.get(
            f"{host.url}/v1/usage/days",
            params={"continuation_token": token},
            headers={"Authorization": f"Bearer {host.token}"},
        ).json()
        seen += [(day["day"], day["sprite"]["name"]) for day in found["days"]]
        assert found["has_more"] == (found["next_continuation_token"] is not None)
        token, pages = found["next_continuation_token"], pages + 1
    assert seen == sorted((each.day, each.name) for each in days)
    assert pages == 2
