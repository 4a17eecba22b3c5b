"""The machine itself: what it says of itself, the name that it takes, its containers."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from ...wire import operations, schema
from .. import expect
from ..promise import Promise, World
from ..subject import Subject
from . import rows

_ENTROPY = base64.b64encode(bytes(range(32))).decode()
_UNKNOWN_EXIT = {"name": "world", "seq": "999999999"}


def promises() -> Iterator[Promise]:
    yield Promise("getVersion", "the version of the contract, and features that fit the isolation", _version)
    yield Promise("getStatus", "a machine that answers is ready, and the same one at the next question", _status)
    yield Promise("adopt", "the name is taken, again and again; what is not asked is let alone", _adopt)
    yield Promise("adopt", "entropy is applied, or refused with the reason", _entropy)
    yield rows.refusal(
        operations.ADOPT, "entropy that is no base64 is refused", 400, "invalid_argument",
        json={"name": "x", "entropy": "~"},
    )  # fmt: skip
    yield Promise("getSysinfo", "memory, processors and load that make sense", _sysinfo)
    yield Promise("getMetrics", "the same facts as series, each told what it is, and no sample twice", _metrics)
    yield Promise("getNetwork", "a loopback that is up, and no port twice", _network)
    yield Promise("getDiagnostics", "the kernel, the agent among the processes, and what it is at", _diagnostics)
    yield Promise("getPolicy", "what is denied, and no operation that there is not", _policy)
    yield rows.repeated(
        operations.TIGHTEN_POLICY, "to deny nothing more changes nothing, again and again", json={"denied": []}
    )  # fmt: skip
    for id, text in (("kitNone", "what is no operation is refused"), ("getStatus", "its health is always told")):
        yield rows.refusal(operations.TIGHTEN_POLICY, text, 400, "invalid_argument", json={"denied": [id]})
    yield rows.refusal(
        operations.UPGRADE_AGENT, "where there is no agent, none takes over", 400, "invalid_argument",
        json={"directory": "/kit/no/such/place"},
    )  # fmt: skip
    yield rows.refusal(
        operations.UPGRADE_AGENT, "a directory is named by its whole path", 400, "invalid_argument",
        json={"directory": "no/such/place"},
    )  # fmt: skip
    yield rows.refusal(
        operations.APPLY_RUN_FILE, "a variable without = is refused", 400, "invalid_argument",
        json={"Hostname": "kit", "ExecOverride": ["true"], "ImageConfig": {"Env": ["NO_VALUE"]}},
    )  # fmt: skip
    yield rows.refusal(
        operations.APPLY_RUN_FILE, "a process without a program is refused", 400, "invalid_argument",
        json={"Hostname": "kit", "ExecOverride": []},
    )  # fmt: skip
    yield rows.refusal(
        operations.APPLY_RUN_FILE, "a machine that has a world is no machine for another main process", 409,
        "failed_precondition", json={"Hostname": "kit", "ExecOverride": ["true"]}, world=World.RUNNING,
    )  # fmt: skip
    yield Promise("listContainers", "the list of containers", _containers)
    yield Promise("listContainers", "a world that runs is one of them", _world_listed, World.RUNNING)
    yield rows.repeated(operations.ACKNOWLEDGE_EXIT, "again and again is as good as once", parameters=_UNKNOWN_EXIT)
    yield rows.refusal(
        operations.ACKNOWLEDGE_EXIT, "what cannot be a name is refused", 400, "invalid_argument",
        parameters={"name": "No", "seq": "1"},
    )  # fmt: skip
    yield rows.refusal(
        operations.ACKNOWLEDGE_EXIT, "a number that is none is refused", 400, "invalid_argument",
        parameters={"name": "web", "seq": "one"},
    )  # fmt: skip


def _version(subject: Subject) -> None:
    version = expect.answered(operations.GET_VERSION, subject.ask(operations.GET_VERSION), subject.isolation)
    expect.that(version.api == schema.API_VERSION, f"api {schema.API_VERSION} was meant: {version}")
    freezes = operations.FREEZE_WORLD.id not in expect.BEYOND.get(subject.isolation or "", ())
    expect.that(("freeze" in version.features) is freezes, f"feature freeze is for machines that can: {version}")


def _status(subject: Subject) -> None:
    first, second = (
        expect.answered(operations.GET_STATUS, subject.ask(operations.GET_STATUS), subject.isolation) for _ in range(2)
    )
    expect.that(first.state == "ready", f"state ready was meant: {first}")
    expect.that(bool(first.boot_id) and first.boot_id == second.boot_id, f"one boot_id was meant: {first}, {second}")


def _adopt(subject: Subject) -> None:
    told = []
    for _ in range(2):
        answer = subject.ask(operations.ADOPT, json={"name": subject.scratch, "no_such_field": {"is": "ignored"}})
        adopted = expect.answered(operations.ADOPT, answer, subject.isolation)
        expect.that(adopted.name == subject.scratch, f"the name {subject.scratch} was meant: {adopted}")
        expect.that(not adopted.applied and not adopted.refused, f"nothing else was asked: {adopted}")
        told.append(subject.status())
    expect.that(told[0].name == subject.scratch, f"the name {subject.scratch} was meant: {told[0]}")
    expect.that(told[0].boot_id == told[1].boot_id, f"the same boot was meant: {told}")


def _entropy(subject: Subject) -> None:
    answer = subject.ask(operations.ADOPT, json={"name": subject.scratch, "entropy": _ENTROPY})
    adopted = expect.answered(operations.ADOPT, answer, subject.isolation)
    expect.that([*adopted.applied, *adopted.refused] == ["entropy"], f"entropy was asked for, and only that: {adopted}")
    expect.that(all(adopted.refused.values()), f"a reason was meant: {adopted}")


def _diagnostics(subject: Subject) -> None:
    answer = subject.ask(operations.GET_DIAGNOSTICS)
    told = expect.answered(operations.GET_DIAGNOSTICS, answer, subject.isolation)
    expect.that(told.kernel.startswith("Linux "), f"a kernel was meant: {told.kernel}")
    expect.that(bool(told.mounts) and bool(told.limits), "mounts and limits were meant")
    expect.that(any(row.pid == told.agent.pid for row in told.processes), "the agent among the processes was meant")
    expect.that(bool(told.agent.threads) and bool(told.agent.tasks), f"what the agent is at was meant: {told.agent}")


def _policy(subject: Subject) -> None:
    denied = expect.answered(operations.GET_POLICY, subject.ask(operations.GET_POLICY), subject.isolation).denied
    known = {row.id for row in operations.OPERATIONS}
    expect.that(set(denied) <= known and denied == sorted(set(denied)), f"operations in order were meant: {denied}")


def _sysinfo(subject: Subject) -> None:
    told = expect.answered(operations.GET_SYSINFO, subject.ask(operations.GET_SYSINFO), subject.isolation)
    memory = told.memory
    expect.that(memory.mem_total > 0 and 0 <= memory.mem_free <= memory.mem_total, f"memory was meant: {memory}")
    expect.that(bool(told.cpus) and len(told.load_average) == 3, f"processors and load were meant: {told}")


def _metrics(subject: Subject) -> None:
    sysinfo = expect.answered(operations.GET_SYSINFO, subject.ask(operations.GET_SYSINFO), subject.isolation)
    answer = subject.ask(operations.GET_METRICS)
    told = expect.answered(operations.GET_METRICS, answer, subject.isolation).decode()
    kind = answer.headers.get("content-type", "")
    expect.that(kind == "text/plain; version=0.0.4", f"Prometheus' text format was meant: {kind}")
    typed = {line.split()[2] for line in told.splitlines() if line.startswith("# TYPE ")}
    samples = dict(line.rpartition(" ")[::2] for line in told.splitlines() if not line.startswith("#"))
    expect.that({name.partition("{")[0] for name in samples} == typed, "a type of each series was meant, and no other")
    expect.that(told.count("\n") == len(samples) + 2 * len(typed), "each sample once was meant")
    total = samples.get("fly_instance_memory_mem_total")
    expect.that(total == str(sysinfo.memory.mem_total), f"{sysinfo.memory.mem_total} bytes were meant: {total}")
    idle = [name for name in samples if name.startswith("fly_instance_cpu{") and 'mode="idle"' in name]
    expect.that(len(idle) == len(sysinfo.cpus), f"{len(sysinfo.cpus)} processors were meant: {idle}")


def _network(subject: Subject) -> None:
    told = expect.answered(operations.GET_NETWORK, subject.ask(operations.GET_NETWORK), subject.isolation)
    loopback = [row for row in told.interfaces if row.name == "lo" and row.up and "127.0.0.1/8" in row.addresses]
    expect.that(len(loopback) == 1, f"a loopback with its address was meant: {told.interfaces}")
    ports = [(port.port, port.address) for port in told.ports]
    expect.that(len(ports) == len(set(ports)), f"each once was meant: {ports}")


def _containers(subject: Subject) -> None:
    expect.answered(operations.LIST_CONTAINERS, subject.ask(operations.LIST_CONTAINERS), subject.isolation)


def _world_listed(subject: Subject) -> None:
    answer = subject.ask(operations.LIST_CONTAINERS)
    listed = expect.answered(operations.LIST_CONTAINERS, answer, subject.isolation).containers
    world = [row for row in listed if row.name == "world" and row.status == "running" and row.pid]
    expect.that(len(world) == 1, f"one running world with a pid was meant: {listed}")
