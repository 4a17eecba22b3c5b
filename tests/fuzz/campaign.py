"""`make fuzz`: each target for a while, in Python (`drive`) and in C (`native`), and a table of what was seen.

    python -m tests.fuzz.campaign [--seconds N] [--jobs N] [--report FILE] [TARGET ...]

What a run found on its way is kept in `.fuzz/<target>` and is where the next one begins, beside the seeds and
`tests/fuzz/corpus`. An input that is a find is left in `.fuzz/finds`: once the fault is mended it goes into the corpus.
The exit status is 1 when there was one.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.fuzz import native
from tests.fuzz.targets import TARGETS

HERE = pathlib.Path(__file__).parent
LIVE = pathlib.Path(".fuzz")
FINDS = LIVE / "finds"
BEGIN, END = "<!-- make fuzz: begin -->", "<!-- make fuzz: end -->"
_RSS_MB, _ONE_INPUT_S, _STARTING_S = 2048, 20, 120
_COVERED = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_EXECUTED = re.compile(r"(?:stat::number_of_executed_units:\s+|^#|Done )(\d+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Seen:
    """One target's run. `covered`: edges of ours (and of the libraries that `drive` names), `found`: how it ended."""

    name: str
    language: str
    seconds: float
    executions: int
    covered: int
    corpus: int
    found: str = ""

    def row(self) -> str:
        words = (f"`{self.name}`", self.language, f"{self.seconds:.0f}", f"{self.executions:,}".replace(",", " "))
        return f"| {' | '.join((*words, str(self.covered), str(self.corpus), self.found or 'nothing'))} |"


def run(name: str, seconds: int) -> Seen:
    """For so long, or until something is found."""
    corpus = LIVE / name
    corpus.mkdir(parents=True, exist_ok=True)
    FINDS.mkdir(exist_ok=True)
    kept = HERE / "corpus" / name
    seeds = TARGETS[name].seeds if name in TARGETS else native.SEEDS[name]
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.drive", name] if name in TARGETS else [str(native.built(name, LIVE))]
    options = [
        f"-max_total_time={seconds}", f"-rss_limit_mb={_RSS_MB}", f"-timeout={_ONE_INPUT_S}", "-print_final_stats=1",
        f"-artifact_prefix={FINDS}/{name}-", str(corpus), *([str(kept)] if kept.is_dir() else []),
    ]  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        timeout=seconds + _STARTING_S, check=False,
    )  # fmt: skip
    said = done.stdout
    covered = _COVERED.findall(said) or [("0", "0", "0")]
    executed = max(map(int, _EXECUTED.findall(said)), default=0)
    found = "" if done.returncode == 0 else _told(said)
    if found:
        print(f"--- {name}\n{said[-6000:]}", file=sys.stderr, flush=True)
    language = "Python" if name in TARGETS else "C"
    return Seen(name, language, time.monotonic() - began, executed, int(covered[-1][0]), int(covered[-1][2]), found)


_NAMED = re.compile(r"^(?:[\w.]+(?:Error|Exception|Damaged|Closed)\b.*|.*(?:ERROR: |runtime error: ).*)$", re.MULTILINE)


def _told(output: str) -> str:
    """The line that says what it was."""
    lines = _NAMED.findall(output)
    return lines[0][:100].replace("|", "/") if lines else "ended by itself"


def table(runs: Sequence[Seen]) -> str:
    """As it stands in the page."""
    head = ["| target | | seconds | executions | covered | corpus | found |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *(seen.row() for seen in runs)])


def write(page: pathlib.Path, text: str) -> None:
    """Between the page's marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", type=pathlib.Path, help="a page with the marks of this table")
    parser.add_argument("targets", nargs="*", default=[*TARGETS, *native.SEEDS])
    options = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(options.jobs, "fuzz") as pool:
        runs = list(pool.map(lambda name: run(name, options.seconds), options.targets))
    print(table(runs))
    if options.report:
        write(options.report, f"Seen on {time.strftime('%Y-%m-%d', time.gmtime())}:\n\n{table(runs)}")
    return 1 if any(seen.found for seen in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
