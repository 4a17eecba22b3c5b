"""The text of a Program with every kind of step: tests/golden/program.txt is what `--debug` prints.

`PILOT_UPDATE_GOLDEN=1` writes the file anew; the diff is then what changed for the reader.
"""

from __future__ import annotations

import inspect
import os
import stat
from pathlib import Path

from pilot.plan import steps
from pilot.plan.abi import MNT_DETACH, MountAttribute, MountFlag, Namespace, Propagation
from pilot.plan.program import Program, Step
from pilot.plan.steps import Slot

GOLDEN = Path(__file__).with_name("program.txt")
ROOT, NULL, TREE = Slot("root"), Slot("null"), Slot("tree")

EVERY: tuple[Step, ...] = (
    steps.JoinCgroup(Slot("cgroup.procs")),
    steps.SetDumpable(False),
    steps.JoinNamespace(Slot("user"), Namespace.USER),
    steps.Unshare(Namespace.TIME),
    steps.WriteFile(None, "/proc/self/timens_offsets", b"boottime 10 0\n"),
    steps.Spawn(Namespace.PID | Namespace.NETWORK),
    steps.Barrier("idmap", (TREE,)),
    steps.RaiseLoopback(),
    steps.SetParentDeathSignal(9),
    steps.JoinKeyring("_ses.web"),
    steps.SetPropagation("/", Propagation.SLAVE),
    steps.OpenTree(ROOT, None, "/srv/rootfs"),
    steps.SetMountAttributes(ROOT, MountAttribute.NODEV, propagation=Propagation.PRIVATE, recursive=True,
                             idmap=Slot("user")),
    steps.Open(Slot("host"), None, "/"),
    steps.AttachMount(ROOT, Slot("host"), "srv/rootfs"),
    steps.MountFilesystem("tmpfs", ROOT, "dev", "tmpfs", (("mode", "755"), ("noswap", None)), MountAttribute.NOSUID),
    steps.BindMount("/srv/data", ROOT, "data", set=MountAttribute.RDONLY, clear=MountAttribute.ATIME,
                    recursive_set=MountAttribute.NOSYMFOLLOW, propagation=Propagation.SHARED),
    steps.Mount("proc", "/proc", "proc", MountFlag.NOSUID | MountFlag.NOEXEC, "hidepid=2"),
    steps.NewFilesystem(TREE, "tmpfs", None, (("size", "1m"),), MountAttribute.RDONLY),
    steps.CopyUp(ROOT, TREE),
    steps.MaskPath(ROOT, "proc/keys", NULL),
    steps.ReadonlyPath(ROOT, "proc/sys"),
    steps.MakeDirectories(ROOT, "a/b", 0o700),
    steps.MakeSymlink(ROOT, "dev/fd", "/proc/self/fd"),
    steps.MakeNode(ROOT, "dev/null", stat.S_IFCHR | 0o666, 1, 3),
    steps.ChangeMode(TREE, 0o755),
    steps.ChangeOwner(TREE, 1, 2),
    steps.Remove(ROOT, "old"),
    steps.CheckDevice(ROOT, 1, 3),
    steps.CheckFilesystem(ROOT, "procfs", 0x9FA0),
    steps.Write(TREE, b"+memory\n"),
    steps.OpenTerminal(ROOT, Slot("master"), Slot("peer"), 24, 80, console="dev/console"),
    steps.SendTo(Slot("console"), Slot("master"), b"/dev/ptmx"),
    steps.SendDescriptor(Slot("master")),
    steps.OfferDescriptor(Slot("master")),
    steps.Hold(Slot("peer")),
    steps.NewSession(),
    steps.ControllingTerminal(Slot("peer")),
    steps.RunHook("/usr/bin/hook", ("hook", "create"), ("A=b",), Slot("state"), 5000),
    steps.OpenPlace(Slot("place"), "/srv/rootfs"),
    steps.TakeMount(ROOT, TREE),
    steps.PivotRoot(ROOT),
    steps.HideMount("/proc"),
    steps.MoveRoot(ROOT),
    steps.ChangeRoot(ROOT),
    steps.Unmount("/old", MNT_DETACH),
    steps.SetHostname("web"),
    steps.SetDomainname("example"),
    steps.SetLimit(7, 1024, 4096),
    steps.SetPersonality(8),
    steps.SetScheduler(3, nice=5),
    steps.SetIoPriority(2, 4),
    steps.SetMemoryPolicy(2, frozenset({0, 1})),
    steps.SetCpuAffinity(frozenset({0, 2})),
    steps.SetSecureBits(0x2F),
    steps.KeepCapabilities(),
    steps.DropBoundingSet(frozenset({0, 5})),
    steps.Umask(0o022),
    steps.SetGroups((10, 20)),
    steps.SetUser(1000, 1000),
    steps.SetCapabilities(frozenset({5}), frozenset({5}), frozenset()),
    steps.SetAmbientSet(frozenset()),
    steps.NoNewPrivileges(),
    steps.Seccomp(bytes(24), 1),
    steps.ChangeDirectory("/srv"),
    steps.EnterDirectory(Slot("root")),
    steps.FindExecutable(("/usr/local/bin/web", "/usr/bin/web")),
    steps.InstallDescriptors((NULL, Slot("out"), None)),
    steps.Close(ROOT),
    steps.Release(),
    steps.AwaitStart(Slot("fifo")),
    steps.Execute(("/usr/bin/web",), ("web", "--port", "80"), ("PATH=/usr/bin",)),
)  # fmt: skip


def test_every_kind_of_step_is_here() -> None:
    kinds = {value for value in vars(steps).values() if inspect.isclass(value) and value is not Slot}
    assert {type(step) for step in EVERY} == kinds


def test_text_of_every_step() -> None:
    text = Program(EVERY, Namespace.MOUNT | Namespace.UTS, cgroup=Slot("group")).describe()
    if os.environ.get("PILOT_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_step_passes_the_check_of_the_native_side() -> None:
    from pilot.kernel import _launch

    _launch.validate(Program(EVERY).encode())
