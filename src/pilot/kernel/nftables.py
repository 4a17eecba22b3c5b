"""libnftables: a script is one transaction of one network namespace, which the kernel takes whole or not at all.

Each script is run by a thread of its own, which joins the namespace, has a table of descriptors of its own, and ends.
The table is because the library waits with select(2): a netlink socket above 1023 ends the process, and daemons of ours
have thousands of descriptors. It costs half a millisecond; a process of nft(8) costs nine.

Where it gets no socket at all, it ends the process, so one is asked for first.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import socket
import threading
from collections.abc import Iterator

from .. import errors
from . import syscalls, visit

_LIBRARY = "libnftables.so.1"
_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON
_CLONE_FILES = 0x400
_CLOSE_RANGE = 436
_FIRST_FD, _LAST_FD = 3, (1 << 32) - 1
_NETLINK_NETFILTER = 12


class Refused(errors.HostError):
    """The kernel, or the library, did not take a script. Nothing of it is in force."""


def run(script: str, namespace: str | None = None) -> str:
    """Carry out `script` (nft(8)) in the network namespace at that path, or in ours; what it prints.

    `Refused` with the library's own words; `HostError` without a library, or a kernel that has nftables; `OSError` when
    there is no such namespace.
    """
    return _run(script, namespace, 0)


def query(script: str, namespace: str | None = None) -> str:
    """The same; what it prints is JSON (libnftables-json(5))."""
    return _run(script, namespace, _JSON)


def _run(script: str, namespace: str | None, flags: int) -> str:
    library = _load()
    with _no_collection():
        if namespace is None:
            here = visit.in_thread(visit.Namespace.NETWORK, lambda: None, lambda: _talk(library, script, flags))
        else:
            here = visit.visit_path(namespace, visit.Namespace.NETWORK, lambda: _talk(library, script, flags))
    failed, printed, complaint = here
    if failed:
        first = next(iter(complaint.splitlines()), "no reason given")
        raise Refused(f"change nftables: {first.removeprefix('internal:0:0-0: ')}")
    return printed


def _talk(library: ctypes.CDLL, script: str, flags: int) -> tuple[bool, str, str]:
    """In the thread. Whether it failed, what was printed, what was complained about."""
    syscalls.checked(syscalls.libc.unshare(_CLONE_FILES), "unshare descriptors")
    syscalls.call(_CLOSE_RANGE, _FIRST_FD, _LAST_FD, 0, what="close descriptors of our own")
    _require_socket()
    context = ctypes.c_void_p(library.nft_ctx_new(0))
    if not context:
        raise OSError(0, "open nftables: no memory, or no netlink socket")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        library.nft_ctx_output_set_flags(context, flags)
        failed = library.nft_run_cmd_from_buffer(context, script.encode())
        printed = library.nft_ctx_get_output_buffer(context).decode()
        return bool(failed), printed, library.nft_ctx_get_error_buffer(context).decode()
    finally:
        library.nft_ctx_free(context)


def _require_socket() -> None:
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER).close()
    except OSError as error:
        hint = "load the module nf_tables" if error.errno == errno.EPROTONOSUPPORT else None
        reason = (error.strerror or str(error)).lower()
        raise errors.HostError(f"open a socket of nftables: {reason}", hint=hint) from error


_collecting = threading.Lock()
_pausing = 0


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage is collected: a socket that the thread collected would be closed in the thread's table only."""
    global _pausing
    with _collecting:
        _pausing += 1
        gc.disable()
    try:
        yield
    finally:
        with _collecting:
            _pausing -= 1
            if not _pausing:
                gc.enable()


@functools.cache
def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise errors.HostError(f"load {_LIBRARY}: {error}", hint="install Debian's libnftables1") from error
    context = ctypes.c_void_p
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    library.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [context]
        getattr(library, name).restype = None if name == "nft_ctx_free" else ctypes.c_int
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [context]
        getattr(library, name).restype = ctypes.c_char_p
    return library
