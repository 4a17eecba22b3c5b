"""Transient units of systemd, for the systemd cgroup driver, over D-Bus.

    with systemd.started(unit, plan):           StartTransientUnit(PIDs=[holder]) ─► JobRemoved: done
        the container's process joins           by the files of the cgroup, as with the cgroupfs driver
    ─► the holder is killed                     the unit lives on with the container, and goes with its last process

A scope cannot be empty, and our process is cloned into its cgroup: so a holder, which does nothing, is in it until
then. Nothing is cached and no connection is kept.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from jeepney import (  # type: ignore[import-untyped]
    DBusAddress,
    HeaderFields,
    MatchRule,
    Message,
    MessageType,
    message_bus,
    new_method_call,
)  # fmt: skip
from jeepney.io.blocking import DBusConnection, open_dbus_connection  # type: ignore[import-untyped]

from .. import errors
from ..plan import program, steps
from ..plan.code import Slot
from ..plan.systemd import Property
from . import launcher, waiter

_MANAGER = DBusAddress(
    "/org/freedesktop/systemd1", bus_name="org.freedesktop.systemd1", interface="org.freedesktop.systemd1.Manager"
)
_UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_UNTIL = Slot("until")
_HOLDER = program.Program((steps.Release(), steps.AwaitStart(_UNTIL)))
_DEADLINE_S = 30.0


class _Refused(Exception):
    """The manager answered with the D-Bus error `name`."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


def start(unit: str, properties: Sequence[Property], timeout_s: float = _DEADLINE_S) -> None:
    """Start a transient unit; returns when systemd says that it is done.

    What is left of a failed unit of that name is cleared away. Conflict: one is running. HostError: no systemd, it
    refused, or it took longer than `timeout_s`.
    """
    body: tuple[object, ...] = (unit, "replace", _plain(properties), [])
    with _manager(f"start unit {unit}", timeout_s) as manager:
        try:
            manager.run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        except _Refused as refused:
            if refused.name != _UNIT_EXISTS:
                raise
            # A failed unit keeps its name until somebody has looked; a running one does not mind.
            manager.forget_failure(unit)
            manager.run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)


def set_properties(unit: str, properties: Sequence[Property], timeout_s: float = _DEADLINE_S) -> None:
    """Change properties of a unit that runs, until it ends. HostError; a unit that systemd does not know has none."""
    with _manager(f"set properties of unit {unit}", timeout_s) as manager:
        try:
            manager.call("SetUnitProperties", "sba(sv)", (unit, True, _plain(properties)))
        except _Refused as refused:
            if refused.name != _NO_SUCH_UNIT:
                raise


def stop(unit: str, timeout_s: float = _DEADLINE_S) -> None:
    """Stop a unit, with all its processes, and forget that it failed; idempotent. HostError."""
    with _manager(f"stop unit {unit}", timeout_s) as manager:
        try:
            manager.run_job("StopUnit", "ss", (unit, "replace"))
        except _Refused as refused:
            if refused.name != _NO_SUCH_UNIT:
                raise
        manager.forget_failure(unit)


@contextlib.contextmanager
def started(
    unit: str, plan: Callable[[tuple[int, ...]], Sequence[Property]], timeout_s: float = _DEADLINE_S
) -> Iterator[None]:
    """Start a unit with a holder in it, whose pid is given to `plan`, and which ends with the block."""
    with _holder() as pid:
        start(unit, plan((pid,)), timeout_s)
        yield


@contextlib.contextmanager
def _holder() -> Iterator[int]:
    """A process that does nothing until the block ends, or we do: then its pipe does."""
    until_fd, ours_fd = os.pipe2(os.O_CLOEXEC)
    try:
        process = launcher.launch(_HOLDER, descriptors={_UNTIL: until_fd}, waiter=waiter.OwnChildren())
        try:
            yield process.pid
        finally:
            signal.pidfd_send_signal(process.pid_fd, signal.SIGKILL)
            waiter.OwnChildren().wait(process, _DEADLINE_S)
            os.close(process.pid_fd)
    finally:
        os.close(until_fd)
        os.close(ours_fd)


@contextlib.contextmanager
def _manager(what: str, timeout_s: float) -> Iterator[_Manager]:
    """A connection for one errand; whatever goes wrong is a HostError that says what the errand was."""
    try:
        with contextlib.closing(open_dbus_connection(bus="SYSTEM")) as connection:
            yield _Manager(connection, time.monotonic() + timeout_s)
    except _Refused as refused:
        kind = errors.Conflict if refused.name == _UNIT_EXISTS else errors.HostError
        raise kind(f"{what}: {refused}") from refused
    except TimeoutError as error:
        raise errors.HostError(f"{what}: systemd did not answer within {timeout_s} s") from error
    except OSError as error:
        hint = "use the cgroupfs driver where there is no systemd"
        raise errors.HostError(f"{what}: connect to the system bus: {error.strerror or error}", hint=hint) from error


class _Manager:
    """systemd's manager object, until a deadline."""

    def __init__(self, connection: DBusConnection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def run_job(self, method: str, signature: str, body: tuple[object, ...]) -> None:
        """Call a method that answers with a job, and wait until that job is done."""
        removed = MatchRule(type="signal", interface=_MANAGER.interface, member="JobRemoved", path=_MANAGER.object_path)
        self._call(message_bus.AddMatch(removed))
        self._call(new_method_call(_MANAGER, "Subscribe"))
        # Listening begins before the call: the job may be over before its answer is read.
        with self._connection.filter(removed, queue=deque()) as signals:
            (job,) = self.call(method, signature, body)
            while True:
                _, ended, _, result = self._connection.recv_until_filtered(signals, timeout=self._left_s()).body
                if ended == job:
                    break
        if result != "done":
            raise _Refused("", f"its job ended as {result!r}")

    def forget_failure(self, unit: str) -> None:
        """Reset a failed unit, so that its name is free."""
        try:
            self.call("ResetFailedUnit", "s", (unit,))
        except _Refused:
            pass  # there is none: nothing to forget

    def call(self, method: str, signature: str, body: tuple[object, ...]) -> tuple[object, ...]:
        """Call a method; its answer."""
        return self._call(new_method_call(_MANAGER, method, signature, body))

    def _call(self, message: Message) -> tuple[object, ...]:
        reply = self._connection.send_and_get_reply(message, timeout=self._left_s())
        if reply.header.message_type is MessageType.error:
            name = str(reply.header.fields.get(HeaderFields.error_name, ""))
            raise _Refused(name, ": ".join(str(part) for part in reply.body))
        return tuple(reply.body)

    def _left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


def _plain(properties: Sequence[Property]) -> list[tuple[str, tuple[str, object]]]:
    """As a(sv); jeepney takes lists for arrays."""
    return [(p.name, (p.signature, list(p.value) if isinstance(p.value, tuple) else p.value)) for p in properties]
