"""Binding a name to the machine: host name, clock, entropy, environment. What is forbidden here is told, not hidden."""

from __future__ import annotations

import base64
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable

from .. import errors
from ..wire import faults, schema
from . import names, network, world_spec
from .machine import Machine

_RNDADDENTROPY = 0x40085203
_RNDRESEEDCRNG = 0x5207
_MAX_ENTROPY_BYTES = 512


def adopt(machine: Machine, request: schema.AdoptRequest) -> schema.AdoptAnswer:
    """Apply what was asked for, each on its own; can be called again. Blocks."""
    world_spec.check_environment(request.environment)
    work: dict[str, Callable[[], None]] = {}
    if request.hostname is not None:
        hostname = names.check(request.hostname)
        work["hostname"] = lambda: socket.sethostname(hostname)
    if request.time_ns is not None:
        time_ns = request.time_ns
        work["time"] = lambda: _set_time(machine, time_ns)
    if request.entropy is not None:
        seed = _decode(request.entropy)
        work["entropy"] = lambda: _add_entropy(machine, seed)
    if request.network is not None:
        wanted = request.network
        network.check(wanted)
        work["policy"] = lambda: network.tell(machine.paths.policy, wanted)
        work["network"] = lambda: network.address(wanted)
    applied, refused = [], {}
    for name, act in work.items():
        try:
            act()
            applied.append(name)
        except (OSError, errors.HostError) as error:
            refused[name] = getattr(error, "strerror", None) or str(error)
    return schema.AdoptAnswer(name=request.name, applied=applied, refused=refused)


def _decode(text: str) -> bytes:
    try:
        seed = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise faults.InvalidRequest(f"entropy: {error}") from error
    if not 0 < len(seed) <= _MAX_ENTROPY_BYTES:
        raise faults.InvalidRequest(f"entropy: {len(seed)} bytes where 1 to {_MAX_ENTROPY_BYTES} are taken")
    return seed


def _only_in_vm(machine: Machine, what: str) -> None:
    if machine.isolation != "vm":
        raise errors.HostError(f"set {what}: a container shares it with its host")


def _set_time(machine: Machine, time_ns: int) -> None:
    _only_in_vm(machine, "the clock")
    time.clock_settime_ns(time.CLOCK_REALTIME, time_ns)


def _add_entropy(machine: Machine, seed: bytes) -> None:
    """The kernel's generator is credited with `seed` and reseeds at once: clones of one template must differ."""
    _only_in_vm(machine, "entropy")
    fd = os.open("/dev/random", os.O_WRONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _RNDADDENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(fd, _RNDRESEEDCRNG)
    finally:
        os.close(fd)
