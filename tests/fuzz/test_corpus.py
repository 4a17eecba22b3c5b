"""Every seed, and every input that is kept because it once was a find or leads far, once: a second for all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuzz import native
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_corpus(name: str) -> None:
    target = TARGETS[name]
    kept = sorted((CORPUS / name).glob("*"))
    for data in [b"", *target.seeds, *(path.read_bytes() for path in kept)]:
        target.check(data)


@pytest.mark.parametrize("name", native.SEEDS)
def test_seeds_and_corpus_of_c(name: str, tmp_path: Path) -> None:
    """Under sanitizers."""
    files = sorted((CORPUS / name).glob("*"))
    for number, data in enumerate([b"", *native.SEEDS[name]]):
        files.append(tmp_path / f"seed-{number}")
        files[-1].write_bytes(data)
    environment = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    command = [native.replayer(name, tmp_path), *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
