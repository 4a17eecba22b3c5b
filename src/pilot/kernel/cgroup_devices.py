"""Device rules of cgroup v2: an eBPF program on the directory, asked at every open and mknod.

    bpf(PROG_LOAD, CGROUP_DEVICE) → program_fd ── bpf(PROG_ATTACH, directory) ── the cgroup keeps the program

All programs on the way to the root must allow; so a program can only take away. The instructions come from
`plan.devices`; nothing here knows what they mean.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .. import errors
from . import syscalls

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2
_LICENSE = ctypes.create_string_buffer(b"Apache-2.0")
_LOG_SIZE = 1 << 16
_MAX_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS


def attach(directory: str, instructions: bytes) -> None:
    """Make `instructions` the only device program of the cgroup `directory`; what was there is removed after.

    HostError: no permission, no BPF in the kernel, or a program that its verifier does not accept.
    """
    try:
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise errors.HostError(f"attach device program to {directory}: {error.strerror}") from error
    try:
        before = _attached(directory_fd)
        program_fd = _load(instructions)
        try:
            # Both are in force for a moment, which denies at worst; the other order would allow everything.
            _bpf(_PROG_ATTACH, struct.pack("<IIII", directory_fd, program_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
        finally:
            os.close(program_fd)
        for number in before:
            _detach(directory_fd, number)
    except OSError as error:
        raise errors.HostError(f"attach device program to {directory}: {error.strerror}") from error
    finally:
        os.close(directory_fd)


def attached(directory: str) -> list[int]:
    """Ids of the device programs on the cgroup itself. OSError."""
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _attached(directory_fd)
    finally:
        os.close(directory_fd)


def _load(instructions: bytes) -> int:
    program = ctypes.create_string_buffer(instructions, len(instructions))
    log = ctypes.create_string_buffer(_LOG_SIZE)
    addresses = struct.pack("<QQ", ctypes.addressof(program), ctypes.addressof(_LICENSE))
    attributes = struct.pack("<II", _TYPE_CGROUP_DEVICE, len(instructions) // 8) + addresses
    try:
        return _bpf(_PROG_LOAD, attributes + struct.pack("<IIQ", 1, _LOG_SIZE, ctypes.addressof(log)))
    except OSError as error:
        said = log.value.decode(errors="replace").strip().splitlines()
        error.strerror = f"{error.strerror}{f' ({said[-1]})' if said else ''}"
        raise


def _attached(directory_fd: int) -> list[int]:
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    query = struct.pack("<IIIIQII", directory_fd, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS, 0)
    buffer = ctypes.create_string_buffer(query, len(query))
    syscalls.call(syscalls.bpf_number(), _PROG_QUERY, buffer, len(query), what="query device programs")
    count: int = struct.unpack_from("<I", buffer.raw, 24)[0]
    return list(ids[:count])


def _detach(directory_fd: int, number: int) -> None:
    program_fd = _bpf(_PROG_GET_FD_BY_ID, struct.pack("<III", number, 0, 0))
    try:
        _bpf(_PROG_DETACH, struct.pack("<III", directory_fd, program_fd, _ATTACH_CGROUP_DEVICE))
    finally:
        os.close(program_fd)


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2); attributes that are not given are zero."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return syscalls.call(syscalls.bpf_number(), command, buffer, len(attributes), what=f"bpf command {command}")
