"""A volume that grows under a virtual machine which runs: disk, drive and filesystem follow, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import virtual
from tests.support.volumed import Volumed

from pilot.ids import VolumeId

pytestmark = pytest.mark.requires("root", "private", "qemu", "mmdebstrap", "busybox", "fuse")

A = VolumeId("a")
OLD_BYTES, NEW_BYTES = 256 << 20, 1 << 30


@pytest.fixture
def volumed(tmp_path: Path) -> Iterator[Volumed]:
    daemon = Volumed(tmp_path)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def test_a_running_guest_sees_its_disk_grow(volumed: Volumed) -> None:
    client = volumed.client
    with virtual.machines() as machines:
        image = Path(machines.directory, machines.disk("image", "from the disk"))
        client.create(A, OLD_BYTES)
        disk_fd = client.attach_file(A)
        with open(image, "rb") as file:
            while data := file.read(1 << 20):
                os.write(disk_fd, data)
        os.close(disk_fd)
        machine = machines.create("growing")
        machines.start_world(machine, A, client)
        before = _free_kib(machines.run(machine, "df", "-k", "/"))
        machines.run(machine, "sh", "-c", "echo kept > /root/file; sync")

        client.resize(A, NEW_BYTES)
        machines.vmm.grow_disk(machine, NEW_BYTES)
        machines.grow_world(machine)
        assert _free_kib(machines.run(machine, "df", "-k", "/")) > before + (NEW_BYTES - OLD_BYTES) // 1024 * 9 // 10
        machines.run(machine, "sh", "-c", "dd if=/dev/zero of=/root/large bs=1M count=400 && sync")
        assert b"419430400" in machines.run(machine, "sh", "-c", "wc -c /root/large || cat /root/large | wc -c")
        assert b"kept" in machines.run(machine, "cat", "/root/file")
        machines.vmm.destroy(machine)
    client.detach(A)


def _free_kib(output: bytes) -> int:
    """The column "Available" of busybox's df."""
    line = next(line for line in output.decode(errors="replace").splitlines() if line.rstrip().endswith(" /"))
    return int(line.split()[-3])
