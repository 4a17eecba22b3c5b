"""`make contract`: schemathesis on the OpenAPI documents, against a pilotd with a sprite and an app with a Machine, and
that sprite's agent.

    python -m tests.support.private -- python -m tests.contract [--examples N] [--seed N] [--report FILE] [DOCUMENT ...]

The exit status is 1 when an answer was not what the document says, or a request that it allows was refused.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from pilot.host.api.machines.calls import DOCUMENT
from tests.contract.bridge import bridged
from tests.support import flyapi, images
from tests.support.pilotd import Pilotd

HERE = Path(__file__).parent
PROGRAM = Path(sys.prefix) / "contract/bin/schemathesis"
BEGIN, END = "<!-- make contract: begin -->", "<!-- make contract: end -->"
_LIMIT_S = 3000


class Seen(NamedTuple):
    """One document's run."""

    document: str
    operations: str
    cases: str
    seconds: float
    found: str

    def row(self) -> str:
        words = (f"`{place_of(self.document)}`", self.operations, self.cases, f"{self.seconds:.0f}")
        return f"| {' | '.join((*words, self.found or 'nothing'))} |"


def place_of(document: str) -> str:
    """Where it is: in the tree, or of the Machines API at the server that it is of."""
    return DOCUMENT if document == "machines" else f"api/{document}.openapi.yaml"


@contextlib.contextmanager
def _machines(pilotd: Pilotd) -> Iterator[str]:
    """With an app `web`, in which a Machine runs."""
    forever = {"Cmd": ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        layout = images.busybox(Path(directory), forever)
        with images.serve(layout) as served, flyapi.app(pilotd, "web") as fly:
            os.environ["CONTRACT_MACHINE"] = fly.create({"image": f"{served.domain}/box:1"})["id"]
            yield pilotd.url


@contextlib.contextmanager
def _sprites(pilotd: Pilotd) -> Iterator[str]:
    yield pilotd.url


@contextlib.contextmanager
def _pilot(pilotd: Pilotd) -> Iterator[str]:
    (path,) = (pilotd.state / "machines").glob("*/dial.sock")
    with bridged(str(path)) as url:
        yield url


SERVED: dict[str, Callable[[Pilotd], AbstractContextManager[str]]] = {
    "pilot": _pilot, "sprites": _sprites, "machines": _machines,
}  # fmt: skip


def run(document: str, url: str, token: str, options: argparse.Namespace) -> Seen:
    """All operations that its configuration leaves in."""
    location = place_of(document)
    command = [
        str(PROGRAM), "--config-file", str(HERE / f"{document}.toml"), "--no-color", "run",
        url + location if location == DOCUMENT else location, "--url", url,
        "--max-examples", str(options.examples), "--seed", str(options.seed),
    ]  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, "CONTRACT_TOKEN": token, "COLUMNS": "120"}
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, timeout=_LIMIT_S, check=False
        ).returncode
        output.seek(0)
        text = output.read()
    print(text, flush=True)
    operations, cases = re.search(r"Tested: (\d+)", text), re.search(r"(\d+) generated", text)
    found = "" if status == 0 else " ".join(re.findall(r"^ *❌ .*$", text, re.MULTILINE)) or f"status {status}"
    return Seen(
        document, operations[1] if operations else "?", cases[1] if cases else "?", time.monotonic() - began, found
    )


def left_out(document: str) -> Iterator[str]:
    """A line for each exception that its configuration makes, with the reason that stands above it."""
    text = (HERE / f"{document}.toml").read_text()
    reasons = re.findall(r"^\[\[operations\]\]\n# (.+)$", text, re.MULTILINE)
    for row, why in zip(tomllib.loads(text)["operations"], reasons, strict=True):
        which = next(value for key, value in row.items() if key.startswith("include-"))
        what = "asked" if not row.get("enabled", True) else ", ".join(f"`{check}`" for check in row["checks"])
        yield f"| {document} | `{_shown(which)}` | {what} | {why} |"


def _shown(pattern: str) -> str:
    """As a cell of a table has it: without its anchors, and the parentheses around all of it."""
    inner = pattern.removeprefix("^").removesuffix("$")
    whole = re.fullmatch(r"\(([^()]*)\)", inner)
    return (whole[1] if whole else inner).replace("|", " ")


def _write(page: Path, rows: list[Seen], options: argparse.Namespace) -> None:
    head = ["| document | operations | requests | seconds | mismatches |", "|---|---|---|---|---|"]
    said = f"Seen on {time.strftime('%Y-%m-%d', time.gmtime())}, `--examples {options.examples} --seed {options.seed}`:"
    out = [
        "| document | operations | are not | because |",
        "|---|---|---|---|",
        *(line for row in rows for line in left_out(row.document)),
    ]
    text = "\n".join([said, "", *head, *(row.row() for row in rows), "", *out])
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="a page with the marks of this table")
    parser.add_argument("documents", nargs="*", default=list(SERVED))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="contract-", dir="/var/tmp") as directory:
        pilotd = Pilotd(Path(directory) / "s")
        pilotd.stop_machines_on_exit = True
        pilotd.start()
        try:
            with pilotd.client() as client:
                client.create_sprite("web")
            for document in options.documents:
                with SERVED[document](pilotd) as url:
                    rows.append(run(document, url, pilotd.token(), options))
        finally:
            pilotd.stop()
    if options.report:
        _write(options.report, rows, options)
    return 1 if any(row.found for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
