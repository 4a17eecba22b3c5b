"""The last part of every process, of `create` and of `exec` alike: from container root to what `process` asks for.

    descriptors · working directory · bounding set · groups, user, capabilities · no_new_privs · umask · executable ·
    seccomp · capset · exec

The working directory is entered with root's permissions. The filter is the last of all, so that it need not allow what
pilot itself does. Without no_new_privs it takes CAP_SYS_ADMIN to load one: the process keeps that capability until it
has, over the change of user too, and gives it up by one capset(2). A container's first process meets its parent and
waits for its start under the filter, with read(2), write(2) and close(2).
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import msgspec

from .. import errors
from ..spec import capability_names
from ..spec.linux import Linux, MemoryPolicy, NamespaceType
from ..spec.process import Capabilities, ExecCpuAffinity, Process, Rlimit, User
from . import numbers
from .code import Slot
from .facts import HostFacts
from .plan import LISTENER, PEER, Limit, stdio_slot
from .program import About, Step
from .steps import (
    ChangeDirectory,
    ChangeOwner,
    ControllingTerminal,
    DropBoundingSet,
    Execute,
    FindExecutable,
    Hold,
    InstallDescriptors,
    KeepCapabilities,
    NewSession,
    NoNewPrivileges,
    OfferDescriptor,
    Seccomp,
    SendDescriptor,
    SetAmbientSet,
    SetCapabilities,
    SetCpuAffinity,
    SetGroups,
    SetIoPriority,
    SetLimit,
    SetMemoryPolicy,
    SetPersonality,
    SetScheduler,
    SetUser,
    Umask,
)

# Where config.json has none: what waits in the container's namespaces, and can never be started.
NO_PROCESS = Process(cwd="/")
_KEEP_GROUP = -1
_NO_LIMIT = 2**64 - 1
_DEFAULT_UMASK = 0o022
_CPU_DIGITS = 5  # no kernel has more than 8192
_ALL_CPUS = frozenset(range(1024))
_MODES_OF_NO_NODES = frozenset({"MPOL_DEFAULT", "MPOL_LOCAL"})
_MODES_OF_ANY_NODES = frozenset({"MPOL_PREFERRED"})
_LOADING = frozenset({capability_names.NUMBERS["CAP_SYS_ADMIN"]})  # what it takes to load a filter


_CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Filter(msgspec.Struct, frozen=True):
    """A compiled seccomp profile; `wants_listener` when it notifies, `hides_sendmsg` when it does of that call."""

    program: bytes
    flags: int = 0
    wants_listener: bool = False
    hides_sendmsg: bool = False


class Ending(msgspec.Struct, frozen=True):
    """Beside `process`: what the caller passes on. `chown`: numbers of stdio that become the user's own.

    Of `descriptors` those that are `closed` stay so. `executable` is what is executed when that is not argv[0].

    `environment` is complete (HOME is set by the caller, who can read the container's passwd).
    """

    environment: tuple[str, ...]
    descriptors: int = 3
    terminal: bool = False
    chown: tuple[int, ...] = ()
    filter: Filter | None = None
    executable: str | None = None
    closed: frozenset[int] = frozenset()


def plan_descriptors(process: Process, ending: Ending) -> tuple[Step, ...]:
    """setsid, stdio and what is passed on; the terminal becomes the controlling one."""
    slots: list[Slot | None] = [PEER] * 3 if ending.terminal else [stdio_slot(n) for n in range(3)]
    slots += [None if n in ending.closed else stdio_slot(n) for n in range(3, ending.descriptors)]
    owned = [PEER] if ending.terminal else [stdio_slot(n) for n in ending.chown]
    return (
        NewSession(),
        *((ControllingTerminal(PEER),) if ending.terminal else ()),
        *(ChangeOwner(slot, process.user.uid, _KEEP_GROUP, if_permitted=True) for slot in owned),
        InstallDescriptors(tuple(slots)),
    )


def plan_identity(process: Process, ending: Ending, facts: HostFacts) -> tuple[Step, ...]:
    """From the working directory to the search of the executable."""
    sets = _capability_sets(process.capabilities or Capabilities(), facts)
    kept = _LOADING if _loads_with_privilege(process, ending) else frozenset()
    return (
        About(f'chdir to cwd ("{process.cwd}") set in config.json failed', ChangeDirectory(process.cwd)),
        *_plan_scheduling(process),
        About("unable to apply bounding set", DropBoundingSet(sets["bounding"])),
        KeepCapabilities(),
        *plan_groups(process.user.additional_gids, facts),
        About(
            f"unable to setup user {process.user.uid}:{process.user.gid}", SetUser(process.user.uid, process.user.gid)
        ),
        KeepCapabilities(False),
        _apply_capabilities(sets, kept),
        SetAmbientSet(sets["ambient"]),
        *((NoNewPrivileges(),) if process.no_new_privileges else ()),
        Umask(_DEFAULT_UMASK if process.user.umask is None else process.user.umask),
        *((FindExecutable(_candidates(process, ending)),) if process.args else ()),
    )


def _apply_capabilities(sets: Mapping[str, frozenset[int]], kept: frozenset[int]) -> Step:
    set_ = SetCapabilities(sets["effective"] | kept, sets["permitted"] | kept, sets["inheritable"])
    return About("unable to apply caps: can't apply capabilities", set_)


def plan_filter(process: Process, ending: Ending, facts: HostFacts) -> tuple[Step, ...]:
    """The seccomp filter, and after it the capabilities without that which loading it took."""
    profile = ending.filter
    if profile is None:
        return ()
    load = Seccomp(profile.program, profile.flags, LISTENER if profile.wants_listener else None)
    sets = _capability_sets(process.capabilities or Capabilities(), facts)
    gives_up = _loads_with_privilege(process, ending) and not sets["effective"] >= _LOADING
    return (
        load,
        *((_apply_capabilities(sets, frozenset()),) if gives_up else ()),
        *((_give(profile),) if profile.wants_listener else ()),
    )


def _give(profile: Filter) -> Step:
    return OfferDescriptor(LISTENER) if profile.hides_sendmsg else SendDescriptor(LISTENER)


def plan_given(profile: Filter | None) -> tuple[Step, ...]:
    """After the barrier that follows the filter: the listener has been taken by now."""
    return (Hold(LISTENER),) if profile is not None and profile.wants_listener and profile.hides_sendmsg else ()


def _loads_with_privilege(process: Process, ending: Ending) -> bool:
    return ending.filter is not None and not process.no_new_privileges


def plan_groups(groups: tuple[int, ...], facts: HostFacts) -> tuple[Step, ...]:
    """Supplementary groups. Who mapped his own gid alone had to give up setgroups(2) for it (user_namespaces(7))."""
    return () if facts.is_rootless and not groups else (SetGroups(groups),)


def plan_exec(process: Process, ending: Ending, holds: tuple[Slot, ...] = ()) -> tuple[Step, ...]:
    """exec; `holds` stay open until then. Without anything to execute the process ends."""
    if not process.args:
        return ()
    return (Execute(_candidates(process, ending), process.args, ending.environment, holds),)


def plan_limits(rlimits: tuple[Rlimit, ...]) -> tuple[Limit, ...]:
    """`rlimits` by the kernel's numbers; SpecError for a type that there is not."""
    return tuple(_plan_limit(index, limit) for index, limit in enumerate(rlimits))


def plan_own_limits(limits: tuple[Limit, ...]) -> tuple[Step, ...]:
    """For a process that may set them itself."""
    return tuple(
        About(f"error setting rlimit type {limit.resource}", SetLimit(limit.resource, limit.soft, limit.hard))
        for limit in limits
    )


def _plan_limit(index: int, limit: Rlimit) -> Limit:
    number = numbers.RLIMITS.get(limit.type)
    if number is None:
        raise errors.SpecError(f"$.process.rlimits[{index}].type", f"wrong rlimit value: {limit.type}")
    return Limit(number, limit.soft & _NO_LIMIT, limit.hard & _NO_LIMIT)


def parse_cpus(text: str, path: str, what: str = "list of cpus") -> frozenset[int]:
    """A list such as 0-3,7 → numbers; used for cpus and for memory nodes."""
    result: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        first, separator, last = part.partition("-")
        numbers_ = (first, last) if separator else (first, first)
        if not all(number.isascii() and number.isdigit() and len(number) <= _CPU_DIGITS for number in numbers_):
            raise errors.SpecError(path, f'{_bad(what)} "{text}": not a list of numbers and ranges')
        if int(numbers_[0]) > int(numbers_[1]):
            raise errors.SpecError(path, f'{_bad(what)} "{text}": invalid range: {part}')
        result.update(range(int(numbers_[0]), int(numbers_[1]) + 1))
    return frozenset(result)


def _bad(what: str) -> str:
    """runc's word for what cannot be: it is another of affinities."""
    return f"{'bad' if what.startswith('CPUAffinity') else 'invalid'} {what}"


def parse_affinity(affinity: ExecCpuAffinity) -> tuple[frozenset[int], frozenset[int]]:
    """`initial` and `final`; SpecError, which `create` does not leave to the first `exec`."""
    path = "$.process.execCPUAffinity"
    return (
        parse_cpus(affinity.initial, f"{path}.initial", "CPUAffinity.Initial"),
        parse_cpus(affinity.final, f"{path}.final", "CPUAffinity.Final"),
    )


def plan_domain(linux: Linux) -> tuple[Step, ...]:
    """`personality` and `memoryPolicy`: of the container's every process, though the kernel has them for each."""
    steps: list[Step] = []
    personality, policy = linux.personality, linux.memory_policy
    if personality is not None:
        # The specification has no flags as yet: `find_oddities`.
        if personality.domain not in numbers.PERSONALITIES:
            raise errors.SpecError("$.linux.personality", f"invalid personality domain {personality.domain}")
        steps.append(SetPersonality(numbers.PERSONALITIES[personality.domain]))
    if policy is not None:
        steps.append(About("set_mempolicy", _plan_memory_policy(policy)))
    return tuple(steps)


def _plan_memory_policy(policy: MemoryPolicy) -> SetMemoryPolicy:
    """What set_mempolicy(2) refuses with EINVAL, whichever it is, is told in the words of runc."""
    path = "$.linux.memoryPolicy"
    mode = _number(numbers.MEMORY_POLICIES, policy.mode, f"{path}.mode", 'invalid memory policy mode "{}"')
    flags = [
        _number(numbers.MEMORY_POLICY_FLAGS, flag, f"{path}.flags", 'invalid memory policy flag "{}"')
        for flag in policy.flags
    ]
    nodes = parse_cpus(policy.nodes, f"{path}.nodes", "memory policy nodes")
    if policy.mode in _MODES_OF_NO_NODES and nodes:
        raise errors.SpecError(f"{path}.nodes", f"memory policy mode requires 0 nodes but got {len(nodes)}")
    if policy.mode not in _MODES_OF_NO_NODES | _MODES_OF_ANY_NODES and not nodes:
        raise errors.SpecError(f"{path}.nodes", "memory policy mode requires at least one node but got 0")
    return SetMemoryPolicy(mode | sum(flags), nodes)


def check_mapped(user: User, linux: Linux) -> None:
    """SpecError for a user or a group that a user namespace of the container's own has not."""
    for name, id, mappings in (("uid", user.uid, linux.uid_mappings), ("gid", user.gid, linux.gid_mappings)):
        if mappings and not any(row.container_id <= id < row.container_id + row.size for row in mappings):
            raise errors.SpecError(
                f"$.process.user.{name}", f"cannot set{name} to unmapped {name} {id} in user namespace"
            )


def complete_process(process: Process, first: Process | None) -> Process:
    """Another process of a container: what it does not say of these is as it was for the first."""
    if first is None:
        return process
    umask = process.user.umask if process.user.umask is not None else first.user.umask
    return msgspec.structs.replace(
        process,
        capabilities=process.capabilities or first.capabilities,
        scheduler=process.scheduler or first.scheduler,
        io_priority=process.io_priority or first.io_priority,
        user=msgspec.structs.replace(process.user, umask=umask),
    )


def find_oddities(linux: Linux) -> list[str]:
    """What is asked for and nobody can have any more, or not yet, and what is said twice; in runc's words."""
    found = []
    flags = linux.personality.flags if linux.personality else ()
    if flags:
        reason = "because personality flag has not supported at this time"
        found.append(f"ignoring unsupported personality flags: [{' '.join(flags)}] {reason}")
    memory = linux.resources.memory if linux.resources else None
    if memory is not None and memory.kernel:
        found.append("Kernel memory settings are ignored and will be removed")
    is_joined = any(each.type is NamespaceType.USER and each.path for each in linux.namespaces)
    if is_joined and (linux.uid_mappings or linux.gid_mappings):
        found.append(
            "config.json has both a userns path to join and a matching userns mapping specified -- you may only "
            "provide one"
        )
    return found


def find_warnings(process: Process, facts: HostFacts) -> list[str]:
    """Capabilities that are asked for and will not be there, in runc's words."""
    asked = process.capabilities or Capabilities()
    known = {name for name, number in capability_names.NUMBERS.items() if number <= facts.cap_last_cap}
    unknown = {name for field in _CAPABILITY_SETS for name in getattr(asked, field)} - known
    found = [f"ignoring unknown or unavailable capabilities: [{' '.join(sorted(unknown))}]"] if unknown else []
    possible = set(asked.permitted) & set(asked.inheritable)
    refused = [name for name in asked.ambient if name in known and name not in possible]
    return found + [f"can't raise ambient capability {name}: operation not permitted" for name in refused]


def _plan_scheduling(process: Process) -> tuple[Step, ...]:
    scheduler, io, affinity = process.scheduler, process.io_priority, process.exec_cpu_affinity or ExecCpuAffinity()
    # The caller's own mask is not the container's: without one of its own a process may use all that its cpuset has.
    # After `initial` alone it is as the kernel has it, as the specification demands.
    final = parse_affinity(affinity)[1]
    stays = affinity.initial and not final
    set_ = About("error setting final CPU affinity", SetCpuAffinity(final or _ALL_CPUS))
    steps: list[Step] = [] if stays else [set_]
    if scheduler is not None:
        path = "$.process.scheduler"
        policy = _number(numbers.SCHEDULERS, scheduler.policy, f"{path}.policy", "invalid scheduler policy: {}")
        flags = sum(
            _number(numbers.SCHEDULER_FLAGS, flag, f"{path}.flags", "invalid scheduler flag: {}")
            for flag in scheduler.flags
        )
        if scheduler.policy == "SCHED_DEADLINE":
            _check_deadline(scheduler.runtime, scheduler.deadline, scheduler.period or 0)
        times = (scheduler.runtime or 0, scheduler.deadline or 0, scheduler.period or 0)
        set_scheduler = SetScheduler(policy, flags, scheduler.nice, scheduler.priority, *times)
        steps.append(About("error setting scheduler", set_scheduler))
    if io is not None:
        path = "$.process.ioPriority.class"
        number = _number(numbers.IO_CLASSES, io.io_class, path, 'invalid ioPriority.Class: "{}"')
        steps.append(About("failed to set io priority", SetIoPriority(number, io.priority)))
    return tuple(steps)


_LEAST_NS, _MOST_NS = 1024, 2**63 - 1  # sched(7)


def _check_deadline(runtime: int | None, deadline: int | None, period: int) -> None:
    """What the kernel refuses with EINVAL, whichever of the three is wrong; in crun's words."""
    problem = ""
    if runtime is None or deadline is None:
        problem = f"requires `{'runtime' if runtime is None else 'deadline'}`"
    elif not runtime or not deadline:
        problem = f"{'deadline' if runtime else 'runtime'} must be greater than 0"
    elif runtime > deadline:
        problem = f"runtime ({runtime}) must be <= deadline ({deadline})"
    elif period and deadline > period:
        problem = f"deadline ({deadline}) must be <= period ({period})"
    elif not _LEAST_NS <= runtime <= _MOST_NS:
        problem = f"runtime ({runtime}) must be between {_LEAST_NS} and {_MOST_NS}"
    if problem:
        raise errors.SpecError("$.process.scheduler", f"sched_setattr: `SCHED_DEADLINE` {problem}")


def _number(table: dict[str, int], name: str, path: str, problem: str) -> int:
    """`problem` is what runc says of a name that there is not, with {} for the name."""
    if name not in table:
        raise errors.SpecError(path, problem.format(name))
    return table[name]


def _capability_sets(asked: Capabilities, facts: HostFacts) -> dict[str, frozenset[int]]:
    """Names → numbers. Like runc: what this kernel has not is left out, and nothing is ambient that could not be."""
    known = {name: n for name, n in capability_names.NUMBERS.items() if n <= facts.cap_last_cap}
    sets = {name: frozenset(known[c] for c in getattr(asked, name) if c in known) for name in _CAPABILITY_SETS}
    sets["ambient"] &= sets["permitted"] & sets["inheritable"]
    return sets


def _candidates(process: Process, ending: Ending) -> tuple[str, ...]:
    """Where the executable may be: as given when it has a slash, else in each directory of PATH."""
    name = ending.executable or process.args[0]
    if "/" in name:
        return (name,)
    variables = dict(item.partition("=")[::2] for item in ending.environment)
    return tuple(posixpath.join(directory or ".", name) for directory in variables.get("PATH", "").split(":"))
