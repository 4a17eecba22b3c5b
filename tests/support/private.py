"""Run a command in private mount, pid, network, ipc, uts and cgroup namespaces, with a private /dev, and leave nothing.

    python -m tests.support.private -- COMMAND ARG...

All tests run under this: what they mount is in no other mount namespace, what they start dies with the pid namespace,
and their cgroups are children of one directory per hierarchy that is removed at the end. The exit status is COMMAND's.
Where cgroup v2 has the controllers, that directory gets all that those above may give, and COMMAND runs in a child of
it, `tests`: a v2 cgroup with processes could not have children with controllers.

    outer (cgroups made and removed) ── fork ── pid 1 of the new pid namespace (reaps) ── fork ── COMMAND
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator, Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_NEW = {
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "mnt": 0x00020000,
}
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 1 << 18
_DEVICES = {
    "null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "kmsg": (1, 11), "tty": (5, 0),
    "fuse": (10, 229), "loop-control": (10, 237), "kvm": (10, 232), "net/tun": (10, 200),
    **{f"loop{n}": (7, n) for n in range(64)},
}  # fmt: skip


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(result, f"mount {kind} on {target}")


def _hierarchies() -> Iterator[tuple[str, str, str]]:
    """Each mounted cgroup hierarchy: (mount point, type, options for mounting it again)."""
    with open("/proc/self/mounts") as mounts:
        rows = [line.split() for line in mounts]
    for _, target, kind, options, *_ in rows:
        if kind == "cgroup2":
            yield target, kind, ""
        elif kind == "cgroup":
            # What names the hierarchy is what is left when the mount's own flags are taken away.
            own = {"rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime", "nodiratime"}
            yield target, kind, ",".join(o for o in options.split(",") if o not in own)


def _own_group(mount_point: str, kind: str, options: str) -> str:
    """Our cgroup in this hierarchy, as a path below its mount point."""
    wanted = "" if kind == "cgroup2" else options
    with open("/proc/self/cgroup") as groups:
        for line in groups:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if set(controllers.split(",")) & set(wanted.split(",")) or controllers == wanted:
                return os.path.join(mount_point, path.lstrip("/"))
    return mount_point


def _enter_cgroups(name: str) -> list[tuple[str, str, str, str]]:
    """Make and join a child cgroup in each hierarchy; rows of (group, mount point, type, options)."""
    made = []
    for mount_point, kind, options in _hierarchies():
        above = _own_group(mount_point, kind, options)
        if kind == "cgroup2":
            above = _lowest_that_shares(mount_point, above)
        group = os.path.join(above, name)
        os.mkdir(group)
        if "cpuset" in options.split(","):
            for item in ("cpuset.cpus", "cpuset.mems"):
                with (
                    open(os.path.join(os.path.dirname(group), item)) as parent,
                    open(os.path.join(group, item), "w") as own,
                ):
                    own.write(parent.read())
        made.append((group, mount_point, kind, options))
    return made


def _lowest_that_shares(mount_point: str, own: str) -> str:
    """The last cgroup on the way to our own that can give its children controllers: often the one above, as we are the
    processes that are in the way."""
    path = mount_point
    for name in os.path.relpath(own, mount_point).split("/"):
        below = os.path.normpath(os.path.join(path, name))
        if not _share_controllers(path) or not _share_controllers(below):
            break
        path = below
    return path


def _share_controllers(group: str) -> bool:
    """Offer all controllers of a v2 cgroup to its children; False for one that cannot, with processes in it.

    A tree beside v1 hierarchies, which have all that matters, is left as it is.
    """
    with open(os.path.join(group, "cgroup.controllers")) as file:
        available = file.read().split()
    if "memory" not in available:
        return True
    try:
        with open(os.path.join(group, "cgroup.subtree_control"), "w") as control:
            control.write(" ".join(f"+{name}" for name in available))
    except OSError:
        return False  # the tests that want controllers say that there are none
    return True


def _step_down(groups: Sequence[tuple[str, str, str, str]]) -> None:
    """Once the cgroup namespace has its root where we are: into the child `tests` of it."""
    for group, _, kind, _ in groups:
        if kind != "cgroup2":
            continue
        os.mkdir(os.path.join(group, "tests"))
        _join([(os.path.join(group, "tests"), "", "", "")])
        _share_controllers(group)


def _join(groups: Sequence[tuple[str, str, str, str]]) -> None:
    for group, *_ in groups:
        with open(os.path.join(group, "cgroup.procs"), "w") as procs:
            procs.write("0")


def _remove_cgroups(groups: Sequence[tuple[str, str, str, str]]) -> None:
    deadline = time.monotonic() + 20
    for group, *_ in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    # EBUSY: the killed processes of the pid namespace are still on their way out.
                    if time.monotonic() > deadline:
                        print(f"private: left behind: cgroup {directory}", file=sys.stderr)
                        break
                    time.sleep(0.02)


def _private_dev() -> None:
    staging = "/mnt"
    _mount("tmpfs", staging, "tmpfs", _MS_NOSUID, "mode=755")
    os.umask(0)
    for name, (major, minor) in _DEVICES.items():
        path = os.path.join(staging, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        block = name.startswith("loop") and name != "loop-control"
        mode = stat.S_IFBLK | 0o660 if block else stat.S_IFCHR | 0o666
        os.mknod(path, mode, os.makedev(major, minor))
    os.umask(0o022)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(os.path.join(staging, name))
    for name, target in {
        "fd": "/proc/self/fd",
        "stdin": "fd/0",
        "stdout": "fd/1",
        "stderr": "fd/2",
        "ptmx": "pts/ptmx",
    }.items():
        os.symlink(target, os.path.join(staging, name))
    _mount("devpts", staging + "/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    _mount("tmpfs", staging + "/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    _mount(staging, "/dev", "none", _MS_BIND | _MS_REC)


def _inside(groups: Sequence[tuple[str, str, str, str]]) -> None:
    """Mounts of the new namespaces; runs as its pid 1."""
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("sysfs", "/sys", "sysfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("tmpfs", "/sys/fs/cgroup", "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=755")
    for _, mount_point, kind, options in groups:
        os.makedirs(mount_point, exist_ok=True)
        _mount("cgroup", mount_point, kind, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, options)
    if os.path.isdir("/sys/fs/fuse/connections"):
        _mount("fusectl", "/sys/fs/fuse/connections", "fusectl")
    _private_dev()
    _mount("tmpfs", "/run", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    os.system("ip link set lo up")


def _reap(child: int) -> int:
    """Wait as pid 1 does until `child` has ended; its exit status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _keep_outside() -> None:
    """Where PILOT_OUTSIDE is set, COMMAND inherits a descriptor of the network that we were started in (`outside`)."""
    if os.environ.get("PILOT_OUTSIDE"):
        fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.set_inheritable(fd, True)
        os.environ["PILOT_OUTSIDE_NET_FD"] = str(fd)


def run(command: Sequence[str]) -> int:
    """Run `command` as described above and return its exit status."""
    _keep_outside()
    groups = _enter_cgroups(f"pilot-test-{os.getpid()}")
    try:
        holder = os.fork()
        if holder == 0:
            _join(groups)
            _check(_libc.unshare(sum(_NEW.values())), "unshare")
            _step_down(groups)
            _check(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "make mounts private")
            init = os.fork()
            if init == 0:
                _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
                _inside(groups)
                child = os.fork()
                if child == 0:
                    os.execvp(command[0], list(command))
                os._exit(_reap(child))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda *_: os.kill(init, signal.SIGKILL))
            os._exit(_reap(init))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda got, _: os.kill(holder, got))
        return _reap(holder)
    finally:
        _remove_cgroups(groups)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(run(arguments[1:] if arguments[:1] == ["--"] else arguments))
