"""PostgreSQL on the volume under pgbench: no failed transaction while one process at a time is killed, and none lost,
also when worker, keeper and volumed go at once and the server with them.

Afterwards: rows of the history against what pgbench was told, sums of the four tables, pg_amcheck of heap and indexes
(`--heapallindexed --parent-check`), and the checksums of every page.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.volumed import children, is_alive
from tests.workloads.bed import Bed

USER = "postgres"
SCALE, CLIENTS = 3, 4
START_S, CALL_S = 120.0, 600.0
_SOCKETS = Path("/run/pilot-pgbench")
_SUMS = """SELECT count(*), (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
 (SELECT sum(tbalance) FROM pgbench_tellers), coalesce(sum(delta), 0) FROM pgbench_history"""


def _program(name: str) -> str:
    """Debian keeps the server's programs out of PATH, by version."""
    return str(max(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))


def _run(name: str, *words: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PGHOST": str(_SOCKETS), "PGUSER": USER, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [_program(name), *words], user=USER, group=USER, env=environment, cwd=_SOCKETS, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CALL_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name} {' '.join(words)}: {done.returncode}\n{done.stdout[-3000:]}"
    return done.stdout


class Server:
    """One server on `data`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        options = {"listen_addresses": "", "unix_socket_directories": str(_SOCKETS), "shared_buffers": "32MB",
                   "logging_collector": "off"}  # fmt: skip
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        self._log = open(_SOCKETS / "log", "ab")  # noqa: SIM115 - closed with the server
        self.process = subprocess.Popen(
            [_program("postgres"), "-D", str(data), *words], user=USER, group=USER, cwd=_SOCKETS,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, f"the server ended:\n{self.said()}"
            assert time.monotonic() < deadline, f"the server does not answer:\n{self.said()}"
            time.sleep(0.1)

    def said(self) -> str:
        return (_SOCKETS / "log").read_text(errors="replace")[-3000:]

    def _answers(self) -> bool:
        command = [_program("pg_isready"), "-h", str(_SOCKETS), "-q"]
        return subprocess.run(command, timeout=30, check=False).returncode == 0

    def stop(self) -> None:
        """As an operator does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(CALL_S) == 0, self.said()
        self._log.close()

    def kill(self) -> None:
        """All of its processes; whatever waits for the disk ends when that has gone."""
        pids = [*children(self.process.pid), self.process.pid]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        deadline = time.monotonic() + 60
        while any(map(is_alive, pids)):
            assert time.monotonic() < deadline, "processes of the server do not end"
            time.sleep(0.05)
        self._log.close()


@contextlib.contextmanager
def _sockets() -> Iterator[None]:
    _SOCKETS.mkdir()
    os.chown(_SOCKETS, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
    try:
        yield
    finally:
        shutil.rmtree(_SOCKETS)


def pgbench(bed: Bed, seconds: int) -> str:
    """See the module."""
    data = bed.place / "postgres"
    with _sockets():
        with bed.mounted():
            data.mkdir()
            os.chown(data, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
            _run("initdb", "-D", str(data), "-k", "-A", "trust", "-U", USER)
            server = Server(data)
            _run("pgbench", "-i", "-q", "-s", str(SCALE))
            with bed.kills():
                processed = _bench(seconds)
            _compare(processed, exactly=True)
            server.stop()
        bed.check()
        acknowledged = processed + _until_all_fall(bed, data, seconds)
        bed.check()
        with bed.mounted():
            server = Server(data)
            found = _compare(acknowledged, exactly=False)
            server.stop()
            _run("pg_checksums", "--check", "-D", str(data))
    return f"{acknowledged} transactions acknowledged, {found} there, one server killed with its disk"


def _bench(seconds: int) -> int:
    """How many transactions were processed; none may have failed."""
    said = _run("pgbench", "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds))
    failed = re.search(r"number of failed transactions: (\d+)", said)
    assert failed is not None, said
    assert failed[1] == "0", said
    processed = re.search(r"actually processed: (\d+)", said)
    assert processed is not None, said
    return int(processed[1])


def _until_all_fall(bed: Bed, data: Path, seconds: int) -> int:
    """Under load worker, keeper and volumed go, and the server; how many transactions were acknowledged until then."""
    with bed.mounted():
        server = Server(data)
        environment = {"PATH": os.environ["PATH"], "PGHOST": str(_SOCKETS), "PGUSER": USER}
        words = ["-n", "-c", str(CLIENTS), "-j", "2", "-T", "3600", "-P", "1", "--log", "--log-prefix=transactions"]
        load = subprocess.Popen(
            [_program("pgbench"), *words], user=USER, group=USER, env=environment, cwd=_SOCKETS,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(seconds / 4)
        bed.fall()
        load.terminate()
        load.wait(60)
        server.kill()
    # A line each; those that pgbench had not written out yet are not counted.
    return sum(path.read_text().count("\n") for path in _SOCKETS.glob("transactions*"))


def _compare(acknowledged: int, *, exactly: bool) -> int:
    """AssertionError for lost rows, sums that differ, or what pg_amcheck finds. How many rows are there."""
    count, *sums = _run("psql", "-d", USER, "-A", "-t", "-F", " ", "-c", _SUMS).split()
    assert int(count) == acknowledged if exactly else int(count) >= acknowledged, (count, acknowledged)
    assert len(set(sums)) == 1, sums
    _run("pg_amcheck", "-d", USER, "--install-missing", "--heapallindexed", "--parent-check")
    return int(count)
