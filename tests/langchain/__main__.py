"""`make langchain`: a pilotd, and langchain's standard tests of a sandbox on it.

python -m tests.support.private -- python -m tests.langchain [arguments of pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.isolation import ISOLATION
from tests.support.pilotd import serving

PYTHON = Path(sys.prefix) / "langchain/bin/python"
_SUITE = (
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "-o",
    "addopts=",
    "-o",
    "filterwarnings=",
    "-c",
    os.devnull,
    "--noconftest",
    "-o",
    "asyncio_mode=auto",
)


def main() -> int:
    with serving(isolation=ISOLATION) as pilotd:
        given = {"PILOT_URL": pilotd.url, "PILOT_TOKEN": pilotd.token(), "PYTHONPATH": os.getcwd()}
        suite = [str(PYTHON), *_SUITE, "--rootdir", "tests/langchain", "tests/langchain/standard.py", *sys.argv[1:]]
        return subprocess.run(suite, env=os.environ | given, check=False, timeout=3000).returncode


if __name__ == "__main__":
    sys.exit(main())
