"""volumed or a worker is killed between two lines; the next volumed finds the old state or the new one, no litter."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.volumed import Volumed

from pilot import errors
from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import mounts
from pilot.volume.client import VolumeClient

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns")

SIZE = 4 << 30
A, B, C = VolumeId("a"), VolumeId("b"), VolumeId("c")

# Every point that an operation of volumed passes, and the operation: (point, what to do, on what)
STRUCTURE = [
    ("create: directory is made", "create"), ("create: filled", "create"), ("create: renamed", "create"),
    ("fork: pinned", "fork"), ("create: directory is made", "fork"), ("create: filled", "fork"),
    ("create: renamed", "fork"), ("delete: unlinked", "delete"), ("collect: abandoned", "delete"),
    ("delete: unlinked", "delete fork"), ("collect: renamed", "delete fork"), ("collect: removed", "delete fork"),
]  # fmt: skip


@pytest.fixture
def volumed(tmp_path: Path) -> Iterator[Volumed]:
    daemon = Volumed(tmp_path)
    try:
        yield daemon
    finally:
        daemon.stop()


def _operate(client: VolumeClient, operation: str) -> None:
    match operation:
        case "create":
            client.create(C, SIZE)
        case "fork":
            client.fork(A, C)
        case "delete":
            client.delete(A)
        case "delete fork":
            client.delete(B)


def _content(volumed: Volumed, volume: VolumeId, place: Path) -> str:
    with volumed.mounted(volume, place) as root:
        return (root / "file").read_text()


@pytest.mark.parametrize(("point", "operation"), STRUCTURE)
def test_names_and_disks_after_a_kill(volumed: Volumed, tmp_path: Path, point: str, operation: str) -> None:
    client = volumed.client
    volumed.start()
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "file").write_text("one")
    client.fork(A, B)
    volumed.stop()
    volumed.start(crash_at=point)
    with pytest.raises(errors.PeerError):
        _operate(client, operation)
    volumed.wait_killed()

    volumed.start()
    names = {row.volume for row in client.list()}
    assert {"create": {A, B}, "fork": {A, B}, "delete": {B}, "delete fork": {A}}[operation] == names
    disks = os.listdir(volumed.directory / "volumes" / "disks")
    assert len(disks) == (2 if operation == "delete" else len(names)), "a source lives on while its fork does"
    for volume in names:
        assert _content(volumed, volume, tmp_path / "m") == "one"
    # What was interrupted can be done again, or is done.
    if operation in ("create", "fork"):
        _operate(client, operation)
    for volume in [row.volume for row in client.list()]:
        client.delete(volume)
    assert os.listdir(volumed.directory / "volumes" / "disks") == []


@pytest.mark.parametrize(
    "point", ["attach: opened", "attach: formatted", "attach: mounted", "detach: synced", "detach: loop is free"]
)
def test_attach_and_detach_after_a_kill(volumed: Volumed, tmp_path: Path, point: str) -> None:
    client = volumed.client
    volumed.start()
    client.create(A, SIZE)
    if point.startswith("detach"):
        with volumed.mounted(A, tmp_path / "m") as root:
            (root / "file").write_text("one")
    volumed.stop()
    volumed.start(crash_at=point)
    with pytest.raises(errors.PeerError), volumed.mounted(A, tmp_path / "m"):
        pass
    volumed.wait_killed()

    volumed.start()
    with volumed.mounted(A, tmp_path / "m") as root:
        if point.startswith("detach"):
            assert (root / "file").read_text() == "one"
        (root / "file").write_text("two")
    client.detach(A)
    assert _content(volumed, A, tmp_path / "m") == "two"
    assert volumed.loops() == []


def test_volumed_killed_when_it_has_just_replaced_a_worker(volumed: Volumed, tmp_path: Path) -> None:
    """The new worker already keeps all that the next volumed needs."""
    client = volumed.client
    volumed.start(crash_at="replace: worker is up")
    client.create(A, SIZE)
    place = tmp_path / "m"
    place.mkdir()
    mount_fd = client.attach(A, 0, 1 << 32)
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    try:
        (place / "file").write_text("one")
        os.kill(volumed.worker(A), signal.SIGKILL)
        volumed.wait_killed()
        volumed.start()
        assert client.stat(A).attached == "mount"
        (place / "file").write_text("two")
        assert client.checkpoint(A).clean
    finally:
        mounts.umount(place)
    client.detach(A)
    assert _content(volumed, A, tmp_path / "m") == "two"


@pytest.mark.parametrize("point", ["checkpoint: frozen", "checkpoint: thawed"])
def test_a_checkpoint_is_not_left_frozen_nor_half(volumed: Volumed, tmp_path: Path, point: str) -> None:
    client = volumed.client
    volumed.start(crash_at=point)
    client.create(A, SIZE)
    mount_fd = client.attach(A, 0, 1 << 32)
    place = tmp_path / "m"
    place.mkdir()
    mounts.move_mount(mount_fd, place)
    os.close(mount_fd)
    try:
        (place / "file").write_text("one")
        with pytest.raises(errors.PeerError):
            client.checkpoint(A)
        volumed.wait_killed()
        # A frozen filesystem would hold this for ever.
        subprocess.run(["sh", "-c", f"echo two > {place}/file && sync {place}/file"], check=True, timeout=20)
        volumed.start()
        assert client.checkpoints(A) == []
        assert client.checkpoint(A).id == "v1"
    finally:
        mounts.umount(place)
    client.detach(A)
    assert _content(volumed, A, tmp_path / "m") == "two\n"


@pytest.mark.parametrize(
    "point",
    [
        "commit: data is stable",
        "commit: map is stored",
        "flush: data is stable",
        "flush: in the journal",
        "checkpoint: cut in the worker",
        "write: data is written",
    ],
)
def test_a_worker_killed_inside_loses_nothing(volumed: Volumed, tmp_path: Path, point: str) -> None:
    client = volumed.client
    volumed.start()
    client.create(A, SIZE)
    with volumed.mounted(A, tmp_path / "m") as root:
        (root / "old").write_text("old")
    volumed.stop()
    volumed.start(crash_at=point)
    with volumed.mounted(A, tmp_path / "m") as root:
        for number in range(20):
            with open(root / f"f{number}", "w") as file:
                file.write(f"{number}" * 5000)
                file.flush()
                os.fsync(file.fileno())
        try:
            client.checkpoint(A, checkpoint=CheckpointId("one"))
        except errors.PeerError:
            assert point == "checkpoint: cut in the worker"
            assert client.checkpoints(A) == []
            client.checkpoint(A, checkpoint=CheckpointId("one"))
        assert client.stat(A).worker_restarts == 1
    with volumed.mounted(A, tmp_path / "m") as root:
        assert (root / "old").read_text() == "old"
        for number in range(20):
            assert (root / f"f{number}").read_text() == f"{number}" * 5000
