"""What flyctl asks of the Machines API, command by command, in its order: with its bodies, its leases, what it takes
for an end and what it does about an error. A replay, read off flyctl's sources; none of its code is here.

It looks only at what flyctl looks at, so what it does not notice no user of flyctl would.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any

from tests.support.flyapi import Fly

JSON = dict[str, Any]
NONCE = "fly-machine-lease-nonce"
# What flyctl gives a machine to come to a state, whatever it asks for at once.
_PATIENCE_S, _ONE_WAIT_S = 300.0, 60
_BACK_OFF_S = 0.5
_LEASE_S = 13  # of a deploy


class Failed(AssertionError):
    """flyctl would end with this."""


class Flyctl:
    """One app, by the commands of `fly machine`."""

    def __init__(self, fly: Fly) -> None:
        self._fly = fly

    def run(self, config: Mapping[str, object], **more: object) -> JSON:
        """`machine run`: launched, started, its checks pass."""
        body = {"config": config, "region": "", "skip_launch": False, **more}
        made: JSON = self._fly.call("POST", "", body)
        self.wait(made, "started")
        return self.until_checked(made["id"])

    def start(self, id: str) -> str:
        """`machine start`; the state before."""
        with self._leased(id) as nonce:
            return str(self._fly.call("POST", f"/{id}/start", headers=nonce)["previous_state"])

    def stop(self, id: str, signal: str = "", timeout: str = "", *, wait: bool = True) -> None:
        """`machine stop --wait-timeout`."""
        body = {"id": id} | ({"signal": signal} if signal else {}) | ({"timeout": timeout} if timeout else {})
        with self._leased(id) as nonce:
            self._fly.call("POST", f"/{id}/stop", body, headers=nonce)
        if wait:
            self.wait(self._fly.get(id), "stopped")

    def suspend(self, id: str) -> None:
        with self._leased(id) as nonce:
            self._fly.call("POST", f"/{id}/suspend", headers=nonce)
        self.wait(self._fly.get(id), "suspended")

    def restart(self, id: str) -> None:
        with self._leased(id) as nonce:
            self._fly.call("POST", f"/{id}/restart?force_stop=false&timeout=10s", headers=nonce)
        self.wait(self._fly.get(id), "started")
        self.until_checked(id)

    def update(self, id: str, config: Mapping[str, object]) -> JSON:
        """`machine update`: the whole config under a lease, then whatever state it settles in."""
        row = self._fly.get(id)
        with self._leased(id) as nonce:
            body = {"config": config, "name": row["name"], "region": row["region"], "skip_launch": False}
            updated = self._fly.call("POST", f"/{id}", body, headers=nonce)
            self.wait(updated, "settled")
            row = self._fly.get(id)
            if row["state"] == "failed":
                raise Failed(f"machine {id} failed: {row['events'][0]}")
            return self.until_checked(id) if row["state"] == "started" else row

    def deploy(self, id: str, config: Mapping[str, object]) -> JSON:
        """One machine of `deploy`: its lease is short, and renewed while it goes on."""
        lease = self._fly.call("POST", f"/{id}/lease?ttl={_LEASE_S}", status=201)["data"]
        nonce = {NONCE: lease["nonce"]}
        with self._renewing(id, nonce):
            self._fly.call("POST", f"/{id}", {"config": config, "lease_ttl": _LEASE_S}, headers=nonce)
            self._renew(id, nonce)
            self.wait(self._fly.get(id), "started")
            row = self.until_checked(id)
        if self.crashes(row):
            raise Failed(f"machine {id} crashes: {row['events'][:3]}")
        self._release(id, nonce)
        return row

    @contextlib.contextmanager
    def _renewing(self, id: str, nonce: Mapping[str, str]) -> Iterator[None]:
        """Beside whatever the block waits for, as often as flyctl does."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait((_LEASE_S - 1) / 3):
                self._renew(id, nonce)

        with futures.ThreadPoolExecutor(1, thread_name_prefix="flyctl-lease") as threads:
            renewing = threads.submit(renew)
            try:
                yield
            finally:
                ended.set()
            renewing.result()

    def _renew(self, id: str, nonce: Mapping[str, str]) -> None:
        again = self._fly.call("POST", f"/{id}/lease?ttl={_LEASE_S}", headers=dict(nonce), status=201)["data"]
        if again["nonce"] != nonce[NONCE]:
            raise Failed("a renewed lease has another nonce")

    def exec(self, id: str, command: str, **more: object) -> JSON:
        """`machine exec`: one line of words."""
        self._fly.get(id)
        found: JSON = self._fly.call("POST", f"/{id}/exec", {"cmd": command, **more})
        return found

    def kill(self, id: str) -> None:
        """`machine kill`: the number of a signal, not its name."""
        self._fly.call("POST", f"/{id}/signal", {"signal": 9})

    def clone(self, id: str) -> JSON:
        """`machine clone`, of one without volumes."""
        config = self._fly.get(id)["config"]
        return self.run({name: value for name, value in config.items() if name not in ("auto_destroy", "standbys")})

    def destroy(self, id: str, *, force: bool = False) -> None:
        row = self._fly.get(id)
        with self._leased(id, release=False) as nonce:
            self._fly.call("DELETE", f"/{id}?kill={str(force).lower()}", headers=nonce)
        self.wait(row, "destroyed")

    def cordon(self, id: str, *, away: bool) -> None:
        with self._leased(id) as nonce:
            self._fly.call("POST", f"/{id}/{'cordon' if away else 'uncordon'}", headers=nonce)

    # What the commands share

    def wait(self, row: JSON, state: str) -> None:
        """400 ends it, whatever else is no answer is asked again; what has gone is `destroyed`."""
        end_s = time.monotonic() + _PATIENCE_S
        path = f"/v1/apps/{self._fly.app}/machines/{row['id']}/wait?state={state}&timeout={_ONE_WAIT_S}"
        while True:
            answer = self._fly.raw("GET", path)
            if answer.status_code == 200 or (answer.status_code == 404 and state == "destroyed"):
                return
            if answer.status_code == 400 or time.monotonic() > end_s:
                raise Failed(f"wait {state}: {answer.status_code} {answer.text}")
            time.sleep(_BACK_OFF_S)

    def until_checked(self, id: str) -> JSON:
        """Each check that it is to have is told of, and passes."""
        end_s = time.monotonic() + _PATIENCE_S
        while True:
            row = self._fly.get(id)
            wanted = len(row["config"].get("checks") or {})
            wanted += sum(len(service.get("checks") or ()) for service in row["config"].get("services") or ())
            if not wanted or (row["checks"] and all(check["status"] == "passing" for check in row["checks"])):
                return row
            if time.monotonic() > end_s:
                raise Failed(f"checks of {id}: {row['checks']}")
            time.sleep(_BACK_OFF_S)

    @staticmethod
    def crashes(row: JSON) -> bool:
        """By the newest exit, which says whether anybody had asked for it."""
        request: JSON = next((event["request"] for event in row["events"] if event["type"] == "exit"), {})
        exit = (request.get("MonitorEvent") or request).get("exit_event") or {}
        is_loop = exit.get("restarting") and not exit.get("requested_stop") and exit.get("exit_code")
        return bool(is_loop and request.get("restart_count", 0) > 1)

    @staticmethod
    def most_recent_start(row: JSON) -> int:
        """When it was started after its launch, in milliseconds; it is an error for one that has ended since."""
        for event in row["events"]:
            if event["type"] == "exit":
                raise Failed("it has ended since it was started")
            if event["type"] == "start":
                return int(event["timestamp"])
        raise Failed("it was never started")

    @contextlib.contextmanager
    def _leased(self, id: str, *, release: bool = True) -> Iterator[dict[str, str]]:
        """flyctl leases nothing that is not well, or whose config is incomplete."""
        row = self._fly.get(id)
        if row["host_status"] != "ok" or row.get("incomplete_config"):
            raise Failed(f"machine {id} is not leased: {row['host_status']}")
        data = self._fly.call("POST", f"/{id}/lease?ttl=120", status=201)["data"]
        nonce = {NONCE: data["nonce"]}
        try:
            yield nonce
        finally:
            if release:
                self._release(id, nonce)

    def _release(self, id: str, nonce: Mapping[str, str]) -> None:
        path = f"/v1/apps/{self._fly.app}/machines/{id}/lease"
        answer = self._fly.raw("DELETE", path, headers=dict(nonce))
        if answer.status_code >= 400 and "lease not found" not in answer.text:
            raise Failed(f"release: {answer.status_code} {answer.text}")
