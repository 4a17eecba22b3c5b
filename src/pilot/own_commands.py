"""The words of `pilot` that are ours alone: every other first word belongs to the OCI command line."""

from __future__ import annotations

# Word -> the module below `pilot` whose `main(arguments)` takes the rest, and what it does.
OWN_COMMANDS = {
    "agent": ("agent", "serve the pilot API in a machine (pilot-init starts it)"),
    "conformance": ("conformance.main", "ask a machine for every promise of the pilot API"),
    "image": ("images.cli", "pull, import, build and prune images"),
    "machine": ("bare.main", "Machines of a pilotd, or a machine without one, through the pilot API"),
    "planner": ("planner.main", "plan for the command lines that ask"),
    "ssh": ("shell.main", "let operators into a machine by ssh"),
    "volume": ("volume.operator.cli", "durable disks"),
}
