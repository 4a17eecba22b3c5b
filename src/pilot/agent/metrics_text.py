"""What the machine and its containers use, as a Prometheus scrapes it (text format 0.0.4).

    fly_instance_*      of the machine: the series that Fly.io publishes of one, by its names; `cpu` in hundredths
    pilot_container_*   of each container that runs, by the name of it

Pure: of facts that were read before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ..wire import facts, graph

CONTENT_TYPE = "text/plain; version=0.0.4"
_MINUTES = ("1", "5", "15")
_NOW = frozenset({"io_in_progress"})  # of what is else counted since boot
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Series(msgspec.Struct, frozen=True):
    """One metric: its samples by their labels."""

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def text(machine: facts.Sysinfo, containers: Mapping[str, graph.ContainerStats]) -> str:
    """All of it; a series without samples is left out."""
    told = [*_of_machine(machine), *_of_containers(containers)]
    return "".join(line for series in told if series.samples for line in _lines(series))


def _lines(series: Series) -> Iterator[str]:
    yield f"# HELP {series.name} {series.help}\n# TYPE {series.name} {series.kind}\n"
    for labels, value in series.samples:
        listed = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items())
        yield f"{series.name}{{{listed}}} {value!r}\n" if listed else f"{series.name} {value!r}\n"


def _of_machine(told: facts.Sysinfo) -> Iterator[Series]:
    for name, value in msgspec.structs.asdict(told.memory).items():
        yield _gauge(f"memory_{name}", "Bytes, as /proc/meminfo has them.", [({}, value)])
    load = [({"minutes": minutes}, value) for minutes, value in zip(_MINUTES, told.load_average, strict=True)]
    yield _gauge("load_average", "Tasks that ran or waited to run.", load)
    spent = [
        ({"cpu_id": cpu, "mode": mode}, round(seconds * 100))
        for cpu, modes in told.cpus.items()
        for mode, seconds in msgspec.structs.asdict(modes).items()
    ]
    yield Series("fly_instance_cpu", "counter", "Hundredths of a second of each processor, by what it did.", spent)
    yield from _of_devices("disk", told.disks)
    yield from _of_devices("net", told.net)
    for name, value in msgspec.structs.asdict(told.filefd).items():
        yield _gauge(f"filefd_{name}", "Open files of the kernel.", [({}, value)])


def _of_devices(kind: str, rows: list[facts.DiskFacts] | list[facts.NetFacts]) -> Iterator[Series]:
    """A series of each count, with a sample of each device."""
    documents = [msgspec.structs.asdict(row) for row in rows]
    for name in [name for name in (documents[0] if documents else ()) if name != "name"]:
        samples = [({"device": str(row["name"])}, row[name]) for row in documents]
        counted = "gauge" if name in _NOW else "counter"
        yield Series(f"fly_instance_{kind}_{name}", counted, f"Of a {kind} device, since boot.", samples)


def _gauge(name: str, help: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> Series:
    return Series(f"fly_instance_{name}", "gauge", help, samples)


def _of_containers(told: Mapping[str, graph.ContainerStats]) -> Iterator[Series]:
    rows = [({"container": name}, stats) for name, stats in sorted(told.items())]

    def series(name: str, kind: str, help: str, values: list[float | None]) -> Series:
        samples = [(labels, value) for (labels, _), value in zip(rows, values, strict=True) if value is not None]
        return Series(f"pilot_container_{name}", kind, help, samples)

    every = [stats for _, stats in rows]
    yield series("cpu_seconds_total", "counter", "Processor time.", [each.cpu_ns / 1e9 for each in every])
    yield series("throttled_seconds_total", "counter", "Kept waiting by its limit of processor time.",
                 [each.throttled_ns / 1e9 for each in every])  # fmt: skip
    yield series("memory_bytes", "gauge", "Memory, caches among it.", [each.memory_bytes for each in every])
    yield series("memory_peak_bytes", "gauge", "The most that it was.", [each.memory_peak_bytes for each in every])
    yield series("memory_limit_bytes", "gauge", "The most that it may be.", [each.memory_limit_bytes for each in every])
    yield series("processes", "gauge", "Processes and threads.", [each.processes for each in every])
    for what in ("cpu", "memory", "io"):
        pressures: list[graph.Pressure | None] = [getattr(each, f"{what}_pressure") for each in every]
        yield series(f"{what}_pressure_ratio", "gauge", "Of the last ten seconds, the part that something waited.",
                     [None if each is None else each.some_avg10 / 100 for each in pressures])  # fmt: skip
