"""Which text is asked for → the text: the kernel's own, as the world's facts change it."""

from __future__ import annotations

import errno
from collections.abc import Callable

from ... import errors
from ...kernel import kernfs
from . import probe, texts
from .load import Load


class Shown:
    """`pid`: of the first process of the world that runs; `PilotError` when none does. For one thread."""

    def __init__(self, pid: Callable[[], int]) -> None:
        self._pid = pid
        self._load = Load()

    def text(self, name: str) -> str:
        """`name` of `places.FILES`. OSError when there is no world by now."""
        try:
            facts = probe.probe(self._pid())
        except errors.PilotError as error:
            raise OSError(errno.ESRCH, str(error)) from error
        processor = facts.processor
        if name == "online":
            return texts.ranges(processor.numbers)
        kernel = kernfs.read(f"/proc/{name}") + "\n"
        if name == "meminfo":
            return texts.meminfo(kernel, facts.memory)
        if name == "cpuinfo":
            return texts.cpuinfo(kernel, processor.numbers)
        if name == "stat":
            return texts.stat(kernel, processor, facts.processes, facts.now_s)
        return texts.loadavg(kernel, self._load.look(processor.up_s, processor.used_s), facts.processes)
