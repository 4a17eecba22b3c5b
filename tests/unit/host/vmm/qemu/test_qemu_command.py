"""QEMU's command line as a value."""

from __future__ import annotations

from dataclasses import replace

from pilot.host.vmm.qemu import command as q

MACHINE = q.Machine(
    directory="/d",
    artefacts=q.Artefacts("/vmlinux", "/initramfs", "/root.erofs"),
    host=q.Host(q.Accelerator.TCG, 2596145),
    memory=q.Memory(512 << 20),
    cpus=2,
)


def _after(command: list[str], option: str) -> list[str]:
    return [command[at + 1] for at, word in enumerate(command) if word == option]


def test_the_translator_is_told_the_clock() -> None:
    (words,) = _after(q.command_line(MACHINE), "-append")
    assert "tsc_early_khz=2596145" in words.split()
    assert "tsc=reliable" in words.split()


def test_a_translated_guest_is_not_told_to_copy_bytes_one_by_one() -> None:
    assert _after(q.command_line(MACHINE), "-cpu") == ["max,-erms"]


def test_kvm_measures_its_own_clock() -> None:
    command = q.command_line(replace(MACHINE, host=q.Host(q.Accelerator.KVM, 1)))
    assert not any("tsc" in word for word in command)
    assert _after(command, "-cpu") == ["host"]


def test_a_template_and_its_clone_have_the_same_devices() -> None:
    template = replace(MACHINE, memory=q.Memory(512 << 20, "/ram"), disk_fd=7, tap_fd=8)
    memory = q.Memory(512 << 20, "/ram", private=True)
    clone = replace(template, directory="/e", memory=memory, disk_fd=9, tap_fd=10, incoming=True)
    assert _after(q.command_line(template), "-device") == _after(q.command_line(clone), "-device")
    assert _after(q.command_line(clone), "-incoming") == ["defer"]
    assert any("share=off" in word for word in _after(q.command_line(clone), "-object"))
    assert any("share=on" in word for word in _after(q.command_line(template), "-object"))


def test_the_disk_is_the_inherited_descriptor() -> None:
    command = q.command_line(replace(MACHINE, disk_fd=9))
    assert _after(command, "-add-fd") == ["fd=9,set=1"]
    assert [word for word in _after(command, "-blockdev") if "/dev/fdset/1" in word and "read-only" not in word]
    assert "-add-fd" not in q.command_line(MACHINE)


def test_the_card_is_the_inherited_tap() -> None:
    command = q.command_line(replace(MACHINE, tap_fd=9))
    assert _after(command, "-netdev") == ["tap,id=net,fd=9,vhost=off"]
    assert [word for word in _after(command, "-device") if word.startswith("virtio-net-device,netdev=net,mac=")]
    assert "-netdev" not in q.command_line(MACHINE)


def test_a_comma_in_a_path_stays_in_the_path() -> None:
    command = q.command_line(replace(MACHINE, directory="/a,b"))
    assert [word for word in _after(command, "-chardev") if "path=/a,,b/console.log,append" in word]


def test_the_root_is_read_only() -> None:
    (root,) = [word for word in _after(q.command_line(MACHINE), "-blockdev") if "/root.erofs" in word]
    assert "read-only=on" in root
