"""What a process of a sprite tries against its machine, its host and its neighbours. Runs in the sprite, by its Python.

    python3 inside.py            every probe, one JSON line each: {"name": …, "broken": "" or what gave way}

A probe returns "" when the wall held. It uses nothing but the standard library and system calls, and never asks what
pilot says about itself. `@root_only` ones are nothing that a user could even begin with.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

Probe = Callable[[], str]
PROBES: dict[str, Probe] = {}
ROOT_ONLY: set[str] = set()
LAST: list[str] = []  # these take things away from the sprite itself

_libc = ctypes.CDLL(None, use_errno=True)
_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS}
_NR = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "mknod": 133, "quotactl": 179, "acct": 163, "settimeofday": 164, "mount": 165,
        "umount2": 166, "iopl": 172, "init_module": 175, "delete_module": 176, "quotactl_fd": 443, "clock_settime": 227,
        "kexec_load": 246, "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "finit_module": 313, "bpf": 321, "open_tree": 428, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
        "mount_setattr": 442, "statmount": 457, "listmount": 458, "fanotify_init": 300,
    },
    "aarch64": {
        "ptrace": 117, "syslog": 116, "quotactl": 60, "acct": 89, "settimeofday": 170, "mount": 40, "umount2": 39,
        "init_module": 105, "delete_module": 106, "quotactl_fd": 443, "clock_settime": 112, "kexec_load": 104,
        "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "finit_module": 273,
        "bpf": 280, "open_tree": 428, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "mount_setattr": 442,
        "statmount": 457, "listmount": 458, "fanotify_init": 262,
    },
}[os.uname().machine]  # fmt: skip


def probe(function: Probe) -> Probe:
    PROBES[function.__name__] = function
    return function


def root_only(function: Probe) -> Probe:
    ROOT_ONLY.add(function.__name__)
    return function


def at_last(function: Probe) -> Probe:
    LAST.append(function.__name__)
    return function


def call(name: str, *arguments: object) -> int:
    """The system call's result, or minus its errno."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(_NR[name]), *words))
    return result if result >= 0 else -ctypes.get_errno()


def allowed(name: str, *arguments: object, held: frozenset[int] = frozenset()) -> str:
    """ "" when it was refused, by one of the errors that mean it or one of `held`."""
    result = call(name, *arguments)
    if result < 0 and -result in _REFUSED | held:
        return ""
    return f"{name}: {result if result >= 0 else errno.errorcode.get(-result, result)}"


def can_open(path: str, flags: int) -> bool:
    try:
        os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def in_child(function: Probe) -> str:
    """What it returns, in a process of its own, whose namespaces and root it may change."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = function()
        except Exception as error:  # noqa: BLE001 - the parent tells it
            said = f"the probe failed: {error!r}"
        os.write(writing, said.encode()[:60000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return said


# ---- processes and what they have open ------------------------------------------------------------------------------


@probe
def descriptors_of_the_first_process() -> str:
    """Of the world's PID 1 there is nothing to take but its own signalfd and tables."""
    own = {"/dev/null", "anon_inode:[signalfd]", "/memfd:pilot-store (deleted)"}
    try:
        found = {os.readlink(f"/proc/1/fd/{name}") for name in os.listdir("/proc/1/fd")}
    except PermissionError:
        return ""
    return "" if found <= own else f"/proc/1/fd: {found - own}"


@probe
def descriptors_of_a_session() -> str:
    """A session is given three descriptors, no more."""
    beyond = [f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}" for fd in INHERITED if fd > 2]
    return ", ".join(beyond)


@probe
def roots_of_processes() -> str:
    """Every /proc/<pid>/root is ours, and every namespace of the first process too."""
    own = os.stat("/")
    for pid in pids():
        for what in ("root", "root/..", "cwd/../../../../../.."):
            try:
                found = os.stat(f"/proc/{pid}/{what}")
            except OSError:
                continue
            if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
                return f"/proc/{pid}/{what} is another root"
    for kind in ("mnt", "pid", "user", "net", "ipc", "uts", "cgroup"):
        try:
            if os.readlink(f"/proc/1/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"):
                return f"/proc/1/ns/{kind} is another"
        except PermissionError:
            continue
    return ""


@probe
@root_only
def chroot_and_up() -> str:
    """The oldest escape: a descriptor outside of a root, then up as far as it goes."""

    def climb() -> str:
        own, fd = os.stat("/"), os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.chroot(tempfile.mkdtemp())
        os.fchdir(fd)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
        found = os.stat("/")
        return "" if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino) else "climbed above the root"

    return in_child(climb)


@probe
@root_only
def namespaces_outside() -> str:
    """Whoever owns ours, their parents, their neighbours: by ioctl, by handle, by number."""
    get_userns, get_parent, mnt_next, mnt_prev = 0xB701, 0xB702, 0x8010B70B, 0x8010B70C
    broken = []
    for kind, request in (
        ("user", get_parent), ("user", get_userns), ("net", get_userns), ("pid", get_parent),
        ("mnt", mnt_next), ("mnt", mnt_prev),
    ):  # fmt: skip
        with open(f"/proc/self/ns/{kind}", "rb") as namespace:
            try:
                fd = fcntl.ioctl(namespace, request, bytes(16) if request in (mnt_next, mnt_prev) else 0)
            except OSError:
                continue
            if kind == "net" and os.fstat(int(fd)).st_ino == os.stat("/proc/self/ns/user").st_ino:
                continue  # the world's network belongs to the world
            broken.append(f"{kind} {request:x}: {fd!r}")
    return ", ".join(broken)


def _handle(kind: int, data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack("Ii", len(data), kind) + data)


@probe
@root_only
def handles_of_namespaces_and_processes() -> str:
    """open_by_handle_at on nsfs (Linux 6.18) and pidfs (6.14), whose ids are small numbers that can be counted up."""
    nsfs_root, pidfs_root = -10003, -10002
    own = {os.stat(f"/proc/self/ns/{kind}").st_ino for kind in os.listdir("/proc/self/ns")}
    broken = []
    for kind, handle in _handles_of_namespaces():
        fd = call("open_by_handle_at", nsfs_root, _handle(kind, handle), os.O_RDONLY)
        if fd < 0:
            continue
        if os.fstat(fd).st_ino not in own:
            broken.append("namespace {} of kind {:x}, inode {:x}".format(*struct.unpack("QII", handle)))
        os.close(fd)
    kind, number = _handle_of(os.pidfd_open(os.getpid()), b"")
    for each in _around(number) if kind else ():
        fd = call("open_by_handle_at", pidfs_root, _handle(kind, struct.pack("Q", each)), os.O_RDONLY)
        if fd < 0:
            continue
        with open(f"/proc/self/fdinfo/{fd}") as lines:
            pid = next(line.split()[1] for line in lines if line.startswith("Pid:"))
        os.close(fd)
        if pid == "0":
            broken.append(f"pidfd {each}, of a process that is not here")
    return ", ".join(broken[:5])


# Kind of namespace → inode number of the first one (include/uapi/linux/nsfs.h).
_FIRST_NAMESPACES = {
    0x08000000: 0xEFFFFFFF, 0x04000000: 0xEFFFFFFE, 0x10000000: 0xEFFFFFFD, 0x20000000: 0xEFFFFFFC,
    0x02000000: 0xEFFFFFFB, 0x00000080: 0xEFFFFFFA, 0x40000000: 0xEFFFFFF9, 0x00020000: 0xEFFFFFF8,
}  # fmt: skip


def _handles_of_namespaces() -> Iterator[tuple[int, bytes]]:
    """(type, handle): id, kind and inode number of the host's own, and of those that were made about when ours were."""
    for path in (b"/proc/self/ns/mnt", b"/proc/self/ns/user", b"/proc/self/ns/net"):
        kind, number = _handle_of(-100, path)
        if not kind:
            return
        inode = os.stat(path).st_ino
        for namespace, first in _FIRST_NAMESPACES.items():
            for each in range(1, 17):
                yield kind, struct.pack("QII", each, namespace, first)
            for each in range(number - 24, number + 24):
                for near in range(inode - 24, inode + 24):
                    yield kind, struct.pack("QII", each, namespace, near)


def _around(number: int) -> Iterator[int]:
    yield from range(1, 64)
    yield from range(max(number - 2000, 64), number + 2000)


def _handle_of(directory_fd: int, path: bytes) -> tuple[int, int]:
    """The type of its handle (0: it has none) and the first number in it."""
    empty_path, handle_fid = 0x1000, 0x200
    buffer, mount_id = _handle(0, bytes(128)), ctypes.c_int()
    struct.pack_into("I", buffer, 0, 128)
    flags = 0x400 if path else empty_path | handle_fid
    if call("name_to_handle_at", directory_fd, path, buffer, ctypes.byref(mount_id), flags) < 0:
        return 0, 0
    return struct.unpack_from("i", buffer, 4)[0], struct.unpack_from("Q", buffer, 8)[0]


@probe
@root_only
def handles_of_host_files() -> str:
    """What is bound in from another disk is one file, not the way to the disk's root (inode 2)."""
    broken = []
    with open("/proc/self/mountinfo") as lines:
        places = {line.split()[4] for line in lines}
    for place in places:
        try:
            fd = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            for inode in (2, 12, 128, 256):
                got = call("open_by_handle_at", fd, _handle(1, struct.pack("II", inode, 0)), os.O_RDONLY)
                if got >= 0:
                    broken.append(f"inode {inode} of what {place} is on")
                    os.close(got)
        os.close(fd)
    return ", ".join(broken)


@probe
@root_only
def mounts_of_others() -> str:
    """statmount and listmount by the numbers of other mount namespaces."""
    with open("/proc/self/ns/mnt", "rb") as namespace:
        own = struct.unpack("Q", fcntl.ioctl(namespace, 0x8008B705, bytes(8)))[0]
    ids = (ctypes.c_uint64 * 16)()
    for number in (*range(1, 64), *range(max(own - 400, 1), own + 400)):
        request = ctypes.create_string_buffer(struct.pack("IIQQQ", 32, 0, 0xFFFFFFFFFFFFFFFF, 0, number))
        if number != own and call("listmount", request, ids, 16, 0) > 0:
            return f"listmount of namespace {number}"
    return ""


@probe
def sockets_with_abstract_names() -> str:
    """Nothing of init or agent may be spoken to by an abstract name, which belongs to a network namespace."""
    broken = []
    with open("/proc/net/unix") as lines:
        names = {line.split()[7] for line in lines if len(line.split()) > 7}
    for name in names:
        address = "\0" + name[1:] if name.startswith("@") else name
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as attempt:
                attempt.setblocking(False)
                try:
                    attempt.connect(address)
                except (OSError, ValueError):
                    continue
                broken.append(name)
    return ", ".join(broken)


@probe
def ports_of_the_machine() -> str:
    """Nothing of pilot listens on TCP or UDP in the network of the world."""
    listening = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as lines:
            listening += [line.split()[1] for line in list(lines)[1:] if line.split()[3] == "0A"]
    return ", ".join(listening)


# ---- the kernel -----------------------------------------------------------------------------------------------------


@probe
def kernel_memory_and_logs() -> str:
    paths = ("/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/proc/kmsg", "/proc/kpageflags",
             "/proc/kpagecount", "/sys/kernel/debug", "/sys/kernel/tracing/trace", "/proc/vmcore")  # fmt: skip
    found = [path for path in paths if can_open(path, os.O_RDONLY) and (not os.path.isdir(path) or os.listdir(path))]
    with open("/proc/kallsyms") as lines:
        first = lines.readline().split()
    if first and int(first[0], 16):
        found.append("addresses in /proc/kallsyms")
    if not allowed("syslog", 3, ctypes.create_string_buffer(4096), 4096):
        return ", ".join(found)
    return ", ".join([*found, "syslog(2)"])


def _files(top: str, deepest: int) -> Iterator[str]:
    """Below the mount `top`; links are not followed."""
    if deepest < 0:
        return
    try:
        entries = list(os.scandir(top))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, deepest - 1)
        elif entry.is_file(follow_symlinks=False):
            yield entry.path


# Of the namespaces that the world owns (network, uts, ipc, pid, user): these may be set, and are nobody else's.
_OWN_SYSCTLS = re.compile(
    r"/proc/sys/(kernel/(hostname|domainname|shm|msg|sem|auto_msgmni|ns_last_pid|pid_max)|fs/mqueue/|user/max_|net/)"
)


@probe
def sysctls() -> str:
    """No sysctl can be opened for writing but those of the world's own namespaces."""
    found = [path for path in _files("/proc/sys", 8) if not _OWN_SYSCTLS.match(path) and can_open(path, os.O_WRONLY)]
    others = (
        "/proc/sysrq-trigger",
        "/proc/mtrr",
        "/proc/bus/pci",
        "/proc/irq/default_smp_affinity",
        "/proc/timer_list",
    )
    found += [path for path in others if can_open(path, os.O_WRONLY)]
    found.sort(key=lambda path: "core_pattern" not in path)  # the worst first: a program that the kernel runs as root
    return ", ".join(found[:10])


@probe
@root_only
def sysfs_made_writable() -> str:
    """Nothing of the kernel's is written but what belongs to the world's own network."""

    def try_all() -> str:
        attributes = struct.pack("QQQQ", 0, 1, 0, 0)
        call("mount_setattr", -100, b"/sys", 0, attributes, 32)
        try:
            return ", ".join([path for path in _files("/sys", 5) if _rewrite(path)][:5])
        finally:
            call("mount_setattr", -100, b"/sys", 0, struct.pack("QQQQ", 1, 0, 0, 0), 32)

    return in_child(try_all)


# The world's own cgroups, and its own network devices.
_OWN_IN_SYSFS = re.compile(r"/sys/fs/cgroup/|/sys/devices/.*/net/[^/]+/")


def _rewrite(path: str) -> bool:
    """Whether what it says can be written back."""
    if _OWN_IN_SYSFS.match(path):
        return False
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, os.pread(fd, 4096, 0) or b"0")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


@probe
def modules_and_other_kernels() -> str:
    held = frozenset({errno.ENOENT, errno.ENOEXEC})
    tries = [
        allowed("init_module", b"", 0, b""), allowed("finit_module", 0, b"", 0),
        allowed("delete_module", b"none", 0), allowed("kexec_load", 0, 0, 0, 0), allowed("acct", b"/tmp/acct"),
        allowed("quotactl", 0x80000200, b"/dev/root", 0, 0, held=held | {errno.ENODEV, errno.ENOTBLK}),
    ]  # fmt: skip
    if "iopl" in _NR:
        tries.append(allowed("iopl", 3))
    return ", ".join(filter(None, tries))


@probe
def the_clock() -> str:
    """Time is the host's."""
    now = struct.pack("qq", int(time.time()), 0)
    tries = (allowed("clock_settime", 0, now), allowed("settimeofday", now, 0))
    return ", ".join(filter(None, tries))


@probe
def bpf_and_perf() -> str:
    """Programs in the kernel, and events of the whole machine."""
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into("IIII", attributes, 0, 2, 4, 4, 1)
    tries = [allowed("bpf", command, attributes, 128) for command in (0, 5)]
    event = ctypes.create_string_buffer(128)
    struct.pack_into("IIQ", event, 0, 1, 128, 0)
    tries.append(allowed("perf_event_open", event, -1, 0, -1, 0, held=frozenset({errno.ENOENT, errno.EOPNOTSUPP})))
    return ", ".join(filter(None, tries))


@probe
def fanotify_of_a_filesystem() -> str:
    """Marks on a whole filesystem, or answers to permission events, would hold up others."""
    content, pre_content = 4, 8
    return ", ".join(filter(None, (allowed("fanotify_init", flags, 0) for flags in (content, pre_content))))


@probe
def priorities() -> str:
    """Real-time scheduling, a lower nice value, or an exemption from the OOM killer would be taken from others."""

    def rise() -> str:
        tries: dict[str, Callable[[], object]] = {
            "SCHED_FIFO": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
            "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
            "oom_score_adj": _exempt,
        }
        got = []
        for name, attempt in tries.items():
            try:
                attempt()
            except OSError:
                continue
            got.append(name)
        return ", ".join(got)

    return in_child(rise)


def _exempt() -> None:
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("-1000")


# ---- devices, filesystems, mounts -----------------------------------------------------------------------------------

_DEVICES = {"fd", "full", "fuse", "mqueue", "net", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
            "tty", "urandom", "zero", "console", "core"}  # fmt: skip


@probe
def device_nodes() -> str:
    """None of the host's disks is there, and none can be made."""
    found = [f"/dev/{name}" for name in set(os.listdir("/dev")) - _DEVICES]
    for kind in (stat.S_IFBLK, stat.S_IFCHR):
        for major, minor in ((254, 0), (7, 0), (8, 0), (1, 1), (10, 237)):
            path = os.path.join(tempfile.mkdtemp(), "node")
            try:
                os.mknod(path, kind | 0o600, os.makedev(major, minor))
            except OSError:
                continue
            if can_open(path, os.O_RDONLY):
                found.append(f"node {major}:{minor}")
            os.unlink(path)
    return ", ".join(found)


# Filesystems whose data is the caller's own, or of the world's namespaces.
_HARMLESS = {"tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "cpuset",
             "overlay", "fuse", "bpf", "binfmt_misc"}  # fmt: skip


@probe
@root_only
def filesystems_of_the_host() -> str:
    """Of the kernel's filesystems, root of the world can make those alone that hold nothing of anybody else."""
    with open("/proc/filesystems") as lines:
        names = [line.split()[-1] for line in lines]
    made = []
    for name in names:
        fd = call("fsopen", name.encode(), 1)
        if fd < 0:
            continue
        for source in ("/dev/vda", "/dev/loop0", "none"):
            call("fsconfig", fd, 1, b"source", source.encode(), 0)
        if call("fsconfig", fd, 6, 0, 0, 0) == 0 and call("fsmount", fd, 1, 0) >= 0:
            made.append(name)
        os.close(fd)
    return ", ".join(sorted(set(made) - _HARMLESS))


@probe
@root_only
def files_bound_from_the_host() -> str:
    """What was bound in is read-only; where its mount is made writable again, the file is still nobody's here."""
    return ", ".join(filter(None, [_change("/.sprite/init"), *(_change(f"/dev/{name}") for name in ("null", "zero"))]))


def _change(path: str) -> str:
    call("mount_setattr", -100, path.encode(), 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)
    status = os.stat(path)
    tries: dict[str, Callable[[], object]] = {
        "chmod": lambda: os.chmod(path, stat.S_IMODE(status.st_mode)),
        "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns)),
        "xattr": lambda: os.setxattr(path, "user.adversary", b"1"),
    }
    if stat.S_ISREG(status.st_mode):
        tries["open for writing"] = lambda: os.close(os.open(path, os.O_RDWR))
    got = []
    for name, change in tries.items():
        try:
            change()
        except OSError as error:
            # A file that is executed cannot be written by whoever else may.
            if error.errno != errno.ETXTBSY:
                continue
        got.append(name)
    call("mount_setattr", -100, path.encode(), 0, struct.pack("QQQQ", 1, 0, 0, 0), 32)
    return f"{path}: {', '.join(got)}" if got else ""


@probe
@root_only
def the_disk_itself() -> str:
    """Ioctls that end, freeze, grow or map a filesystem are its host's."""
    requests = {
        "EXT4_IOC_SHUTDOWN": (0x8004587D, struct.pack("I", 0)), "FIFREEZE": (0xC0045877, bytes(4)),
        "EXT4_IOC_RESIZE_FS": (0x40086610, struct.pack("Q", 1 << 20)), "FIBMAP": (1, bytes(4)),
        "FITRIM": (0xC0185879, struct.pack("QQQ", 0, 1 << 20, 0)),
    }  # fmt: skip
    got = []
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for name, (request, data) in requests.items():
        try:
            fcntl.ioctl(fd, request, data)
        except OSError:
            continue
        got.append(name)
    os.close(fd)
    return ", ".join(got)


@probe
@root_only
def release_agents() -> str:
    """cgroup v1: the program that the kernel runs, as the host's root, when a cgroup is empty."""

    def mount_each() -> str:
        if _libc.unshare(0x00020000) != 0:
            return "unshare -m was refused"
        place, got = tempfile.mkdtemp(), []
        with open("/proc/self/cgroup") as lines:
            kinds = [line.split(":")[1] for line in lines]
        for kind in [*filter(None, kinds), "none,name=own"]:
            if _libc.mount(b"cgroup", place.encode(), b"cgroup", 0, kind.encode()) != 0:
                continue
            for directory, _, files in os.walk(place):
                path = os.path.join(directory, "release_agent")
                if "release_agent" in files and can_open(path, os.O_WRONLY):
                    got.append(f"{kind}: {path}")
            _libc.umount2(place.encode(), 2)
        return ", ".join(got)

    return in_child(mount_each)


@probe
@root_only
def device_rules_of_cgroups() -> str:
    path = "/sys/fs/cgroup/devices/devices.allow"
    try:
        with open(path, "w") as rules:
            rules.write("a *:* rwm")
    except OSError:
        return ""
    return path


@probe
@root_only
@at_last
def cgroups_below_the_cgroups() -> str:
    """Unmounting what was mounted over the machine's own cgroups uncovers nothing."""
    call("umount2", b"/sys/fs/cgroup", 2)
    found = os.listdir("/sys/fs/cgroup") if os.path.isdir("/sys/fs/cgroup") else []
    if found:
        return f"/sys/fs/cgroup of the machine: {', '.join(found)}"
    return ""


# ---- the network ----------------------------------------------------------------------------------------------------


@probe
def the_machines_network() -> str:
    """Its own network has no vsock, and no other namespace of network can be joined: not init's, nor the agent's."""
    got = []
    try:
        socket.socket(40, socket.SOCK_STREAM).close()
        got.append("AF_VSOCK")
    except OSError:
        pass  # as it should be
    own = os.stat("/proc/self/ns/net").st_ino
    for pid in pids():
        try:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        if os.fstat(fd).st_ino != own and allowed("setns", fd, 0x40000000):
            got.append(f"network of {pid}")
        os.close(fd)
    return ", ".join(got)


def main() -> int:
    names = [*(name for name in PROBES if name not in LAST), *LAST]
    is_root = os.geteuid() == 0
    for name in names:
        if name in ROOT_ONLY and not is_root:
            continue
        try:
            broken = PROBES[name]()
        except Exception as error:  # noqa: BLE001 - a probe that fails is told as one that broke something
            broken = f"the probe failed: {error!r}"
        print(json.dumps({"name": name, "broken": broken}), flush=True)
    return 0


INHERITED = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]

if __name__ == "__main__":
    sys.exit(main())
