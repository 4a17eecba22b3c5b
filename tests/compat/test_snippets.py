"""Every command of README and docs, run as it stands: blocks marked `sh`, `sh server` and `python`, file by file.

A file's blocks are one session, in the repository's root, on a /var/lib/pilot and a port of the test's own (private
mount and network namespaces). `sh server` is what a reader starts in another terminal; the next block begins when it
has said that it is ready. `make` is not run again inside of `make test`: its targets are looked up (make -n).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.support.pilotd import READY_TIMEOUT_S

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("native/**/*.md")]
    if re.search(r"^```(sh|python)\b", path.read_text(), re.MULTILINE)
)
BLOCK = re.compile(r"^```(?P<kind>sh|sh server|python|[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

PROLOGUE = """
set -euo pipefail
make() { command make -n "$@" >/dev/null; }
trap 'for job in $(jobs -p); do kill -TERM $job; done; wait' EXIT
"""
SERVER = """
exec 9< <(exec {text} 2>>"$HOME/server.log")
server=$!
while IFS= read -r -t {timeout} line <&9; do case "$line" in *ready*) break ;; esac; done
case "${{line-}}" in *ready*) ;; *) cat "$HOME/server.log" >&2; exit 1 ;; esac
trap 'kill -TERM $server; while kill -0 $server 2>/dev/null; do sleep 0.1; done' EXIT
"""
LOG_CHARACTERS = 5000
PYTHON = ".venv/bin/python - <<'END-OF-SNIPPET'\n{text}END-OF-SNIPPET\n"

pytestmark = pytest.mark.requires("root", "private", "fuse", "loop", "userns", "space")


def session(page: str) -> str:
    """The page's blocks as one script."""
    script = PROLOGUE
    for block in BLOCK.finditer(page):
        match block["kind"]:
            case "sh":
                script += block["text"]
            case "sh server":
                command = f"{block['text'].strip()} --stop-machines-on-exit"
                script += SERVER.format(text=command, timeout=READY_TIMEOUT_S)
            case "python":
                script += PYTHON.format(text=block["text"])
    return script


@pytest.fixture
def own_places() -> Iterator[None]:
    """Where a reader would put things is empty here, and seen by nobody else."""
    os.makedirs("/var/lib/pilot", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "pilot-snippets", "/var/lib/pilot"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", "/var/lib/pilot"], check=True)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_works(page: pathlib.Path, own_places: None) -> None:
    environment = os.environ | {"HOME": "/var/lib/pilot"}
    process = subprocess.Popen(
        ["bash", "-c", session(page.read_text())],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=800)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said + _logs("/var/lib/pilot")


def _logs(place: str) -> str:
    """The ends of all that was logged there."""
    found = sorted(path for path in pathlib.Path(place).rglob("*.log") if path.is_file())
    return "".join(f"\n{path}:\n{path.read_text(errors='replace')[-LOG_CHARACTERS:]}" for path in found)


def test_the_pages_that_a_newcomer_reads_are_among_them() -> None:
    names = {str(path.relative_to(ROOT)) for path in PAGES}
    assert {"README.md", "docs/tutorial/first-sprite.md"} <= names
