"""`make demo`: pilotd on a throwaway state directory, the way walked (walk.py), stop; shows that nothing is left."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support import leftovers
from tests.support.pilotd import Pilotd

from examples import walk


def main() -> int:
    """Exit status 1 when something was left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isolation", choices=["container", "vm"], default="container")
    parser.add_argument("--image", choices=["minimal", "standard"], default="minimal")
    options = parser.parse_args()
    before = leftovers.observe()
    with tempfile.TemporaryDirectory(prefix="pilot-demo-") as directory:
        daemon = Pilotd(Path(directory) / "state", isolation=options.isolation, image=options.image)
        daemon.stop_machines_on_exit = True
        print(f"{daemon.start() * 1000:9.0f} ms   pilotd ready (first start: builds the base volume)")
        try:
            walk.walk(daemon.url, daemon.token())
        finally:
            daemon.stop()
        left = leftovers.left_since(before)
        print("left behind:", left or "nothing")
        return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
