"""`pilot ps ID [PS OPTIONS]`: the container's processes, as the host's ps shows them, or as a list of pids."""

from __future__ import annotations

import json

from .. import errors
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "displays the processes running inside a container"
USAGE = "<container-id> [ps options]"
OPTIONS = (Option(("format", "f"), Kind.TEXT, "select one of: table or json (default: table)"),)
ARGUMENTS = (1, None)


def run(context: Context, arguments: Arguments) -> int:
    pids = context.runtime().load(arguments.positional[0]).processes()
    shown = arguments.text("format", "table")
    if shown == "json":
        context.write(json.dumps(pids or None, separators=(",", ":")) + "\n")
    elif shown == "table":
        context.write(_table(pids, arguments.positional[1:] or ("-ef",)))
    else:
        raise UsageError("invalid format option")
    return 0


def _table(pids: list[int], ps_options: tuple[str, ...]) -> str:
    import subprocess  # only for this

    try:
        done = subprocess.run(["ps", *ps_options], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise errors.HostError(f"run ps: {(error.strerror or '').lower()}") from error
    if done.returncode:
        reason = next(iter(done.stderr.split("\n")), "")
        raise errors.HostError(f"run ps {' '.join(ps_options)}: exit status {done.returncode}: {reason}")
    header, *lines = done.stdout.splitlines()
    titles = header.split()
    if "PID" not in titles:
        raise errors.HostError("couldn't find PID field in ps output")
    column = titles.index("PID")
    kept = [line for line in lines if line.split()[column : column + 1] and int(line.split()[column]) in set(pids)]
    return "".join(f"{line}\n" for line in [header, *kept])
