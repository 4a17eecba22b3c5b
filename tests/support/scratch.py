"""Removes what a test has left in its temporary directory: a run would leave tens of gigabytes of disks and images."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pilot.kernel import mounts


def remove(directory: Path) -> None:
    """Remove it, unless something is mounted below: that would be emptied with it. What cannot be removed stays."""
    if not any(mounts.mounts_below(mounts.read_mountinfo(), os.fspath(directory))):
        shutil.rmtree(directory, ignore_errors=True)
