"""One sprite is flooded, filled, killed and restored; another writes beside it, and must see no error and lose no row.

    python -m tests.support.private -- python -m tests.faults.neighbour [--seconds N] [--seed N] [--hold PATH]

    attacks.Attacker ── one attack after the other ──► mallory      victim.Victim ── rows, blocks, exec ──► alice
                              both on one pilotd, one volumed, one keeper

How long alice waited is told by attack (p50, p99, worst), not judged: machines differ. The attacks come in an order
drawn anew for each round. Prints one JSON object; the exit status is 1 when anything was found wrong.
While the file `--hold` exists nothing is attacked or written, and the clock stands still.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from tests.faults import attacks, victim
from tests.support import leftovers
from tests.support.pilotd import Pilotd


def main() -> int:
    """One run; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hold", type=pathlib.Path, help="a file; see the module")
    parser.add_argument("--directory", default="/var/tmp", help="where the state directory is made")
    parser.add_argument("--keep", action="store_true", help="leave the state directory and pilotd's log")
    options = parser.parse_args()
    before = leftovers.observe()
    with contextlib.ExitStack() as stack:
        directory = tempfile.mkdtemp(prefix="neighbour-", dir=options.directory)
        if not options.keep:
            stack.callback(subprocess.run, ["rm", "-rf", "--one-file-system", directory], check=True)
        result = _run(options, pathlib.Path(directory))
        if result["wrong"] and options.keep:
            print(f"kept: {directory}", file=sys.stderr)
    result["left"] = leftovers.left_since(before)
    print(json.dumps(result, indent=1))
    return 1 if result["wrong"] or result["left"] else 0


def _run(options: argparse.Namespace, directory: pathlib.Path) -> dict[str, object]:
    pilotd = Pilotd(directory / "s")
    pilotd.stop_machines_on_exit = True
    pilotd.start()
    alice = victim.Victim(pilotd)
    mallory = attacks.Attacker(pilotd, options.seed)
    mallory.create()
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    alice.begin()
    done = _attack(alice, mallory, options.seconds, options.hold)
    alice.end()
    leftovers.note()
    for name in (attacks.NAME, victim.NAME):
        mallory.http.delete(f"/v1/sprites/{name}").raise_for_status()
    pilotd.stop()
    wrong = alice.wrong + mallory.wrong
    if wrong:
        print(pilotd.tail(20_000), file=sys.stderr)
    return {
        "began": began, "ended": time.strftime("%H:%M:%S", time.gmtime()), "seconds": options.seconds,
        "seed": options.seed, "load": os.getloadavg(), "attacks": done, "killed": mallory.killed,
        "rows": alice.acknowledged, "checks": alice.checks, "waits_ms": alice.waits(), "wrong": wrong,
    }  # fmt: skip


def _attack(
    alice: victim.Victim, mallory: attacks.Attacker, seconds: float, hold: pathlib.Path | None
) -> dict[str, int]:
    """Until the seconds are over, or something is wrong."""
    left_s = seconds
    done: collections.Counter[str] = collections.Counter()
    while left_s > 0:
        for name in mallory.random.sample(sorted(attacks.ATTACKS), len(attacks.ATTACKS)):
            if hold is not None:
                _stand_still(alice, hold)
            began = time.monotonic()
            alice.phase = name
            attacks.ATTACKS[name](mallory)
            alice.phase = "recovery"
            mallory.recover()
            done[name] += 1
            left_s -= time.monotonic() - began
            print(f"{time.strftime('%H:%M:%S')} {name}: {alice.acknowledged} rows, {left_s:.0f} s", file=sys.stderr)
            if left_s <= 0 or alice.wrong:
                return dict(sorted(done.items()))
    return dict(sorted(done.items()))


def _stand_still(alice: victim.Victim, hold: pathlib.Path) -> None:
    if not hold.exists():
        return
    alice.hold()
    while hold.exists():
        time.sleep(1)
    alice.go_on()


if __name__ == "__main__":
    sys.exit(main())
