"""The C parts under AddressSanitizer and UndefinedBehaviorSanitizer, with the tests that feed them damaged input.

    python -m tests.support.sanitized [PYTEST ARG...]

A copy of the package is made in a temporary directory, its binaries built anew with sanitizers, and pytest run on it:

    pilot.kernel._launch     address + undefined          mutated Programs
    pilot-launch (inside)    undefined, which traps       (static and without an allocator: there is no heap to watch)
    pilot.volume._lookaside  address + undefined          many threads, damaged requests

pilot-init has a sanitized build in its own tests (tests/kernel/test_init.py).

A report ends its process with a status of its own, so the test that caused it fails. The exit status is pytest's.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"]
TRAP = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
STAGE_PARTS = ("stage", "calls", "channel", "copy", "paths", "process", "program", "start")
TESTS = ("tests/unit/kernel/test_launch_decoder.py", "tests/unit/volume/serving/test_serve.py")


def build(package: Path, scratch: Path) -> None:
    """Replace the binaries of `package`, a copy of src/pilot, by sanitized ones."""
    stage = scratch / "pilot-launch"
    machine = subprocess.run(["gcc", "-dumpmachine"], check=True, capture_output=True, text=True).stdout.strip()
    headers = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{machine}"]
    parts = [str(NATIVE / "launch" / f"{name}.c") for name in STAGE_PARTS]
    _run([str(NATIVE / "static-cc"), "-Os", "-D_GNU_SOURCE", *headers, *TRAP, "-o", str(stage), *parts])
    launch = sorted(set(glob.glob(str(NATIVE / "launch/*.c"))) - {str(NATIVE / "launch/stage.c")})
    _extension(package / "kernel/_launch.abi3.so", launch, [f'-DSTAGE="{stage}"'])
    _extension(package / "volume/_lookaside.abi3.so", sorted(glob.glob(str(NATIVE / "volume/*.c"))), [])


def _extension(path: Path, sources: list[str], flags: list[str]) -> None:
    include = f"-I{sysconfig.get_path('include')}"
    common = ["-shared", "-fPIC", "-D_GNU_SOURCE", "-DPy_LIMITED_API=0x030b0000", include]
    _run(["gcc", *SANITIZE, *common, *flags, *sources, "-o", str(path)])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=300)


def _library(name: str) -> str:
    found = subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def environment(directory: Path) -> dict[str, str]:
    """Python itself is not sanitized, so the runtimes are loaded first; it leaks on purpose when it ends."""
    return os.environ | {
        "PYTHONPATH": str(directory),
        "LD_PRELOAD": f"{_library('libasan.so')} {_library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    }


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="pilot-sanitized-") as name:
        directory = Path(name)
        shutil.copytree(ROOT / "src/pilot", directory / "pilot", ignore=shutil.ignore_patterns("__pycache__"))
        build(directory / "pilot", directory)
        command = [sys.executable, "-m", "tests.support.private", "--", sys.executable, "-m", "pytest", "-q"]
        return subprocess.run(
            [*command, *(arguments or TESTS)], cwd=ROOT, env=environment(directory), check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
