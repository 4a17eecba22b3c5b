"""The pure parts of pilotd: shapes, routes, replayed requests, the machine's spec, idle decisions."""

from __future__ import annotations

import pathlib
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pilot import errors
from pilot.host import daemon
from pilot.host.api.sprites import shapes
from pilot.host.operations import base, cut, machines
from pilot.host.operations.context import Host
from pilot.host.store import machines as rows
from pilot.host.store import sprites, tokens
from pilot.host.store.sprites import Config, UrlSettings
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.vmm import MachineSpec, Size
from pilot.host.vmm.container import spec as specs
from pilot.ids import MachineId, SpriteName, VolumeId
from pilot.machine import pilot_api
from pilot.spec import check
from pilot.wire import timestamps
from tests.support import hostile


def _sprite(name: str = "web", phase: str = "live") -> sprites.Sprite:
    return sprites.Sprite(
        id=f"sprite-{name}",
        organisation="o",
        name=SpriteName(name),
        suffix="ab",
        machine=None,
        volume=VolumeId("v"),
        phase=phase,
        labels=("x",),
        url_settings=UrlSettings(),
        environment={},
        config=Config(),
        current_source=None,
        created_us=0,
        updated_us=0,
        last_running_us=None,
        last_warming_us=None,
    )


@pytest.mark.parametrize(
    ("us", "text"),
    [(0, "1970-01-01T00:00:00.000000Z"), (1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z")],
)
def test_timestamps_have_six_digits_and_z(us: int, text: str) -> None:
    assert timestamps.of_us(us) == text


def test_history_goes_back_to_the_first_and_ends_in_a_circle() -> None:
    assert shapes.history("v3", {"v3": "v1", "v1": None}) == ["v3", "v1"]
    assert shapes.history("v2", {"v2": "v1", "v1": "v2"}) == ["v2", "v1"]


def test_a_machine_has_the_size_that_was_asked_for() -> None:
    host = cast(Host, SimpleNamespace(usual_size=Size(4 << 30, 1, 512)))
    assert machines.size_of(host, Config()) == Size(4 << 30, 1, 512), "what is not said is the host's"
    sized = machines.size_of(host, Config(ram_mb=512, cpus=3, region="x", pids=1000))
    assert sized == Size(512 << 20, 3, 1000)
    for size in (sized, host.usual_size):
        assert machines.size_of(host, machines.config_of(host, size)) == size
    row = rows.Machine(MachineId("m1"), "container", 131072, sized.memory_bytes, sized.cpus, sized.pids)
    assert machines.spec_of(row) == MachineSpec(MachineId("m1"), 131072, 512 << 20, 3, 1000)
    assert machines.size_now(row) == sized


def test_a_machine_hides_nothing_from_its_agent_and_owns_its_uids() -> None:
    machine = MachineSpec(MachineId("m1"), uid_base=131072, memory_bytes=1 << 30, cpus=3)
    spec = specs.machine_container(machine, "/cache/guest", "/pilot-x/machines/m1", 1024)
    check.check_spec(spec)
    assert (spec.linux.masked_paths, spec.linux.readonly_paths) == ((), ())
    mapped = [(0, 131072, 65536), (65536, 65535, 1)]  # its own, and behind them one that no world has
    assert [(m.container_id, m.host_id, m.size) for m in spec.linux.uid_mappings] == mapped
    assert {row.type.value for row in spec.linux.namespaces} == {
        "user", "pid", "mount", "ipc", "uts", "network", "cgroup",
    }  # fmt: skip
    assert spec.root is not None
    assert (spec.root.path, spec.root.readonly) == ("/cache/guest", True)
    assert spec.process is not None
    assert spec.process.args[0].endswith("pilot-init")
    assert "PILOT_FDS=dial:3,log:4,health:5" in spec.process.env
    assert (spec.process.rlimits[0].soft, spec.process.rlimits[0].hard) == (1024, 1024)
    assert spec.linux.resources is not None
    assert spec.linux.resources.memory is not None
    assert spec.linux.resources.memory.limit == 1 << 30


def test_base_volumes_are_named_by_their_archive() -> None:
    assert base.volume_name("/cache/world-minimal-5f6f.tar") == "base-minimal-5f6f"


@pytest.mark.parametrize(
    ("previous", "owner", "chosen"),
    [
        ("", None, "base-a"),
        ("base-b", None, "base-a"),
        ("base-a", None, "base-a"),
        ("base-a-owner", None, "base-a-owner"),
        ("", "owner", "base-a-owner"),
        ("base-a", "owner", "base-a-owner"),
        ("base-a-owner", "owner", "base-a-owner"),
    ],
)
def test_base_volume_with_and_without_a_store(previous: str, owner: str | None, chosen: str) -> None:
    assert base.choose(VolumeId("base-a"), previous, owner) == chosen


@pytest.mark.parametrize(
    ("answer", "frozen_ms", "clean"),
    [
        (b'{"frozen": false, "held": true, "frozen_ms": 4.5}', 4.5, True),
        (b'{"frozen": false, "held": false, "frozen_ms": 0}', 0.0, False),
        (b'{"frozen": false, "held": true}', 0.0, True),
        (b'{"frozen": false, "held": true, "frozen_ms": 1e300}', 0.0, True),
        (b'{"frozen": false, "held": true, "frozen_ms": -1}', 0.0, True),
        (b'{"frozen": false, "held": "yes", "frozen_ms": 1}', 0.0, False),
        (b'{"frozen": false, "frozen_ms": [-1]}', 0.0, False),
        (b'{"frozen_ms": NaN}', 0.0, False),
        (b"[]", 0.0, False),
        (b"", 0.0, False),
    ],
)
def test_what_a_guest_says_of_its_freeze(tmp_path: Path, answer: bytes, frozen_ms: float, clean: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
    with hostile.machine(tmp_path / "dial.sock", hostile.saying(head + answer)):
        assert cut.thaw(pilot_api.PilotApi(str(tmp_path / "dial.sock"))) == cut.Held(frozen_ms, clean)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:80", ("::1", 80)), (":9", ("127.0.0.1", 9))],
)
def test_listen_addresses(text: str, parsed: tuple[str, int]) -> None:
    assert daemon.parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["8080", "host:", "host:99999", "host:x"])
def test_listen_addresses_that_are_none(text: str) -> None:
    with pytest.raises(errors.PilotError):
        daemon.parse_listen(text) if ":" in text else daemon.parse_listen(f"{text}x")


def test_tokens_are_stored_as_digests_and_compared_whole(tmp_path: pathlib.Path) -> None:
    database = SqliteDatabase(str(tmp_path / "state.db"))
    organisation = tokens.ensure_organisation(database, "acme")
    token = tokens.issue(database, organisation, tokens.Wanted(description="test"))
    slug, organisation_id, name, secret = token.split("/")
    assert (slug, organisation_id) == ("acme", organisation.id)
    known = tokens.authenticate(database, token)
    assert known is not None
    assert (known.organisation, known.token.id) == (organisation, name)
    for wrong in (
        f"acme/{organisation.id}/{name}/",
        f"other/{organisation.id}/{name}/{secret}",
        secret,
        "",
        token + "x",
    ):
        assert tokens.authenticate(database, wrong) is None
    database.close()
    assert secret.encode() not in (tmp_path / "state.db").read_bytes()
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o600


def test_uid_ranges_are_given_out_once_and_again_when_free(tmp_path: pathlib.Path) -> None:
    database = SqliteDatabase(str(tmp_path / "state.db"))
    with database.transaction() as tx:
        bases = [rows.assign(tx, MachineId(name), "container", 1 << 30, 1, 4096).uid_base for name in "abc"]
        assert bases == [131072, 196608, 262144]
        assert rows.assign(tx, MachineId("b"), "container", 1 << 30, 1, 4096).uid_base == 196608
        tx.execute("DELETE FROM machines WHERE id = 'a'")
        assert rows.assign(tx, MachineId("d"), "container", 1 << 30, 1, 4096).uid_base == 131072
    database.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: pathlib.Path) -> None:
    database = SqliteDatabase(str(tmp_path / "state.db"))

    def fail() -> None:
        with database.transaction() as tx:
            rows.assign(tx, MachineId("a"), "container", 1 << 30, 1, 4096)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert database.query("SELECT * FROM machines") == []
    database.close()


def test_a_newer_schema_is_refused(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "state.db")
    database = SqliteDatabase(path)
    with database.transaction() as tx:
        tx.execute("INSERT INTO schema_version (version) VALUES (999)")
    database.close()
    with pytest.raises(errors.HostError, match="newer than this program"):
        SqliteDatabase(path)
