"""What `make install` puts somewhere, from a copy of this checkout that is gone afterwards."""

from __future__ import annotations

import importlib.metadata
import os
import re
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


def copy_libraries(site: Path) -> None:
    """What comes from an index (packaging/requirements.lock), as our own environment has it."""
    for name in re.findall(r"^([a-z0-9-]+)==", (ROOT / "packaging/requirements.lock").read_text(), re.MULTILINE):
        for file in importlib.metadata.files(name) or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and source.exists():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, site / file)
