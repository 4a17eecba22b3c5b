"""Who may import whom, as data: names below `pilot`; everything may import `errors`, `ids` and `lean`."""

from __future__ import annotations

EVERYWHERE = frozenset({"errors", "ids", "lean"})

# What all rooms of `volume` but the pure ones share.
_VOLUME_COMMON = frozenset(
    {
        "kernel",
        "volume.answers",
        "volume.build",
        "volume.checkpoint",
        "volume.crashpoint",
        "volume.facts",
        "volume.layout",
        "volume.messages",
        "volume.names",
        "volume.requests",
    }
)

ALLOWED: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "ids": frozenset(),
    "lean": frozenset(),
    "spec": frozenset(),
    "wire": frozenset(),
    "plan": frozenset({"spec"}),
    "kernel": frozenset(
        {
            "plan.program",
            "plan.facts",
            "plan.cgroup",
            "plan.seccomp",
            "plan.systemd",
            "plan.rdt",
            "plan.steps",
            "plan.abi",
            "plan.code",
        }
    ),
    "runtime": frozenset({"spec", "plan", "kernel"}),
    "standard": frozenset(),
    "own_commands": frozenset(),
    "command": frozenset(
        {
            "standard",
            "own_commands",
            "cli",
            "agent",
            "conformance.main",
            "images.cli",
            "images.running",
            "bare.main",
            "client.machines.main",
            "planner.main",
            "shell.main",
            "planner.starting",
            "volume.operator.cli",
        }
    ),
    "bundle": frozenset({"cli"}),
    "bundled": frozenset(),
    "cli": frozenset({"own_commands", "runtime", "spec"}),
    "planner": frozenset({"cli", "runtime", "spec", "kernel", "plan"}),
    "server": frozenset({"wire", "kernel.fds"}),
    "agent": frozenset({"wire", "server", "runtime", "spec", "kernel"}),
    "volume": frozenset({"kernel"}),
    # Rooms of volume, by process: books know no file, a disk knows no store, what may wait for a disk knows no volumed.
    "volume.client": frozenset(
        {
            "kernel.fds",
            "volume.answers",
            "volume.build",
            "volume.layout",
            "volume.messages",
            "volume.checkpoint",
            "volume.requests",
        }
    ),
    # What they ask one another: values, for either side.
    "volume.requests": frozenset({"volume.answers", "volume.checkpoint"}),
    "volume.books": frozenset({"volume.layout", "volume.names", "volume.facts", "volume.checkpoint"}),
    "volume.disk": _VOLUME_COMMON | {"volume.books"},
    "volume.remote.objects": frozenset({"kernel"}),
    "volume.remote.log": _VOLUME_COMMON | {"volume.books", "volume.remote.objects"},
    "volume.remote.live": _VOLUME_COMMON
    | {"volume.books", "volume.disk", "volume.remote.log", "volume.remote.objects"},
    "volume.remote.tending": _VOLUME_COMMON
    | {"volume.books", "volume.disk", "volume.remote.log", "volume.remote.objects"},
    "volume.serving": _VOLUME_COMMON | {"volume.disk", "volume.remote.live", "volume._lookaside"},
    "volume.volumed": _VOLUME_COMMON | {"volume.books", "volume.disk", "volume.remote", "volume.serving"},
    "volume.operator": _VOLUME_COMMON
    | {"volume.books", "volume.client", "volume.disk", "volume.remote", "volume.volumed.collector"},
    # The way to a machine, for whoever is in the orchestrator's place: it knows no store, and no pilotd.
    "machine": frozenset({"wire", "kernel.fds"}),
    "conformance": frozenset({"wire", "machine", "kernel.fds"}),
    # ssh, ended on the host: it knows a machine by where it is dialled.
    "shell": frozenset({"wire", "server"}),
    # containerd's Task service: it drives a bare machine by its dial socket, and has its own ideas of nothing.
    "shim": frozenset({"wire", "server", "machine", "bare.machines", "kernel.mounts", "spec"}),
    # A machine without pilotd: the substrates of pilotd, and nothing else of it.
    "bare": frozenset({"wire", "machine", "host.vmm", "image", "kernel"}),
    "host": frozenset({"standard", "wire", "server", "machine", "volume.client", "kernel", "image", "images.origins"}),
    "host.vmm.container": frozenset({"wire", "server", "machine", "volume.client", "kernel", "runtime", "spec"}),
    "host.fsm": frozenset(),
    # What machines ask: it knows them by name, and brings nobody's room but the store's; other rooms bring rows to it.
    "host.outward": frozenset({"wire", "server", "kernel.fds", "host.audit", "host.identity", "host.store"}),
    # A request's way: relay → api/<facade> → services → operations.
    "host.identity": frozenset({"wire", "kernel.files", "host.store.tokens", "host.store.database"}),
    # A log knows nobody who tells it anything.
    "host.audit": frozenset(
        {"wire", "kernel.files", "host.identity", "host.store", "host.periodic", "volume.remote.objects"}
    ),
    "host.relay": frozenset(
        {
            "wire",
            "host.audit",
            "host.identity",
            "machine.dial",
            "host.operations.uses",
            "host.services",
            "host.store.sprites",
            "host.store.tokens",
            "host.tracing",
        }
    ),
    # Beside api: it serves what is below the domain.
    "host.ingress": frozenset(
        {
            "wire",
            "server.call",
            "server.client",
            "server.stream",
            "kernel.files",
            "machine.dial",
            "host.fly",
            "host.identity",
            "host.operations.uses",
            "host.relay",
            "host.services",
            "host.store.fly",
            "host.store.journal",
            "host.store.sprites",
            "host.store.tokens",
        }
    ),
    "host.services": frozenset(
        {
            "wire",
            "image.oci.digest",
            "image.oci.documents",
            "image.oci.platform",
            "image.oci.reference",
            "host.fly",
            "host.fsm",
            "host.network",
            "host.operations",
            "host.shipping",
            "host.store",
            "host.vmm",
            "host.periodic",
            "kernel.inroot",
            "machine",
            "volume.client",
        }
    ),
    "host.api": frozenset(
        {
            "wire",
            "server",
            "volume.client",
            "image.oci.reference",
            "host.audit",
            "host.fly",
            "host.fsm",
            "host.identity",
            "host.operations.fly_requests",
            "host.operations.results",
            "host.outward.rows",
            "host.relay",
            "host.services",
            "host.shipping.rules",
            "host.store",
        }
        | {"host.network.connectors.connector", "host.network.policy"}
    ),
    # A sprite as an image: values and bytes; it knows neither the store nor volumes.
    "host.shipping": frozenset({"wire", "host.difference", "image.oci.digest", "image.oci.documents"}),
    # It knows machines by name and process, and neither the store nor operations.
    "host.network": frozenset({"kernel", "machine.dial", "host.fly.vault", "host.logs", "host.supervised"}),
    "image": frozenset({"plan.program", "kernel"}),
    # Images of strangers: knows nothing of the ones that are built here.
    "image.oci": frozenset({"kernel.directio", "kernel.files", "kernel.inroot", "kernel.syscalls"}),
    # Images of this host, by the command line.
    "images": frozenset({"image", "kernel", "cli", "runtime", "spec"}),
    "client": frozenset({"standard", "wire"}),
}

# Rows that speak for themselves alone: another room of the same package is let in by name only.
_OF_HOST = frozenset(
    {"fsm", "network", "outward", "identity", "audit", "ingress", "relay", "services", "shipping", "api"}
)
CLOSED = frozenset(
    {"image.oci"} | {f"host.{room}" for room in _OF_HOST} | {name for name in ALLOWED if name.startswith("volume.")}
)


def rule_for(module: str) -> str:
    """The most exact row of the table that speaks of `module` (a dotted name below `pilot`)."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in ALLOWED:
            return name
    raise KeyError(module)


def may_import(module: str, target: str) -> bool:
    """Whether `module` may import `target`; both are dotted names below `pilot`."""
    rule = rule_for(module)
    if target == "" or _within(target, {rule if rule in CLOSED else rule.split(".")[0]}):
        return True
    return _within(target, ALLOWED[rule] | EVERYWHERE)


def _within(target: str, allowed: frozenset[str] | set[str]) -> bool:
    return any(target == name or target.startswith(name + ".") for name in allowed)
