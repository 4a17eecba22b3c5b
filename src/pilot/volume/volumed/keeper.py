"""A process beside volumed and the workers that holds what attached disks live by, so that both may die at once.

    volumed ── <directory>/keeper.sock ── keeper (`pilot-init --keeper --listen door`; packets: joints §2)
                                          "<disk>/<part>" → descriptor

The first descriptor that is to be kept starts one. It outlives volumed; the next volumed finds it at its socket and is
handed everything. One that ends while volumed runs has a successor at once, which is given everything again; one that
does not answer is killed first; one of another build hands its store over to a new one (pidfd_getfd). It ends by itself
when it keeps nothing and volumed is gone.

A descriptor that is dropped is closed over there when `drop` returns: a copy that lingered would keep a loop device or
a FUSE connection alive. What must never happen here: an attached disk that fails because its keeper does.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from ... import errors, kernel
from ...kernel import fds as descriptors
from . import keeperprocess

_log = logging.getLogger(__name__)
BINARY = os.path.join(os.path.dirname(kernel.__file__), "bin", "pilot-init")
SOCKET = "keeper.sock"
_END_TIMEOUT_S = 5.0


class Keeper:
    """volumed's end of it. Safe for several threads. `directory` is volumed's alone."""

    def __init__(self, directory: str, binary: str = BINARY) -> None:
        self._path = os.path.join(directory, SOCKET)
        self._binary = binary
        self._lock = threading.RLock()
        self._kept: dict[str, int] = {}
        self._is_missed = False
        self._process: keeperprocess.Process | None = None
        self._use(self._find())

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        process = self._process
        return process.pid if process else None

    # ---- what is kept

    def take(self, disk: str) -> dict[str, int]:
        """Part → descriptor of what an earlier volumed had kept of this disk; the caller owns them."""
        with self._lock:
            if self._process is None:
                return {}
            link = self._process.link
            names = [name for name in link.inherited if name.startswith(f"{disk}/")]
            return {name.partition("/")[2]: link.take(name) for name in names}

    def settle(self) -> None:
        """Everything of an earlier volumed's that is wanted was taken: let go of the rest."""
        with self._lock:
            self._tell(self._agree)

    def keep(self, disk: str, parts: Mapping[str, int]) -> None:
        """Keep descriptors, each in place of what has its name; they stay the caller's, open until `drop` returns.

        What cannot be kept is logged, and tried again by `ensure`.
        """
        named = {f"{disk}/{part}": fd for part, fd in parts.items()}
        with self._lock:
            self._kept |= named
            if self._process is None:
                self.ensure()  # which gives it these too
                return
            for name, fd in named.items():
                self._tell(functools.partial(keeperprocess.Process.put, name=name, fd=fd))

    def drop(self, disk: str, parts: Sequence[str]) -> None:
        """Have the keeper close its copies; it has when this returns."""
        with self._lock:
            for name in [f"{disk}/{part}" for part in parts]:
                if self._kept.pop(name, None) is not None:
                    self._tell(functools.partial(keeperprocess.Process.drop, name=name))

    def ensure(self) -> None:
        """When there is something to keep and nobody keeps it: find a keeper or start one, and give it everything."""
        with self._lock:
            if self._process is not None or not self._kept:
                return
            try:
                self._use(self._find() or keeperprocess.start(self._path, self._binary))
            except (errors.PilotError, OSError) as error:
                level = logging.DEBUG if self._is_missed else logging.ERROR  # it is tried again and again
                _log.log(level, "start a keeper: %s; the disks live on without one", error)
                self._is_missed = True
                return
            self._is_missed = False
            self._tell(self._agree)

    def _agree(self, process: keeperprocess.Process) -> None:
        """It keeps what we keep, and nothing else."""
        for name, fd in self._kept.items():
            process.put(name, fd)
        for name in process.handed_over - self._kept.keys():
            process.drop(name)

    def _tell(self, request: Callable[[keeperprocess.Process], None]) -> None:
        """Carry out a request. Who does not answer is killed, which closes what it kept; its successor comes by
        `_watch`. One that is full would only be followed by another that is."""
        if self._process is None:
            return
        try:
            request(self._process)
        except errors.HostError as error:
            _log.error("keeper %d: %s", self._process.pid, error)
        except (errors.PilotError, OSError) as error:
            _log.error("keeper %d: %s: it is killed", self._process.pid, error)
            self._process.kill()

    # ---- the process

    def _find(self) -> keeperprocess.Process | None:
        try:
            found = keeperprocess.connect(self._path)
            if found is None or found.runs(self._binary):
                return found
            _log.info("keeper %d is of another build: a new one takes over", found.pid)
            return keeperprocess.succeed(found, self._path, self._binary)
        except (errors.PilotError, OSError) as error:
            _log.error("find the keeper: %s", error)
            return None

    def _use(self, process: keeperprocess.Process | None) -> None:
        self._process = process
        if process is not None:
            end_fd = os.dup(process.pid_fd)
            threading.Thread(target=self._watch, args=(process, end_fd), name="watch-keeper", daemon=True).start()

    def _watch(self, process: keeperprocess.Process, end_fd: int) -> None:
        """When it ends, start another."""
        descriptors.readable([end_fd])
        os.close(end_fd)
        process.reap()
        with self._lock:
            if self._process is not process:
                return  # we have closed it
            self._process = None
            process.close()
            if self._kept:
                _log.warning("keeper %d has ended", process.pid)
                self.ensure()

    def close(self) -> None:
        """Go away. A keeper that keeps nothing is gone when this returns."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.close(0 if self._kept else _END_TIMEOUT_S)
