"""`process` of config.json: what is executed, as whom, with which privileges and limits."""

# Annotations are objects here, not texts: see `document`.

import msgspec

from .document import Document, Int32, UInt16, UInt32, UInt64


class ConsoleSize(Document, frozen=True):
    """Rows and columns of the terminal."""

    height: UInt16
    width: UInt16


class User(Document, frozen=True):
    """Credentials, as ids of the container's user namespace. `umask` None leaves the runtime's 0022."""

    uid: UInt32 = 0
    gid: UInt32 = 0
    umask: UInt32 | None = None
    additional_gids: tuple[UInt32, ...] = ()
    username: str = ""


class Capabilities(Document, frozen=True):
    """Names such as CAP_CHOWN, per set."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Document, frozen=True):
    """`type` is RLIMIT_NOFILE and the like; 2**64-1 is no limit."""

    type: str
    soft: UInt64 = 0
    hard: UInt64 = 0


class Scheduler(Document, frozen=True):
    """sched_setattr(2); times in nanoseconds."""

    policy: str
    nice: Int32 = 0
    priority: UInt32 = 0
    flags: tuple[str, ...] = ()
    runtime: UInt64 | None = None
    deadline: UInt64 | None = None
    period: UInt64 | None = None


class IoPriority(Document, frozen=True, rename={"io_class": "class"}):
    """ioprio_set(2): class IOPRIO_CLASS_RT, _BE or _IDLE, priority 0 to 7."""

    io_class: str
    priority: int = 0


class ExecCpuAffinity(Document, frozen=True):
    """CPU lists such as 0-3,7: `initial` before the process joins its cgroup, `final` after."""

    initial: str = ""
    final: str = ""


class Process(Document, frozen=True):
    """A process to start in a container."""

    args: tuple[str, ...] = ()
    cwd: str = ""
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = User()
    env: tuple[str, ...] = ()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    selinux_label: str = ""
    io_priority: IoPriority | None = None
    exec_cpu_affinity: ExecCpuAffinity | None = msgspec.field(default=None, name="execCPUAffinity")
