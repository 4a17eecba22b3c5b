"""Makes a sample of `state.db` as this build leaves it: sprites, a checkpoint, a hold, a key, an app and what it has.

    python -m tests.formats.make_state >tests/formats/state-vN.sql          N: how many migrations there are

Whoever adds a migration runs it, and adds to it what the new tables are for. What an API refuses is in no sample.
"""

from __future__ import annotations

import pathlib
import secrets
import sqlite3
import sys
import tempfile
import time

import httpx

from pilot.host.fsm.journal import Record
from pilot.host.operations import requests
from pilot.host.services.creating import Creating
from pilot.host.services.wanted import Forks
from pilot.host.store import clocks, fly_members, usage
from pilot.host.store.fly_members import Member
from pilot.host.store.journal import SqlJournal
from pilot.ids import CheckpointId, MachineId, RunId
from tests.support.host import HostUnderTest

_SPRITE = {
    "name": "web", "labels": ["a"], "environment": {"A": "1"}, "config": {"ram_mb": 512},
    "lifecycle": {"cold_after_s": 60},
}  # fmt: skip
_CALLS: tuple[tuple[str, str, object], ...] = (
    ("POST", "/v1/sprites", _SPRITE),
    ("POST", "/v1/sprites", {"name": "cold"}),
    ("POST", "/v1/sprites/web/checkpoint", {"comment": "kept"}),
    ("POST", "/v1/sprites/cold/stop", None),
    ("PUT", "/v1/sprites/web/holds/build", {}),
    ("POST", "/v1/sprites/cold/policy/privileges", {"profile": "minimal"}),
    ("POST", "/v1/tokens", {"name": "reader", "role": "read"}),
    ("POST", "/v1/apps", {"app_name": "shop", "org_slug": "local"}),
    ("POST", "/v1/apps/shop/volumes", {"name": "data", "size_gb": 1}),
    ("POST", "/v1/apps/shop/secrets/key", {"value": "sealed"}),
    ("POST", "/v1/apps/shop/secretkeys/orders/generate", {"type": "xaes256gcm"}),
    ("POST", "/v1/webhooks", {"url": "https://receiver.example/"}),
)


def _call(http: httpx.Client, method: str, path: str, body: object) -> None:
    answer = http.request(method, path, json=body)
    print(method, path, answer.status_code, file=sys.stderr)


def _begin_forks(host: HostUnderTest) -> None:
    """A run of several forks that nobody has carried out yet."""
    row = host.sprites.find(host.organisation.id, "web")
    wanted = Creating(host.host, host.sprites.isolation).forks(row, CheckpointId("v1"), Forks(("copy-a", "copy-b")))
    action = requests.FORK_MANY
    id = RunId(f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}")
    names = ("save", "create", "prune")
    record = Record(id, action.kind, action.name, row.id, action.request.write(wanted), names, None)
    SqlJournal(host.database).begin(record)


def _use(host: HostUnderTest) -> None:
    """A minute of it, on one day."""
    row = host.sprites.find(host.organisation.id, "web")
    counted = usage.Counted(7, 8, 9)
    with host.database.transaction() as tx:
        usage.add(tx, usage.Day("2026-11-29", row.id, row.name, usage.Used(60_000_000, counted)), row.organisation)
        usage.put_counters(tx, row.id, counted)


def _pool(host: HostUnderTest) -> None:
    """A machine that nobody has wanted yet, and when snapshots were looked at."""
    with host.database.transaction() as tx:
        fly_members.add(tx, Member(MachineId("0123456789abcd"), ("sha256:" + 64 * "0",)))
        clocks.write(tx, "snapshots", 1_790_000_000_000_000)


def main() -> int:
    """See the module."""
    with tempfile.TemporaryDirectory() as directory:
        host = HostUnderTest(pathlib.Path(directory))
        with httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {host.token}"}, timeout=60) as http:
            for method, path, body in _CALLS:
                _call(http, method, path, body)
            _call(http, "PUT", "/v1/sprites/web/checkpoints/v1", {"name": "ready"})
        _begin_forks(host)
        _use(host)
        _pool(host)
        host.close()
        with sqlite3.connect(pathlib.Path(directory) / "state.db") as connection:
            for line in connection.iterdump():
                print(line)
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
