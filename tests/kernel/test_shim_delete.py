"""`containerd-shim-pilot-v2 delete`, which containerd runs for what a shim that has died has left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pilot.kernel import mounts

pytestmark = pytest.mark.requires("root", "private")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """With a filesystem mounted at `rootfs`, and one beside the bundle at `elsewhere`."""
    made = tmp_path / "bundle"
    for place in (made / "rootfs", tmp_path / "elsewhere"):
        place.mkdir(parents=True)
        mounts.mount("tmpfs", place, "tmpfs")
    return made


def _delete(bundle: Path, root: str) -> None:
    document = {"ociVersion": "1.0.2", "root": {"path": root}, "process": {"args": ["sh"], "cwd": "/"}}
    (bundle / "config.json").write_text(json.dumps(document))
    words = [sys.executable, "-m", "pilot.shim.main", "-namespace", "own", "-id", "web", "-bundle", str(bundle)]
    subprocess.run([*words, "delete"], check=True, stdout=subprocess.DEVNULL)


def test_only_a_snapshot_is_unmounted(bundle: Path) -> None:
    """A root that is not the bundle's own was mounted by somebody else, and stays."""
    elsewhere = bundle.parent / "elsewhere"
    for root in (str(elsewhere), "../elsewhere"):
        _delete(bundle, root)
        assert mounts.is_mount_point(elsewhere)
    _delete(bundle, "rootfs")
    assert not mounts.is_mount_point(bundle / "rootfs")
    mounts.umount(elsewhere)
