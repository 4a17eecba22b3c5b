"""`HostUnderTest` in a process of its own, with few descriptors: for crowds of clients that the test's process is.

python -m tests.support.host_child DIRECTORY DESCRIPTORS     it ends with its standard input
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Iterator

from pilot.host.services.wanted import NewSprite
from tests.support.host import WAIT_S, HostUnderTest


@dataclasses.dataclass(frozen=True)
class HostChild:
    """Where it is. `dial`: where a machine is to listen, of the one sprite that there is, `web`."""

    url: str
    token: str
    dial: str
    pid: int

    def descriptors(self) -> int:
        """As many as it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextlib.contextmanager
def host_child(directory: pathlib.Path, descriptors: int) -> Iterator[HostChild]:
    """One, for as long as the block; it has ended well."""
    command = [sys.executable, "-m", "tests.support.host_child", str(directory), str(descriptors)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield HostChild(pid=process.pid, **json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            assert process.wait(WAIT_S) == 0


def main(directory: str, descriptors: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
    host = HostUnderTest(pathlib.Path(directory))
    outcome = host.sprites.create(host.organisation.id, NewSprite("web")).result(WAIT_S)
    assert outcome.done, outcome.error
    dial = host.sprites.dial_path(host.sprites.find(host.organisation.id, "web"))
    print(json.dumps({"url": host.url, "token": host.token, "dial": dial}), flush=True)
    sys.stdin.read()
    host.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
