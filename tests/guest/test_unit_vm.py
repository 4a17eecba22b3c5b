"""pilotd's unit under a real systemd in a virtual machine: started, killed, stopped (`tests/kernel/inside_unit.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import guestimage, guestvm, installed

from pilot import image

pytestmark = [
    pytest.mark.requires("root", "private", "qemu", "mkfs.erofs", "mmdebstrap", "guest-kernel", "musl-gcc", "vm-tests"),
    pytest.mark.timeout(3600),
]
_TESTS = "tests/kernel/inside_unit.py"


def test_the_unit_in_a_virtual_machine(tmp_path: Path) -> None:
    place = tmp_path / "installed"
    place.mkdir()
    (tmp_path / "checkout").mkdir()
    installed.copy_libraries(installed.install(tmp_path / "checkout", place))
    (tmp_path / "prefix").write_text(str(place))
    beside = {
        "installed": place,
        "prefix": tmp_path / "prefix",
        "world.tar": Path(image.ensure_world_tar(variant="minimal")),
    }
    machine = guestvm.Machine(guestimage.ensure_host_disk, 4096, beside, {"guest": image.ensure_guest_disk()})
    guestvm.run(tmp_path, guestvm.PidOne.SYSTEMD, [_TESTS], modules=("loop",), timeout_s=3000, machine=machine).check(
        _TESTS
    )
