"""`pilot update ID`: change limits of a running container."""

from __future__ import annotations

import re

from ..spec import parse
from ..spec.linux import IntelRdt
from ..spec.resources import BlockIO, Cpu, Memory, Pids, Resources
from .options import Arguments, Kind, Option, UsageError
from .verb import Context

SUMMARY = "update container resource constraints"
USAGE = "<container-id>"
_LIMITS = {
    "blkio-weight": "specifies per cgroup weight, range is from 10 to 1000",
    "cpu-period": "CPU CFS period to be used for hardcapping (in usecs)",
    "cpu-quota": "CPU CFS hardcap limit (in usecs): allowed cpu time in a given period",
    "cpu-burst": "CPU CFS burst (in usecs): runtime that may be carried over",
    "cpu-share": "CPU shares (relative weight vs. other containers)",
    "cpu-rt-period": "CPU realtime period to be used for hardcapping (in usecs)",
    "cpu-rt-runtime": "CPU realtime hardcap limit (in usecs)",
    "cpu-idle": "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE",
    "memory": "memory limit (in bytes, or as 50M)",
    "memory-reservation": "memory reservation or soft_limit (in bytes)",
    "memory-swap": "total memory usage (memory + swap); -1 for no limit",
    "pids-limit": "maximum number of pids allowed in the container",
}
_IGNORED = ("kernel-memory", "kernel-memory-tcp")
OPTIONS = (
    Option(("resources", "r"), Kind.TEXT, "path to a file with the resources to update, or - for standard input"),
    *(Option((name,), Kind.NUMBER, text) for name, text in _LIMITS.items()),
    *(Option((name,), Kind.TEXT, "obsolete, and ignored") for name in _IGNORED),
    Option(("cpuset-cpus",), Kind.TEXT, "CPU(s) to use"),
    Option(("cpuset-mems",), Kind.TEXT, "memory node(s) to use"),
    Option(("l3-cache-schema",), Kind.TEXT, "the string of Intel RDT/CAT L3 cache schema"),
    Option(("mem-bw-schema",), Kind.TEXT, "the string of Intel RDT/MBA memory bandwidth schema"),
)
ARGUMENTS = (1, 1)


def run(context: Context, arguments: Arguments) -> int:
    container = context.runtime().load(arguments.positional[0])
    if any(map(arguments.text, _IGNORED)):
        context.log.warning("Kernel memory settings are ignored and will be removed")
    rdt = IntelRdt(l3_cache_schema=arguments.text("l3-cache-schema"), mem_bw_schema=arguments.text("mem-bw-schema"))
    container.update(_resources(context, arguments), None if rdt == IntelRdt() else rdt)
    return 0


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)


def parse_size(text: str, name: str) -> int:
    """Bytes as Docker's tools write them (50M, 1.5g, 512KiB; all by 1024), -1 for no limit; UsageError."""
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"invalid value for {name}: invalid size: {text!r} (such as 50M)")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def parse_number(text: str, name: str) -> int:
    """A decimal number; UsageError."""
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f'invalid value for {name}: parsing "{text}": invalid syntax') from error


def _resources(context: Context, arguments: Arguments) -> Resources:
    path = arguments.text("resources")
    if path == "-":
        return parse.parse_resources(context.read_stdin())
    if path:
        return parse.read_resources(path)
    return _from_options(arguments)


def _from_options(arguments: Arguments) -> Resources:
    def number(name: str) -> int | None:
        return parse_number(arguments.text(name), name) if arguments.text(name) else None

    def size(name: str) -> int | None:
        return parse_size(arguments.text(name), name) if arguments.text(name) else None

    return Resources(
        memory=Memory(limit=size("memory"), reservation=size("memory-reservation"), swap=size("memory-swap")),
        cpu=Cpu(
            shares=number("cpu-share"),
            quota=number("cpu-quota"),
            burst=number("cpu-burst"),
            period=number("cpu-period"),
            realtime_runtime=number("cpu-rt-runtime"),
            realtime_period=number("cpu-rt-period"),
            cpus=arguments.text("cpuset-cpus"),
            mems=arguments.text("cpuset-mems"),
            idle=number("cpu-idle"),
        ),
        pids=Pids(limit=number("pids-limit")),
        block_io=BlockIO(weight=number("blkio-weight")),
    )
