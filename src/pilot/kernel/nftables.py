"""libnftables: a script is one transaction, which the kernel takes whole or not at all.

A `Nftables` belongs to the network namespace that the thread was in when it was made, and stays there whoever calls it:
its netlink socket was opened there. A command costs a tenth of a millisecond; a process of nft(8) costs nine.
"""

from __future__ import annotations

import ctypes
import functools
import threading

from .. import errors

_LIBRARY = "libnftables.so.1"
_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON


class Refused(errors.HostError):
    """The kernel, or the library, did not take a script. Nothing of it is in force."""


class Nftables:
    """Close it. Safe to use from any thread; one script at a time."""

    def __init__(self) -> None:
        self._library = _load()
        self._lock = threading.Lock()
        context = self._library.nft_ctx_new(0)
        if not context:
            raise errors.HostError("open nftables: no memory or no netlink socket")
        self._context = ctypes.c_void_p(context)
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Nftables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, script: str) -> str:
        """Carry out `script` (nft(8)) and return what it prints. `Refused` with the library's own words."""
        return self._run(script, 0)

    def query(self, script: str) -> str:
        """The same; what it prints is JSON (libnftables-json(5))."""
        return self._run(script, _JSON)

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._context:
                self._library.nft_ctx_free(self._context)
                self._context = ctypes.c_void_p(None)

    def _run(self, script: str, flags: int) -> str:
        with self._lock:
            if not self._context:
                raise errors.HostError("use nftables: it was closed")
            self._library.nft_ctx_output_set_flags(self._context, flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
            printed = self._library.nft_ctx_get_output_buffer(self._context).decode()
            complaint = self._library.nft_ctx_get_error_buffer(self._context).decode()
        if failed:
            first = next(iter(complaint.splitlines()), "no reason given")
            raise Refused(f"change nftables: {first.removeprefix('internal:0:0-0: ')}")
        return str(printed)


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
