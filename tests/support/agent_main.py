"""The real agent, with its directories where a test wants them: `python -m tests.support.agent_main RUN INIT`."""

from __future__ import annotations

import sys

from pilot.agent import machine, process, upgrade

if __name__ == "__main__":
    upgrade.become(sys.argv[1])
    sys.exit(process.run(machine.Paths(run=sys.argv[1], init=sys.argv[2])))
