"""What tells a copied disk from the one that it is a copy of."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Iterator, Sequence

import pytest

from pilot import errors
from pilot.agent import copied, rootfs
from pilot.spec.process import Process
from tests.support.fake_machine import FakeContainer, OwnExits

OLD = "0123456789abcdef0123456789abcdef\n"
pytestmark = pytest.mark.requires("root")


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("etc/ssh", "usr/bin", "var/lib/dbus", "var/lib/systemd"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "usr/bin/ssh-keygen").touch()
    return tmp_path


class World:
    """A world whose ssh-keygen does as it is told to by the test."""

    def __init__(self, disk: pathlib.Path, *, fails: bool = False) -> None:
        self._disk = disk
        self._fails = fails
        self.asked: list[list[str]] = []

    def run(self, words: Sequence[str], deadline: float) -> None:
        self.asked.append(list(words))
        path = self._disk / words[-1].lstrip("/")
        if self._fails:
            path.write_text("half of one")
            raise errors.HostError("ssh-keygen: exit code 1")
        path.write_text(f"new {words[3]}")
        path.with_name(f"{path.name}.pub").write_text(f"new {words[3]} public")


def renew(disk: pathlib.Path, world: World) -> None:
    with rootfs.Root.open(os.fspath(disk)) as root:
        copied.renew(root, world)


def files_of(directory: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_a_machine_id_is_another_one_for_dbus_as_well(disk: pathlib.Path) -> None:
    (disk / "etc/machine-id").write_text(OLD)
    (disk / "etc/machine-id").chmod(0o444)
    (disk / "var/lib/dbus/machine-id").write_text(OLD)
    (disk / "var/lib/systemd/random-seed").write_bytes(b"seed")
    renew(disk, World(disk))
    new = (disk / "etc/machine-id").read_text()
    assert new != OLD
    assert len(new) == len(OLD)
    assert int(new, 16)
    assert (disk / "var/lib/dbus/machine-id").read_text() == new
    assert not (disk / "var/lib/systemd/random-seed").exists()


@pytest.mark.parametrize("text", ["", "uninitialized\n"])
def test_an_id_that_is_still_to_be_made_is_left_to_whoever_makes_it(disk: pathlib.Path, text: str) -> None:
    (disk / "etc/machine-id").write_text(text)
    (disk / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    renew(disk, World(disk))
    assert (disk / "etc/machine-id").read_text() == text
    assert (disk / "var/lib/dbus/machine-id").is_symlink()


def test_a_disk_without_any_of_it_gets_none(disk: pathlib.Path) -> None:
    renew(disk, World(disk))
    assert not (disk / "etc/machine-id").exists()
    assert files_of(disk / "etc/ssh") == {}


def test_each_host_key_is_another_of_its_kind(disk: pathlib.Path) -> None:
    for kind in ("ed25519", "rsa"):
        (disk / f"etc/ssh/ssh_host_{kind}_key").write_text("old")
        (disk / f"etc/ssh/ssh_host_{kind}_key.pub").write_text("old public")
    (disk / "etc/ssh/sshd_config").write_text("as it was")
    (disk / "etc/ssh/ssh_host_rsa_key.pilot-new").write_text("of a start that came to no end")
    renew(disk, World(disk))
    assert files_of(disk / "etc/ssh") == {
        "sshd_config": "as it was",
        "ssh_host_ed25519_key": "new ed25519", "ssh_host_ed25519_key.pub": "new ed25519 public",
        "ssh_host_rsa_key": "new rsa", "ssh_host_rsa_key.pub": "new rsa public",
    }  # fmt: skip


def test_a_key_that_cannot_be_made_anew_is_not_shared(disk: pathlib.Path) -> None:
    (disk / "etc/ssh/ssh_host_rsa_key").write_text("old")
    (disk / "etc/ssh/ssh_host_rsa_key.pub").write_text("old public")
    renew(disk, World(disk, fails=True))
    assert files_of(disk / "etc/ssh") == {}


def test_what_somebody_has_put_there_stays(disk: pathlib.Path) -> None:
    keys = disk / "etc/ssh"
    (keys / "ssh_host_rsa_key").write_text("with a certificate")
    (keys / "ssh_host_rsa_key-cert.pub").write_text("the certificate")
    (keys / "ssh_host_ed25519_key").symlink_to("/srv/key")
    (keys / "ssh_host_dsa_key").write_text("of a kind that is not made any more")
    world = World(disk)
    renew(disk, world)
    assert world.asked == []
    assert (keys / "ssh_host_rsa_key").read_text() == "with a certificate"


def test_a_disk_may_say_that_it_stays_who_it_was(disk: pathlib.Path) -> None:
    (disk / "etc/machine-id").write_text(OLD)
    (disk / "etc/ssh/ssh_host_rsa_key").write_text("old")
    (disk / "etc/pilot").mkdir()
    (disk / "etc/pilot/keep-identity").touch()
    renew(disk, World(disk))
    assert (disk / "etc/machine-id").read_text() == OLD
    assert files_of(disk / "etc/ssh") == {"ssh_host_rsa_key": "old"}


def test_a_disk_that_is_odd_is_changed_as_far_as_can_be(disk: pathlib.Path) -> None:
    """And whoever has it for a world starts: links in a circle, and a pipe where a directory is expected."""
    (disk / "etc/machine-id").write_text(OLD)
    for name in ("var/lib/dbus", "var/lib/systemd", "etc/ssh"):
        (disk / name).rmdir()
    (disk / "var/lib/dbus").symlink_to("dbus")
    (disk / "var/lib/systemd").symlink_to("/var/lib/systemd")
    os.mkfifo(disk / "etc/ssh")
    renew(disk, World(disk))
    assert (disk / "etc/machine-id").read_text() != OLD
    assert (disk / "etc/ssh").is_fifo()


def test_a_link_leads_nowhere_but_into_the_disk(disk: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "machine-id").write_text(OLD)
    (disk / "var/lib/dbus").rmdir()
    (disk / "var/lib/dbus").symlink_to(outside)
    (disk / "etc/machine-id").symlink_to(outside / "machine-id")
    renew(disk, World(disk))
    assert (outside / "machine-id").read_text() == OLD


def test_keys_of_a_disk_that_could_not_have_made_them_are_left(disk: pathlib.Path) -> None:
    (disk / "usr/bin/ssh-keygen").unlink()
    (disk / "etc/ssh/ssh_host_rsa_key").write_text("brought")
    renew(disk, World(disk))
    assert files_of(disk / "etc/ssh") == {"ssh_host_rsa_key": "brought"}


@pytest.fixture
def program() -> Iterator[copied.InContainer]:
    container = FakeContainer("/")
    yield copied.InContainer(container, Process(args=("none",), cwd="/", env=("PATH=/usr/bin:/bin",)), OwnExits())
    container.delete()


def test_a_program_of_the_world_ends_well_or_it_is_said_how(program: copied.InContainer) -> None:
    program.run(["true"], time.monotonic() + 60)
    with pytest.raises(errors.HostError, match="sh -c exit 3: exit code 3"):
        program.run(["sh", "-c", "exit 3"], time.monotonic() + 60)


def test_one_that_does_not_end_is_ended(program: copied.InContainer) -> None:
    with pytest.raises(errors.HostError, match="not ended in time"):
        program.run(["sleep", "1000"], time.monotonic())
