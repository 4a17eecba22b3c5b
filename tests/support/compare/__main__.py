"""Every case under every runtime; what each saw, and what differs (`make compare`).

    python -m tests.support.compare OBSERVATIONS.json [CASE ...]

The file is kept beside the page: {case: {runtime: {observation: value}}}. The status is 1 when something differs that
was not meant to.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from . import judge, life
from .case import Json
from .cases import CASES


def main(output: str, *names: str) -> int:
    with tempfile.TemporaryDirectory() as directory, life.holder() as holder_pid:
        Path(directory).chmod(0o755)
        cases = [CASES[name] for name in names] if names else list(CASES.values())
        seen = {}
        for case in cases:
            seen[case.name] = life.observe_all(case, life.RUNTIMES, Path(directory), holder_pid)
            _say(case.name, seen[case.name])
    lines = [
        line for case in cases for line in judge.differences(case, seen[case.name]["pilot"], seen[case.name][case.like])
    ]
    Path(output).write_text(_text(seen))
    observations = sum(len(by["pilot"]) for by in seen.values())
    print(
        "\n".join(
            [*lines, f"{len(cases)} cases, {observations} observations, {len(lines)} differ and were not meant to"]
        )
    )
    return 1 if lines else 0


def _text(seen: dict[str, dict[str, dict[str, Json]]]) -> str:
    """JSON with a line for each case."""
    return (
        "{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(seen[name], sort_keys=True)}" for name in sorted(seen))
        + "\n}\n"
    )


def _say(name: str, seen: dict[str, dict[str, Json]]) -> None:
    waited = [f"{runtime} {by['waited']}" for runtime, by in seen.items() if "waited" in by]
    print(f"{name}: {sum(map(len, seen.values()))} observations", *waited, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
