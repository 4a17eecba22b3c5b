"""What machines ask of this host, told to their logs: it is rated, as nobody but the machine decides how often."""

from __future__ import annotations

import asyncio
import time

from ... import errors
from ...server.call import Call
from ...wire import faults
from ..audit import asked
from ..audit.records import Decision, Record, Who
from ..audit.subjects import Subjects
from ..audit.writer import Writer
from .rows import Caller, Row


class MachinesAudited:
    """A `rows.Told`."""

    def __init__(self, writer: Writer, subjects: Subjects) -> None:
        self._writer = writer
        self._subjects = subjects

    async def asked(self, caller: Caller, row: Row, call: Call) -> None:
        await self._tell(caller, row, call, Decision.ALLOWED)

    async def refused(self, caller: Caller, row: Row, call: Call, error: errors.PilotError) -> None:
        await self._tell(caller, row, call, Decision.FAILED, error)

    async def _tell(
        self, caller: Caller, row: Row, call: Call, decision: Decision, error: errors.PilotError | None = None
    ) -> None:
        assert row.audit is not None
        record = Record(
            row.audit,
            row.operation.id,
            decision,
            time.time_ns() // 1000,
            Who(machine=caller.machine),
            detail=asked.detail(row.audit, call.parameters, b"", await call.body()),
            why="" if error is None else str(error),
            status=0 if error is None else faults.fault_of(error).status,
        )
        subject = await asyncio.to_thread(self._subjects.of_machine, caller.machine)
        self._writer.tell(subject, record, is_rated=True)
