"""A pytest plugin for tests inside a virtual machine: each result is a line of JSON on the virtio port `tests`.

    {"test": node id, "outcome": "passed" | "failed" | "skipped", "seconds": n, "text": why}

The last line, {"status": exit status of pytest}, is written by who started pytest (`guestvm`): it comes, whatever
happens to pytest.
"""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path

import pytest

_seconds: dict[str, float] = {}


def open_port(name: str = "tests") -> int:
    """The port by its name: there is no udev that would make a link."""
    for file in glob.glob("/sys/class/virtio-ports/*/name"):
        if Path(file).read_text().strip() == name:
            return os.open(f"/dev/{Path(file).parent.name}", os.O_WRONLY | os.O_CLOEXEC)
    raise FileNotFoundError(f"no virtio port {name}")


def _tell(row: dict[str, object]) -> None:
    data = json.dumps(row).encode() + b"\n"
    port_fd = open_port()
    try:
        while data:
            data = data[os.write(port_fd, data) :]
    finally:
        os.close(port_fd)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test is told of once: when its call is over, or earlier or later when setup or teardown are what failed."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration
    if report.when == "call" or not report.passed:
        _tell({
            "test": report.nodeid,
            "outcome": report.outcome,
            "seconds": round(_seconds[report.nodeid], 2),
            "text": str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else report.longreprtext,
        })  # fmt: skip


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported is a failed test."""
    if report.failed:
        _tell({"test": report.nodeid, "outcome": "failed", "seconds": 0.0, "text": report.longreprtext})


if __name__ == "__main__":
    import sys

    _tell({"status": int(sys.argv[1])})
