"""A process in a running container → Plan.

    join cgroup · setns (by pidfd) · spawn · setns of the cgroup kind · container root · terminal · identity · exec

There is no release: the launch ends with exec, so that every failure has a step. Nothing of the host is reachable from
the process once it is in the container's namespaces: it is not dumpable until exec.
"""

from __future__ import annotations

import msgspec

from ..spec.linux import Linux
from ..spec.process import Process
from . import identity, labels
from .abi import Namespace
from .code import Slot
from .facts import HostFacts
from .identity import Ending
from .plan import BEFORE_START, CONSOLE_SOCKET, MASTER, PEER, PIDFD, Plan, procs_slot
from .program import About, Program, Step
from .steps import (
    Barrier,
    JoinCgroup,
    JoinKeyring,
    JoinNamespace,
    Open,
    OpenTerminal,
    SendDescriptor,
    SendTo,
    SetCpuAffinity,
    SetDumpable,
    SetUser,
    Spawn,
    Umask,
    WriteFile,
)

_ROOT = Slot("rootfs")


class ExecOptions(msgspec.Struct, frozen=True):
    """`joined`: kinds of namespace in which the container's process differs from the caller."""

    id: str
    joined: Namespace
    ending: Ending
    cgroup_procs: int = 0
    cgroup_directory: Slot | None = None
    rows: int = 0
    columns: int = 0
    console_socket: bool = False
    no_new_keyring: bool = False
    before_start: bool = False
    linux: Linux = Linux()


def plan_exec(process: Process, facts: HostFacts, options: ExecOptions) -> Plan:
    """The whole of it."""
    in_user_namespace = Namespace.USER in options.joined
    limits = identity.plan_limits(process.rlimits)
    # In a user namespace nobody may raise limits; the caller may.
    parent_limits = limits if in_user_namespace else ()
    own_limits = () if in_user_namespace else identity.plan_own_limits(limits)
    security = labels.plan_labels(process, facts)
    filter_ = identity.plan_filter(process, options.ending, facts)
    notifies = options.ending.filter is not None and options.ending.filter.wants_listener
    # Once in the cgroup namespace, where cgroup2 is mounted with nsdelegate, the kernel refuses to spawn into a cgroup
    # from outside of that namespace (ENOENT; cgroup_procs_write_permission).
    # Labels are written by the process that stays, through the runtime namespace's /proc: with them the mount
    # namespace comes last, too. Without, nobody in the container's pid namespace ever sees it with another root.
    # And so does the user namespace, if we may join the others without it: from within, a cgroup that belongs to nobody
    # there cannot be spawned into (EACCES).
    user = Namespace.USER if facts.effective_uid == 0 else Namespace(0)
    mount = Namespace.MOUNT if security.opens else Namespace(0)
    after = options.joined & (Namespace.CGROUP | mount | user)
    before = options.joined & ~after
    steps: tuple[Step, ...] = (
        *_plan_first(process, options),
        *((JoinNamespace(PIDFD, before),) if before else ()),
        Spawn(Namespace(0), options.cgroup_directory),
        *security.holds,
        *security.opens,
        *((JoinNamespace(PIDFD, after),) if after else ()),
        *((*identity.plan_groups((), facts), SetUser(0, 0)) if in_user_namespace else ()),
        *(() if options.no_new_keyring else (JoinKeyring(f"_ses.{options.id}"),)),
        *_plan_terminal(options),
        *identity.plan_domain(options.linux),
        *identity.plan_descriptors(process, options.ending),
        *security.writes,
        *own_limits,
        *identity.plan_identity(process, options.ending, facts),
        # A listener is for the parent to pass on; any other filter need not allow the barrier.
        *(filter_ if notifies else ()),
        *((Barrier(BEFORE_START),) if options.before_start or parent_limits else ()),
        *identity.plan_given(options.ending.filter),
        *(() if notifies else filter_),
        *identity.plan_exec(process, options.ending),
    )
    return Plan(Program(steps), limits=parent_limits)


def _plan_first(process: Process, options: ExecOptions) -> tuple[Step, ...]:
    steps: list[Step] = [Umask(0o022)]
    affinity = process.exec_cpu_affinity
    initial = identity.parse_affinity(affinity)[0] if affinity is not None else None
    if initial:
        steps.append(About("error setting initial CPU affinity", SetCpuAffinity(initial)))
    if process.oom_score_adj is not None:
        steps.append(WriteFile(None, "/proc/self/oom_score_adj", str(process.oom_score_adj).encode()))
    steps += [JoinCgroup(procs_slot(n)) for n in range(options.cgroup_procs)]
    # The processes of the container see this one as soon as it is in their pid namespace.
    return (*steps, SetDumpable(False))


def _plan_terminal(options: ExecOptions) -> tuple[Step, ...]:
    if not options.ending.terminal:
        return ()
    opened = (Open(_ROOT, None, "/"), OpenTerminal(_ROOT, MASTER, PEER, options.rows, options.columns))
    if options.console_socket:
        return (*opened, SendTo(CONSOLE_SOCKET, MASTER, b"/dev/ptmx"))
    return (*opened, SendDescriptor(MASTER))
