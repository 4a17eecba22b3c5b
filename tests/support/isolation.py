"""Which kind of machine the tests of other people's clients are asked of."""

from __future__ import annotations

import os

ISOLATION = os.environ.get("PILOT_CLIENTS_ISOLATION", "container")
"""`container`, or `vm` (`make vm-clients`)."""
