"""What `make install` puts somewhere, from a copy of this checkout that is gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_IGNORED = (".git", ".venv", ".hypothesis", "build", "dist", "__pycache__", ".*_cache")


def run(*words: object, cwd: Path = ROOT) -> str:
    """What a command says that must succeed; no index is asked."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root"), "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def install(scratch: Path, place: Path) -> Path:
    """`make install PREFIX=place`, without what comes from an index: the site-packages that it has to be in."""
    copy = scratch / "copy"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*_IGNORED))
    words = ("make", "-o", ".stamps/venv", "install", f"PREFIX={place}", "REQUIREMENTS=", f"BIN={ROOT}/.venv/bin")
    run(*words, cwd=copy)
    shutil.rmtree(copy)
    (site,) = place.glob("lib/pilot/lib/python*/site-packages")
    return site
