"""The systemd cgroup driver's part over a real bus, with a manager in place of systemd's that keeps what it is told."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import (  # type: ignore[import-untyped]
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    message_bus,
    new_error,
    new_method_return,
    new_signal,
)  # fmt: skip
from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]

from pilot import errors
from pilot.kernel import systemd
from pilot.plan import systemd as plan_systemd
from pilot.plan.cgroup import Unit
from pilot.plan.systemd import Property

pytestmark = pytest.mark.requires("root", "private", "dbus")

_NAME, _PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>"""


class _Systemd:
    """Answers the four methods until its bus ends; `result` is how its jobs end."""

    def __init__(self, address: str) -> None:
        self.units: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()
        self.result = "done"
        self._connection = open_dbus_connection(bus=address)
        self._connection.send_and_get_reply(message_bus.RequestName(_NAME))
        self.thread = threading.Thread(target=self._serve, name="systemd")
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.closing(self._connection), contextlib.suppress(OSError, EOFError):
            while True:
                message = self._connection.receive()
                if message.header.message_type is MessageType.method_call:
                    self._answer(message)

    def _answer(self, message: Message) -> None:
        error = _METHODS[message.header.fields[HeaderFields.member]](self, *message.body)
        if isinstance(error, str):
            self._connection.send(new_error(message, f"{_NAME}.{error}", "s", (f"Unit {message.body[0]}: {error}",)))
        elif error is None:
            self._connection.send(new_method_return(message))
        else:
            # Somebody else's job, and ours before the call is answered: both happen.
            emitter = DBusAddress(_PATH, interface=_NAME + ".Manager")
            for number, result in ((6, "failed"), (7, self.result)):
                body = (number, f"{_PATH}/job/{number}", message.body[0], result)
                self._connection.send(new_signal(emitter, "JobRemoved", "uoss", body))
            self._connection.send(new_method_return(message, "o", (f"{_PATH}/job/7",)))

    def subscribe(self) -> None:
        """The client wants signals."""

    def start(self, unit: str, _: str, properties: list[tuple[str, tuple[str, Any]]], __: list[Any]) -> str | bool:
        """The name of an error, or True for a job."""
        if unit in self.units or unit in self.failed:
            return "UnitExists"
        self.units[unit] = {name: value for name, (_, value) in properties}
        return True

    def stop(self, unit: str, _: str) -> str | bool:
        """As start."""
        return True if self.units.pop(unit, None) is not None else "NoSuchUnit"

    def change(self, unit: str, _: bool, properties: list[tuple[str, tuple[str, Any]]]) -> str | None:
        """As start, of a unit that is there."""
        if unit not in self.units:
            return "NoSuchUnit"
        self.units[unit].update((name, value) for name, (_, value) in properties)
        return None

    def reset(self, unit: str) -> None:
        """Forget a failure."""
        self.failed.discard(unit)


_METHODS: dict[str, Callable[..., str | bool | None]] = {
    "Subscribe": _Systemd.subscribe,
    "StartTransientUnit": _Systemd.start,
    "StopUnit": _Systemd.stop,
    "ResetFailedUnit": _Systemd.reset,
    "SetUnitProperties": _Systemd.change,
}


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Systemd]:
    (tmp_path / "bus.conf").write_text(_CONFIG.format(path=tmp_path / "bus"))
    command = ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--nopidfile", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        address = daemon.stdout.readline().strip()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        served = None
        try:
            served = _Systemd(address)
            yield served
        finally:
            daemon.kill()
            if served is not None:
                served.thread.join(10)


def test_a_scope_has_a_holder_until_the_end(manager: _Systemd) -> None:
    unit = Unit("pilot-web.scope", "machine.slice")
    with systemd.started(unit.name, lambda pids: plan_systemd.plan_properties(unit, "web", None, pids, {})):
        properties = manager.units[unit.name]
        (pid,) = properties["PIDs"]
        assert os.path.exists(f"/proc/{pid}")
        assert (properties["Slice"], properties["Delegate"]) == ("machine.slice", True)
    assert not os.path.exists(f"/proc/{pid}")
    systemd.stop(unit.name)
    assert manager.units == {}
    systemd.stop(unit.name)


def test_properties_are_changed(manager: _Systemd) -> None:
    systemd.start("a.scope", [Property("TasksMax", "t", 9), Property("AllowedCPUs", "ay", b"\x03")])
    systemd.set_properties("a.scope", [Property("TasksMax", "t", 10)])
    assert manager.units["a.scope"] == {"TasksMax": 10, "AllowedCPUs": b"\x03"}
    systemd.set_properties("gone.scope", [Property("TasksMax", "t", 10)])
    assert set(manager.units) == {"a.scope"}


def test_a_failed_unit_is_cleared_away(manager: _Systemd) -> None:
    manager.failed.add("a.scope")
    systemd.start("a.scope", [Property("Delegate", "b", True)])
    assert "a.scope" in manager.units


def test_a_running_unit_is_in_the_way(manager: _Systemd) -> None:
    systemd.start("a.scope", [])
    with pytest.raises(errors.Conflict, match=r"start unit a.scope: Unit a.scope: UnitExists"):
        systemd.start("a.scope", [])


def test_a_job_that_does_not_end_well(manager: _Systemd) -> None:
    manager.result = "timeout"
    with pytest.raises(errors.HostError, match=r"start unit a.scope: its job ended as 'timeout'"):
        systemd.start("a.scope", [])


def test_nothing_is_left_when_it_fails(manager: _Systemd) -> None:
    manager.result = "failed"
    before = os.listdir("/proc/self/fd"), Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    with pytest.raises(errors.HostError), systemd.started("a.scope", lambda pids: [Property("PIDs", "au", pids)]):
        pytest.fail("the block ran")
    assert (os.listdir("/proc/self/fd"), Path(f"/proc/self/task/{os.getpid()}/children").read_text()) == before


def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(errors.HostError, match="connect to the system bus") as raised:
        systemd.start("a.scope", [])
    assert raised.value.hint == "use the cgroupfs driver where there is no systemd"
