"""config.json → Plan of the container's first process.

    join cgroup · namespaces · IDMAP · container root · root tree · mounts · nodes · HOOKS · createContainer hooks ·
    terminal · pivot_root · names, sysctls, masked and read-only paths · identity, seccomp · RELEASE · start barrier ·
    startContainer hooks · exec

The root tree is mounted over the rootfs's own path in the container's mount namespace, so that hooks see the runtime
namespace with the complete container in its place, until pivot_root.

Everything up to RELEASE can fail with a step that the caller sees; nothing is left for later that could be done before.
While it waits to be started, the process has the privileges of the container and no more, is under its seccomp filter,
and holds nothing of the runtime namespace but what it was given: others may be in its pid namespace by then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from .. import errors
from ..spec.check import sysctl_path
from ..spec.config import Hook, Spec
from ..spec.linux import NamespaceType
from ..spec.mount_options import PROPAGATION
from ..spec.process import Process
from . import abi, identity, labels, mounts, namespaces, nodes, numbers
from .abi import MountAttribute, Namespace, Propagation, Resolve
from .attributes import plan_propagation
from .code import MAX_RECEIVED, Slot
from .facts import CgroupMount, HostFacts
from .identity import Ending
from .plan import (
    CONSOLE_SOCKET,
    CREATE_STATE,
    FIFO,
    HOOKS,
    IDMAP,
    MASTER,
    MOUNTS,
    NULL,
    PEER,
    PLACE,
    ROOT,
    START_STATE,
    IdMaps,
    Opening,
    OpenMount,
    Plan,
    clean,
    procs_slot,
)
from .program import About, Program, Step
from .setup import Setup
from .steps import (
    AttachMount,
    AwaitStart,
    Barrier,
    ChangeRoot,
    CheckDevice,
    CheckFilesystem,
    EnterDirectory,
    HideMount,
    JoinCgroup,
    JoinKeyring,
    MakeDirectories,
    MaskPath,
    MoveRoot,
    Open,
    OpenPlace,
    OpenTerminal,
    OpenTree,
    PivotRoot,
    RaiseLoopback,
    ReadonlyPath,
    Release,
    RunHook,
    SendDescriptor,
    SendTo,
    SetDomainname,
    SetDumpable,
    SetHostname,
    SetMountAttributes,
    SetPropagation,
    SetUser,
    Spawn,
    Umask,
    Unshare,
    WriteFile,
)

_NEW_ROOT = Slot("new-root")
_SYSCTL = Slot("sysctl")
_MOST_OPENED = 128  # before the clone; each is a descriptor of the parent and of the process


class CreateOptions(msgspec.Struct, frozen=True):
    """What `create` is asked beside the Spec. `cgroup_procs`: how many slots `procs_slot(n)` there are to join.

    `kernel_mounts`: where the runtime namespace has a whole procfs or sysfs, for `no_pivot` alone.
    """

    id: str
    bundle: str
    rootfs: str
    ending: Ending
    cgroup_procs: int = 0
    cgroup_directory: Slot | None = None
    cgroup_paths: tuple[tuple[CgroupMount, str], ...] = ()
    tmpfs_modes: dict[str, int] = {}
    dev_is_mounted: bool = False
    kernel_mounts: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    console_socket: bool = False
    no_pivot: bool = False
    no_new_keyring: bool = False
    idmap_root: bool = False
    owned_by_joined_user: frozenset[NamespaceType] = frozenset()


def plan_create(spec: Spec, facts: HostFacts, options: CreateOptions) -> Plan:
    """The whole of it. SpecError for what the Spec asks and cannot have."""
    process = identity.NO_PROCESS if spec.process is None else spec.process
    if process.exec_cpu_affinity is not None:
        identity.parse_affinity(process.exec_cpu_affinity)
    # Of processes that are executed in a container, the specification says, and not of its first.
    process = msgspec.structs.replace(process, exec_cpu_affinity=None)
    if facts.is_rootless:
        from . import rootless  # few are

        rootless.check_rootless(spec)
    _check_host(spec, facts, options)
    entry = namespaces.plan_entry(spec.linux, options.owned_by_joined_user)
    if spec.process is not None:
        identity.check_mapped(process.user, spec.linux)
    setup = Setup(
        spec, facts, entry, options.bundle, options.rootfs, options.cgroup_paths, options.tmpfs_modes,
        options.dev_is_mounted,
    )  # fmt: skip
    root = _plan_root(setup, options)
    maps = IdMaps(spec.linux.uid_mappings, spec.linux.gid_mappings) if setup.owns(NamespaceType.USER) else None
    limits = identity.plan_limits(process.rlimits)
    # The process that stays is the one that is cloned into the cgroup. But within a user namespace that was joined
    # nobody may be: the first process is, then, and the second inherits it.
    clones_first = Namespace.USER in entry.joined or not any(isinstance(step, Spawn) for step in entry.steps)
    security = labels.plan_labels(process, facts)
    # Root of a new user namespace may not raise limits; its parent may.
    own_limits = () if setup.has(NamespaceType.USER) else identity.plan_own_limits(limits)
    steps: tuple[Step, ...] = (
        *_plan_first(process, options),
        *security.holds,
        *_with_cgroup(entry.steps, None if clones_first else options.cgroup_directory),
        *security.opens,
        *_plan_container_root(setup, maps, options),
        *root.steps,
        *_plan_names(setup),
        *identity.plan_descriptors(process, options.ending),
        *security.writes,
        *own_limits,
        *identity.plan_identity(process, options.ending, facts),
        *identity.plan_filter(process, options.ending, facts),
        Release(),
        *identity.plan_given(options.ending.filter),
        AwaitStart(FIFO),
        *_plan_hooks("startContainer", spec.hooks.start_container, START_STATE, options.ending.environment),
        *identity.plan_exec(process, options.ending, holds=(FIFO,)),
    )
    return Plan(
        program=Program(steps, entry.cloned, options.cgroup_directory if clones_first else None),
        openings=(*entry.openings, *root.openings),
        handed=root.handed,
        idmaps=maps,
        limits=limits if setup.has(NamespaceType.USER) else (),
        net_devices=tuple((name, device.name or name) for name, device in spec.linux.net_devices.items()),
        new_namespaces=entry.new,
    )


def _check_host(spec: Spec, facts: HostFacts, options: CreateOptions) -> None:
    """What this host cannot do, or not safely, must not be left out in silence."""
    if options.no_pivot and spec.linux.rootfs_propagation in {"private", "rprivate"}:
        raise errors.SpecError(
            "$.linux.rootfsPropagation", "rootfsPropagation of [r]private is not safe without pivot_root"
        )
    if spec.linux.mount_label and "selinux" not in facts.lsms:
        raise errors.HostError(f"set mount label {spec.linux.mount_label}: selinux is not enabled on this host")
    missing = {numbers.NAMESPACES[n.type][1] for n in spec.linux.namespaces} - facts.namespaces
    if missing:
        raise errors.HostError(f"no {', '.join(sorted(missing))} namespaces in this kernel")


# ---- before the root ------------------------------------------------------------------------------------------------


def _plan_first(process: Process, options: CreateOptions) -> tuple[Step, ...]:
    """With the caller's privileges: they are gone in a user namespace."""
    steps: list[Step] = [Umask(0o022)]
    if process.oom_score_adj is not None:
        steps.append(WriteFile(None, "/proc/self/oom_score_adj", str(process.oom_score_adj).encode()))
    return (*steps, *(JoinCgroup(procs_slot(n)) for n in range(options.cgroup_procs)))


def _with_cgroup(steps: tuple[Step, ...], cgroup: Slot | None) -> tuple[Step, ...]:
    return tuple(Spawn(step.namespaces, cgroup) if isinstance(step, Spawn) else step for step in steps)


def _plan_container_root(setup: Setup, maps: IdMaps | None, options: CreateOptions) -> tuple[Step, ...]:
    """Become uid 0 of the user namespace, enter the cgroup namespace."""
    steps: list[Step] = []
    if maps is not None:
        steps.append(Barrier(IDMAP))
    if setup.has(NamespaceType.MOUNT) or setup.spec.mounts:
        # Before it is root of its user namespace, who may not be allowed to reach the path.
        steps.append(OpenPlace(PLACE, options.rootfs))
    if setup.has(NamespaceType.USER):
        steps += [*identity.plan_groups((), setup.facts), SetUser(0, 0)]
    else:
        steps.append(SetDumpable(False))
    if setup.entry.late:
        steps.append(Unshare(setup.entry.late))
    if setup.owns(NamespaceType.NETWORK):
        steps.append(RaiseLoopback())
    if not options.no_new_keyring:
        steps.append(JoinKeyring(f"_ses.{options.id}"))
    return tuple(steps)


# ---- the root -------------------------------------------------------------------------------------------------------


class _Root(msgspec.Struct, frozen=True):
    """What the root takes: `openings` before the clone, `handed` at barriers, and steps."""

    openings: tuple[Opening, ...]
    steps: tuple[Step, ...]
    handed: tuple[tuple[str, tuple[Opening, ...]], ...] = ()


def _plan_root(setup: Setup, options: CreateOptions) -> _Root:
    spec = setup.spec
    if not setup.has(NamespaceType.MOUNT) and not spec.mounts:
        return _plan_shared_root(setup, options)
    idmap = mounts.container_idmap(spec.linux) if options.idmap_root else None
    rootfs = OpenMount(ROOT, options.rootfs, True, idmap, subject=f"$.root.path: rootfs {options.rootfs}")
    plans = [mounts.plan_mount(index, mount, setup) for index, mount in enumerate(spec.mounts)]
    mounted = _plan_mounted(plans, setup)
    node_openings, node_steps = nodes.plan_nodes(setup)
    steps: tuple[Step, ...] = (
        *_plan_tree(setup),
        *mounted.steps,
        *node_steps,
        *_plan_runtime_hooks(setup),
        # As in runc, whose hooks find the rootfs as their working directory.
        *((EnterDirectory(ROOT),) if spec.hooks.create_container else ()),
        *_plan_hooks("createContainer", spec.hooks.create_container, CREATE_STATE),
        *_plan_terminal(ROOT, options, console=True),
        *_plan_cwd(spec),
        *(step for plan in plans for step in plan.late),
        *_plan_pivot(setup, options),
        *_plan_sysctls(spec),
        *_plan_covers(setup),
        *_plan_propagation(spec),
    )
    openings = (rootfs, *mounted.openings, *node_openings)
    return _Root(*_plan_copies(openings, setup, steps), mounted.handed)


def _plan_mounted(plans: list[mounts.MountPlan], setup: Setup) -> _Root:
    """The mounts. Descriptors are few and mounts may be thousands, so then the parent opens some at a time."""
    openings = tuple(opening for plan in plans for opening in plan.openings)
    if len(openings) <= _MOST_OPENED or _copies_itself(setup):
        return _Root(openings, tuple(step for plan in plans for step in plan.steps))
    handed: list[tuple[str, tuple[Opening, ...]]] = []
    steps: list[Step] = []
    for group in _grouped(plans):
        opened = tuple(opening for plan in group for opening in plan.openings)
        if opened:
            name = f"{MOUNTS} {len(handed) + 1}"
            handed.append((name, opened))
            steps.append(Barrier(name, tuple(opening.slot for opening in opened)))
        steps += (step for plan in group for step in plan.steps)
    return _Root((), tuple(steps), tuple(handed))


def _grouped(plans: list[mounts.MountPlan]) -> Iterator[list[mounts.MountPlan]]:
    """In their order, so many that one barrier can hand in what they want opened."""
    group: list[mounts.MountPlan] = []
    count = 0
    for plan in plans:
        if count + len(plan.openings) > MAX_RECEIVED:
            yield group
            group, count = [], 0
        group.append(plan)
        count += len(plan.openings)
    yield group


def _copies_itself(setup: Setup) -> bool:
    """Whether the process copies mounts, and not its parent.

    Without root's privileges only the process in its new user namespace can; and in a mount namespace that is joined
    by path all paths are those of that namespace.
    """
    return setup.facts.is_rootless or Namespace.MOUNT in setup.entry.joined


def _plan_copies(
    openings: tuple[Opening, ...], setup: Setup, steps: tuple[Step, ...]
) -> tuple[tuple[Opening, ...], tuple[Step, ...]]:
    """Who copies mounts: the parent, from the runtime namespace, or else the process. To idmap, only the parent can."""
    if not _copies_itself(setup):
        return openings, steps
    plain = [opening for opening in openings if isinstance(opening, OpenMount) and not opening.idmap]
    by_parent = tuple(opening for opening in openings if not isinstance(opening, OpenMount) or opening.idmap)
    if by_parent and setup.facts.is_rootless:
        raise errors.HostError("idmap a mount: only root may")
    copies = (About(o.subject or o.describe(), OpenTree(o.slot, None, o.path, o.recursive)) for o in plain)
    return by_parent, (*copies, *steps)


def _plan_tree(setup: Setup) -> tuple[Step, ...]:
    """Mount the tree over the rootfs."""
    if not setup.has(NamespaceType.MOUNT):
        # Others see it there; what is mounted in it stays among them, and goes with it.
        private = SetMountAttributes(ROOT, propagation=Propagation.PRIVATE, recursive=True)
        return private, AttachMount(ROOT, PLACE, ""), private
    inherited = mounts.root_propagation(setup.spec)
    # pivot_root refuses where a mount or an unmount would be shared.
    parent = Propagation.PRIVATE if inherited is Propagation.UNBINDABLE else inherited
    parent = Propagation.SLAVE if parent is Propagation.SHARED else parent
    return (
        SetPropagation("/", parent),
        *mounts.inherited_propagation(ROOT, setup),
        # A root that is a slave stays one, of the mount that the rootfs is on; any other is nobody's.
        *(() if _keeps_master(setup.spec) else (SetMountAttributes(ROOT, propagation=Propagation.PRIVATE),)),
        AttachMount(ROOT, PLACE, ""),
    )


def _keeps_master(spec: Spec) -> bool:
    return spec.linux.rootfs_propagation in {"slave", "rslave"}


def _plan_pivot(setup: Setup, options: CreateOptions) -> tuple[Step, ...]:
    root = setup.spec.root
    steps: list[Step] = []
    if root is not None and root.readonly:
        steps.append(SetMountAttributes(ROOT, MountAttribute.RDONLY))
    if not setup.has(NamespaceType.MOUNT):
        return (*steps, ChangeRoot(ROOT))
    if not options.no_pivot:
        return (*steps, PivotRoot(ROOT))
    # What is beneath the new root stays mounted, and a whole procfs there would let the container mount another.
    return (*steps, *(HideMount(path) for path in options.kernel_mounts), MoveRoot(ROOT), ChangeRoot(ROOT))


def _plan_propagation(spec: Spec) -> tuple[Step, ...]:
    """At the very end: what is unbindable cannot be made read-only any more. The others are what they are to be."""
    text = spec.linux.rootfs_propagation
    if text.removeprefix("r") not in {"shared", "unbindable"}:
        return ()
    return (SetPropagation("/", *plan_propagation(PROPAGATION[text])),)


def _plan_shared_root(setup: Setup, options: CreateOptions) -> _Root:
    """Without a mount namespace, and without mounts, the rootfs is entered as it is."""
    root = (Open(ROOT, None, options.rootfs), *_plan_terminal(ROOT, options, console=False))
    return _Root((), (*_plan_runtime_hooks(setup), *root, ChangeRoot(ROOT), *_plan_sysctls(setup.spec)))


def _plan_terminal(root: Slot, options: CreateOptions, console: bool) -> tuple[Step, ...]:
    if not options.ending.terminal:
        return ()
    path = "dev/console" if console else None
    opened = OpenTerminal(root, MASTER, PEER, options.rows, options.columns, console=path)
    if options.console_socket:
        return opened, SendTo(CONSOLE_SOCKET, MASTER, b"/dev/ptmx")
    return opened, SendDescriptor(MASTER)


def _plan_runtime_hooks(setup: Setup) -> tuple[Step, ...]:
    """The parent runs prestart and createRuntime hooks, and knows the pid to tell the hooks that run inside."""
    spec = setup.spec
    receives = []
    if spec.hooks.create_container:
        receives.append(CREATE_STATE)
    if spec.hooks.start_container:
        receives.append(START_STATE)
    if receives or spec.hooks.prestart or spec.hooks.create_runtime or spec.linux.net_devices:
        return (Barrier(HOOKS, tuple(receives)),)
    return ()


def _plan_hooks(kind: str, hooks: tuple[Hook, ...], state: Slot, environment: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """`environment` is for those that name none of their own. What fails is told in the words of runc."""
    return tuple(
        RunHook(
            hook.path,
            hook.args or (hook.path,),
            hook.env or environment,
            state,
            (hook.timeout or 0) * 1000,
            f"error running {kind} hook #{index}: {hook.path}",
        )
        for index, hook in enumerate(hooks)
    )


# ---- inside the root ------------------------------------------------------------------------------------------------


def _plan_names(setup: Setup) -> tuple[Step, ...]:
    spec = setup.spec
    steps: list[Step] = []
    if spec.hostname:
        steps.append(SetHostname(spec.hostname))
    if spec.domainname:
        steps.append(SetDomainname(spec.domainname))
    steps += identity.plan_domain(spec.linux)
    return tuple(steps)


def _plan_sysctls(spec: Spec) -> tuple[Step, ...]:
    """Through a descriptor of the true /proc/sys, so that nothing in the rootfs takes the write (CVE-2025-52881)."""
    if not spec.linux.sysctl:
        return ()
    inside = Resolve.BENEATH | Resolve.NO_XDEV | Resolve.NO_SYMLINKS
    return (
        Open(_SYSCTL, None, "/proc/sys", abi.O_PATH | os.O_DIRECTORY, resolve=Resolve.NO_SYMLINKS),
        CheckFilesystem(_SYSCTL, "procfs", abi.PROC_SUPER_MAGIC),
        *(
            About(
                f'failed to write sysctl {name} = "{value}"',
                WriteFile(_SYSCTL, sysctl_path(name), value.encode(), resolve=inside),
            )
            for name, value in spec.linux.sysctl.items()
        ),
    )


def _plan_covers(setup: Setup) -> tuple[Step, ...]:
    """Masked and read-only paths, by what is mounted now; a mount of the old root could not be copied any more."""
    linux = setup.spec.linux
    if not (linux.masked_paths or linux.readonly_paths):
        return ()
    steps: list[Step] = [Open(_NEW_ROOT, None, "/")]
    steps += [_plan_readonly(path) for path in linux.readonly_paths]
    # A rootfs may bring another /dev/null, whose content would then lie, writable, on the masked path (CVE-2025-31133).
    steps += [Open(NULL, _NEW_ROOT, "dev/null"), CheckDevice(NULL, 1, 3)] if linux.masked_paths else []
    steps += [MaskPath(_NEW_ROOT, path.lstrip("/"), NULL) for path in linux.masked_paths]
    return tuple(steps)


def _plan_readonly(path: str) -> Step:
    """What lay on the root would cover nothing for who has the root itself: it is the mount that is read-only then."""
    if clean(path) == "/":
        return SetMountAttributes(_NEW_ROOT, MountAttribute.RDONLY)
    return ReadonlyPath(_NEW_ROOT, path.lstrip("/"))


def _plan_cwd(spec: Spec) -> tuple[Step, ...]:
    path = (spec.process.cwd if spec.process else "").strip("/")
    return (About(f'chdir to cwd ("/{path}") set in config.json failed', MakeDirectories(ROOT, path)),) if path else ()
