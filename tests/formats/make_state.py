"""Makes a sample of `state.db` as this build leaves it: sprites, a checkpoint, a hold, a key, an app and what it has.

    python -m tests.formats.make_state >tests/formats/state-vN.sql          N: how many migrations there are

Whoever adds a migration runs it, and adds to it what the new tables are for. What an API refuses is in no sample.
"""

from __future__ import annotations

import pathlib
import sqlite3
import sys
import tempfile

import httpx

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
    ("POST", "/v1/tokens", {"name": "reader", "role": "read"}),
    ("POST", "/v1/apps", {"app_name": "shop", "org_slug": "local"}),
    ("POST", "/v1/apps/shop/volumes", {"name": "data", "size_gb": 1}),
    ("POST", "/v1/apps/shop/secrets/key", {"value": "sealed"}),
    ("POST", "/v1/webhooks", {"url": "https://receiver.example/"}),
)


def main() -> int:
    """See the module."""
    with tempfile.TemporaryDirectory() as directory:
        host = HostUnderTest(pathlib.Path(directory))
        with httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {host.token}"}, timeout=60) as http:
            for method, path, body in _CALLS:
                answer = http.request(method, path, json=body)
                print(method, path, answer.status_code, file=sys.stderr)
        host.close()
        with sqlite3.connect(pathlib.Path(directory) / "state.db") as connection:
            for line in connection.iterdump():
                print(line)
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
