"""The known ways out of containers of other runtimes, one test each: the rootfs, the bundle or the racing process is as
hostile as it was then, and the host is looked at afterwards.

A bundle is made by its owner, so what counts as an attack is what the *image* (rootfs), a *volume* that is shared with
another container, or a *process inside* can do to the runtime and to the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import bundles, clients
from tests.support.bundles import Config

from pilot import errors
from pilot.kernel import _launch
from pilot.runtime import Runtime, Stdio, Terminal
from pilot.spec import parse
from pilot.spec.process import Capabilities, Process

pytestmark = pytest.mark.requires("root", "private", "busybox")

_ROUNDS = 40
_ADMIN = ("CAP_SYS_ADMIN", "CAP_MKNOD")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory that an attacker writes to, and that is mounted in containers."""
    path = tmp_path / "volume"
    path.mkdir()
    return path


@pytest.fixture
def host_directory(tmp_path: Path) -> Path:
    """A directory of the host that no container has; it must stay as it is."""
    path = tmp_path / "host"
    path.mkdir()
    (path / "marker").write_text("of the host\n")
    return path


def _shell(script: str, **process: object) -> Config:
    config = bundles.make_config("sh", "-c", script, **process)
    config["process"]["noNewPrivileges"] = False
    return config


def _bind(source: Path, destination: str, *options: str) -> dict[str, object]:
    return {"destination": destination, "source": str(source), "type": "bind", "options": ["rbind", *options]}


def _started(runtime: Runtime, bundle: Path, config: Config, id: str = "web") -> int:
    created = bundles.create(runtime, bundle, config, id)
    created.container.start()
    created.process.close()
    return created.process.pid


def _process(*args: str, **more: object) -> Process:
    return parse.parse_process(parse.format_spec(Process(args=args, cwd="/", env=("PATH=/bin",), **more)))  # type: ignore[arg-type]


def _exec(runtime: Runtime, process: Process, id: str = "web") -> tuple[int, str]:
    """Run it in the container; exit code and output."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as output:
        try:
            spawned = runtime.load(id).exec(process, Stdio(None, write_fd, write_fd))
        finally:
            os.close(write_fd)
        text = output.read().decode(errors="replace")
    status = runtime.wait(spawned, 60)
    spawned.close()
    return status.exit_code(), text


@contextlib.contextmanager
def _racing(step: Callable[[], None]) -> Iterator[None]:
    """Another thread does `step` over and over; it must be cheap."""
    stopped = threading.Event()

    def race() -> None:
        while not stopped.is_set():
            step()

    thread = threading.Thread(target=race, name="attacker")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# ---- the runtime's own executable -----------------------------------------------------------------------------------


def test_cve_2019_5736_entrypoint_is_the_runtime_itself(runtime: Runtime, bundle: Path) -> None:
    """The command is /proc/self/exe: the runtime would execute itself, and a process inside could then write to it."""
    ours = [_launch.__file__, os.path.realpath("/proc/self/exe"), str(clients.PILOT)]
    before = [_digest(path) for path in ours]
    (bundle / "rootfs" / "bin" / "trap").write_text("#!/proc/self/exe\n")
    (bundle / "rootfs" / "bin" / "trap").chmod(0o755)
    for args in (["/proc/self/exe"], ["/bin/trap"]):
        with contextlib.suppress(errors.PilotError):  # refused or run, it must change nothing
            bundles.run_to_end(runtime, bundle, bundles.make_config(*args))
    assert [_digest(path) for path in ours] == before


def test_cve_2019_5736_process_that_joins_cannot_be_written_to(runtime: Runtime, bundle: Path) -> None:
    """A process inside, root with all capabilities, looks for whoever joins and writes to /proc/PID/exe."""
    script = (
        "while true; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac; "
        "link=$(readlink $p/exe 2>/dev/null); case $link in ''|/bin/busybox) ;; *) echo $link >> /tmp/seen;; esac; "
        "(echo overwritten > $p/exe) 2>/dev/null && echo $link >> /tmp/written; done; done"
    )
    config = _shell(script)
    everything = [f"CAP_{name}" for name in ("SYS_PTRACE", "SYS_ADMIN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "KILL")]
    config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), everything)
    _started(runtime, bundle, config)
    ours = [_launch.__file__, os.path.realpath("/proc/self/exe"), str(clients.PILOT)]
    before = [_digest(path) for path in ours]
    for _ in range(10):
        assert _exec(runtime, _process("true")) == (0, "")
    assert [_digest(path) for path in ours] == before
    written = bundle / "rootfs" / "tmp" / "written"
    assert not written.exists(), written.read_text()
    seen = bundle / "rootfs" / "tmp" / "seen"
    assert not seen.exists() or set(seen.read_text().split()) <= {"/memfd:pilot-launch", "(deleted)"}


# ---- /proc and what is written there --------------------------------------------------------------------------------


def test_cve_2019_16884_volume_over_proc(runtime: Runtime, bundle: Path, volume: Path) -> None:
    """An image's volume on /proc would take what the runtime writes to /proc/self/attr."""
    for destination in ("/proc", "/proc/self/attr", "/proc/sys", "/tmp/../proc/self"):
        config = _shell("true")
        config["mounts"].append(_bind(volume, destination))
        with pytest.raises(errors.SpecError, match="inside /proc"):
            bundles.run_to_end(runtime, bundle, config)


@pytest.mark.parametrize("target", ["/proc", "/proc/self/attr", "/proc/sys/kernel", "proc/sys"])
def test_cve_2019_16884_volume_over_proc_by_a_link(runtime: Runtime, bundle: Path, volume: Path, target: str) -> None:
    """The same by another name: the destination is a link of the image's."""
    (bundle / "rootfs" / "innocent").symlink_to(target)
    config = _shell("cat /proc/self/mountinfo")
    config["mounts"].append(_bind(volume, "/innocent"))
    with pytest.raises(errors.StepError, match=r"error mounting .* at \"/innocent\": invalid cross-device link"):
        bundles.run_to_end(runtime, bundle, config)


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/volume/elsewhere", "tmp", "../../tmp"])
def test_cve_2019_19921_proc_is_a_link(runtime: Runtime, bundle: Path, volume: Path, name: str, target: str) -> None:
    """/proc leads to a volume, where another container swaps what the runtime mounted before it is masked."""
    (volume / "elsewhere").mkdir()
    (bundle / "rootfs" / name).rmdir()
    (bundle / "rootfs" / name).symlink_to(target)
    config = _shell("cat /proc/self/mountinfo")
    config["mounts"].insert(0, _bind(volume, "/volume"))
    with pytest.raises(
        errors.StepError,
        match=rf'error mounting "\w+" to rootfs at "/{name}": filesystem "\w+" must be mounted on ordinary directory',
    ):
        bundles.run_to_end(runtime, bundle, config)
    assert os.listdir(volume / "elsewhere") == []


def test_cve_2023_27561_and_28642_masks_are_on_the_true_proc(runtime: Runtime, bundle: Path, volume: Path) -> None:
    """The regression of the above: /proc a link to a directory that looks like it. The plain case shows the masks."""
    code, text = bundles.run_to_end(runtime, bundle, _shell("grep ' /proc' /proc/mounts; wc -c < /proc/keys"))
    assert code == 0
    assert re.search(r"^proc /proc/sys proc ro,", text, re.MULTILINE)
    assert text.endswith("\n0\n")
    (bundle / "rootfs" / "proc").rmdir()
    (bundle / "rootfs" / "proc").symlink_to("not-proc")
    for name in ("self/attr", "sys", "keys"):
        (bundle / "rootfs" / "not-proc" / name).mkdir(parents=True)
    with pytest.raises(errors.StepError, match="too many levels of symbolic links"):
        bundles.run_to_end(runtime, bundle, _shell("true"))


def test_cve_2025_52881_sysctls_are_written_to_procfs_alone(runtime: Runtime, bundle: Path, volume: Path) -> None:
    """Without a procfs of its own the container's /proc is the image's, whose links lead the write anywhere."""
    fake = bundle / "rootfs" / "proc" / "sys" / "net" / "ipv4"
    fake.mkdir(parents=True)
    (fake / "ip_forward").symlink_to("/tmp/target")
    target = bundle / "rootfs" / "tmp" / "target"
    target.write_text("untouched")
    config = _shell("true")
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "proc"]
    config["linux"].update({"sysctl": {"net.ipv4.ip_forward": "1"}, "maskedPaths": [], "readonlyPaths": []})
    with pytest.raises(errors.StepError, match="check that sysctl is in procfs: invalid cross-device link"):
        bundles.run_to_end(runtime, bundle, config)
    assert target.read_text() == "untouched"


def test_cve_2025_52881_sysctl_names_stay_in_proc_sys(runtime: Runtime, bundle: Path) -> None:
    for name in ("net/../../sysrq-trigger", "../sysrq-trigger", "net/../../1/oom_score_adj"):
        config = _shell("true")
        config["linux"]["sysctl"] = {name: "h"}
        with pytest.raises(errors.PilotError, match=r"cross-device link|sysctl"):
            bundles.run_to_end(runtime, bundle, config)
    config = _shell("cat /proc/sys/net/ipv4/ip_forward")
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert bundles.run_to_end(runtime, bundle, config) == (0, "1\n")


def test_cve_2025_52881_score_is_written_before_the_image_counts(runtime: Runtime, bundle: Path) -> None:
    """oom_score_adj goes through the runtime's own /proc: a container without one has it all the same."""
    config = bundles.make_config("sleep", "1000", oomScoreAdj=321)
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "proc"]
    config["linux"].update({"maskedPaths": [], "readonlyPaths": []})
    pid = _started(runtime, bundle, config)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "321\n"


# ---- masks, consoles ------------------------------------------------------------------------------------------------


def _without_dev(config: Config) -> Config:
    """The container's /dev is the image's own."""
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    return config


@pytest.mark.parametrize("kind", ["link", "file", "device"])
def test_cve_2025_31133_dev_null_is_something_else(runtime: Runtime, bundle: Path, kind: str) -> None:
    """What hides a masked path is the image's /dev/null: a link to core_pattern would make that writable there."""
    null = bundle / "rootfs" / "dev" / "null"
    if kind == "link":
        null.symlink_to("/proc/sys/kernel/core_pattern")
    elif kind == "file":
        null.write_text("content")
    else:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    core_pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    with pytest.raises(errors.StepError, match="check that null is character device 1:3: no such device"):
        bundles.run_to_end(runtime, bundle, _without_dev(_shell("echo '|/bad' > /proc/keys")))
    assert Path("/proc/sys/kernel/core_pattern").read_text() == core_pattern


def test_cve_2025_31133_masks_are_not_left_out_when_null_vanishes(runtime: Runtime, bundle: Path, volume: Path) -> None:
    """/dev is a volume from which another container takes /dev/null away at the wrong moment."""
    os.mknod(volume / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    config = _shell("wc -c < /proc/keys")
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    config["mounts"].append(_bind(volume, "/dev"))

    def swap() -> None:
        os.rename(volume / "null", volume / "away")
        os.rename(volume / "away", volume / "null")

    outcomes = set()
    with _racing(swap):
        for _ in range(_ROUNDS):
            with contextlib.suppress(errors.StepError):  # there was no /dev/null to mask with
                outcomes.add(bundles.run_to_end(runtime, bundle, config))
    assert outcomes <= {(0, "0\n")}
    assert bundles.run_to_end(runtime, bundle, config) == (0, "0\n")


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/proc/self/attr/exec", "/proc/sys/net"])
def test_cve_2025_52565_console_is_a_link_into_proc(runtime: Runtime, bundle: Path, target: str) -> None:
    """The terminal, mounted on /dev/console, would lie on a path that is masked or read-only later, and writable."""
    (bundle / "rootfs" / "dev" / "console").symlink_to(target)
    config = _shell("true")
    config["process"]["terminal"] = True
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/dev"]
    (bundle / "rootfs" / "dev" / "pts").mkdir()
    with pytest.raises(errors.StepError, match=r"on dev/console: invalid cross-device link"):
        bundles.create(runtime, bundle, config, terminal=Terminal(24, 80))


def test_cve_2025_52565_the_terminal_is_mounted_by_descriptor(runtime: Runtime, bundle: Path) -> None:
    """No name of a pty can be swapped for a link: what is on /dev/console is the peer of the master that we hold."""
    config = bundles.make_config("sh", "-c", "stat -c %t:%T /dev/console; tty; sleep 1000")
    config["process"]["terminal"] = True
    created = bundles.create(runtime, bundle, config, terminal=Terminal(24, 80))
    created.container.start()
    assert created.process.master_fd is not None
    shown = b""
    while shown.count(b"\n") < 2:
        shown += os.read(created.process.master_fd, 100)
    created.process.close()
    assert shown == b"88:0\r\n/dev/pts/0\r\n"


@pytest.mark.parametrize("kind", ["file", "link", "other device"])
def test_a_terminal_of_exec_comes_from_a_true_devpts(runtime: Runtime, bundle: Path, kind: str) -> None:
    """Root inside replaces /dev/pts/ptmx by something whose ioctl could choose any descriptor of the runtime."""
    config = _shell("sleep 1000")
    config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), _ADMIN)
    pid = _started(runtime, bundle, config)
    assert _exec_terminal(runtime) == 0, "this is how it works before the attack"
    make = {
        "file": "echo > /dev/pts/ptmx",
        "link": "ln -s /proc/self/fd/0 /dev/pts/ptmx",
        "other device": "busybox mknod /dev/pts/ptmx c 5 2",
    }[kind]
    admin = Capabilities(bounding=_ADMIN, effective=_ADMIN, permitted=_ADMIN)
    attack = _process("sh", "-c", f"mount -t tmpfs none /dev/pts && {make}", capabilities=admin)
    assert _exec(runtime, attack) == (0, "")
    with pytest.raises(errors.StepError, match="open terminal rootfs:dev/pts/ptmx"):
        _exec_terminal(runtime)
    assert Path(f"/proc/{pid}").exists()


def _exec_terminal(runtime: Runtime) -> int:
    spawned = runtime.load("web").exec(_process("true"), Stdio(), terminal=Terminal(24, 80))
    status = runtime.wait(spawned, 60)
    spawned.close()
    return status.exit_code()


# ---- races on mount points ------------------------------------------------------------------------------------------


def _exchange(a: Path, b: Path) -> None:
    """renameat2(RENAME_EXCHANGE): there is no moment at which one of the names is missing."""
    _libc.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)


def test_cve_2021_30465_mount_point_is_exchanged_for_a_link(
    runtime: Runtime, bundle: Path, volume: Path, host_directory: Path
) -> None:
    """Where one volume is mounted in another, its directory becomes a link to the host's root in the middle of it."""
    (volume / "inner").mkdir()
    (volume / "link").symlink_to("/" + "../" * 12 + str(host_directory).lstrip("/"))
    config = _shell("cat /proc/self/mountinfo; cat /volume/inner/marker 2>/dev/null; true")
    config["mounts"] += [
        _bind(volume, "/volume"),
        {"destination": "/volume/inner/deep", "type": "tmpfs", "source": "victim", "options": ["size=4k"]},
    ]
    finished = 0
    with _racing(lambda: _exchange(volume / "inner", volume / "link")):
        for _ in range(_ROUNDS):
            try:
                _, text = bundles.run_to_end(runtime, bundle, config)
            except errors.StepError:
                continue  # the link led nowhere in the rootfs
            finished += 1
            assert " - tmpfs victim " in text, "the mount is nowhere in the container"
            assert "of the host" not in text
            assert os.listdir(host_directory) == ["marker"]
    assert finished > 0
    assert os.listdir(host_directory) == ["marker"]


def test_cve_2024_45310_nothing_is_made_on_the_host(
    runtime: Runtime, bundle: Path, volume: Path, host_directory: Path
) -> None:
    """The directories and files that are made as mount points are made inside, whatever a component turns into."""
    (volume / "inner").mkdir()
    (volume / "link").symlink_to("/" + "../" * 12 + str(host_directory).lstrip("/"))
    (volume / "file").write_text("")
    config = _shell("true")
    config["mounts"].append(_bind(volume, "/volume"))
    for n in range(4):
        config["mounts"].append(
            {"destination": f"/volume/inner/made{n}/deep", "type": "tmpfs", "source": "none", "options": ["size=4k"]}
        )
        config["mounts"].append(_bind(volume / "file", f"/volume/inner/file{n}"))
    finished = 0
    with _racing(lambda: _exchange(volume / "inner", volume / "link")):
        for _ in range(_ROUNDS):
            with contextlib.suppress(errors.StepError):  # the link led nowhere in the rootfs
                bundles.run_to_end(runtime, bundle, config)
                finished += 1
    assert os.listdir(host_directory) == ["marker"]
    assert finished > 0


def test_tmpfs_copies_up_from_inside_alone(runtime: Runtime, bundle: Path, volume: Path, host_directory: Path) -> None:
    """tmpcopyup of a directory that is a link to the host's: what is copied is what the link means in the rootfs."""
    (bundle / "rootfs" / "data").symlink_to("../" * 12 + str(host_directory).lstrip("/"))
    (bundle / "rootfs" / str(host_directory).lstrip("/")).mkdir(parents=True)
    config = _shell("ls -A /data")
    config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "none", "options": ["tmpcopyup"]})
    assert bundles.run_to_end(runtime, bundle, config) == (0, "")
    assert os.listdir(host_directory) == ["marker"]


# ---- descriptors and the working directory --------------------------------------------------------------------------


def test_cve_2024_21626_working_directory_by_a_descriptor(runtime: Runtime, bundle: Path, host_directory: Path) -> None:
    """A descriptor of a host directory, still open when the working directory is entered, would be a way out."""
    leaked_fd = os.open(host_directory, os.O_RDONLY | os.O_DIRECTORY)  # a careless caller
    os.set_inheritable(leaked_fd, True)
    try:
        for number in range(3, 24):
            for path in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/.."):
                with pytest.raises(errors.PilotError):
                    bundles.run_to_end(runtime, bundle, _shell("pwd; ls", cwd=path))
    finally:
        os.close(leaked_fd)
    assert not os.listdir(bundle / "rootfs" / "proc"), "nothing was made where procfs is mounted"


def test_cve_2024_21626_image_names_the_working_directory(runtime: Runtime, bundle: Path) -> None:
    """The same as a link of the image's, for create and for exec."""
    _started(runtime, bundle, _shell("sleep 1000"))
    for number in range(3, 16):
        link = bundle / "rootfs" / f"work{number}"
        link.symlink_to(f"/proc/self/fd/{number}")
        with pytest.raises(errors.PilotError):
            bundles.run_to_end(runtime, bundle, _shell("pwd", cwd=f"/work{number}"), id="other")
        process = parse.parse_process(
            parse.format_spec(Process(args=("ls", "-d", "."), cwd=f"/work{number}", env=("PATH=/bin",)))
        )
        with pytest.raises(errors.StepError):
            _exec(runtime, process)


def test_cve_2024_21626_nothing_but_stdio_is_inherited(runtime: Runtime, bundle: Path, host_directory: Path) -> None:
    """What the caller leaves open, close-on-exec or not, is not there: neither in create nor in exec."""
    leaked_fds = [os.open(host_directory, os.O_RDONLY) for _ in range(4)]
    for fd in leaked_fds[:2]:
        os.set_inheritable(fd, True)
    try:
        pid = _started(runtime, bundle, _shell("sleep 1000"))
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
        script = "for f in /proc/self/fd/*; do readlink $f; done"
        _, text = _exec(runtime, _process("sh", "-c", script))
        assert str(host_directory) not in text
        assert len(text.split()) == 3  # 0, 1, 2: the shell's glob holds none any more
    finally:
        for fd in leaked_fds:
            os.close(fd)


def test_cve_2024_21626_of_the_command_line(bundle: Path, tmp_path: Path, host_directory: Path) -> None:
    """`pilot run`, started with an inheritable descriptor and a working directory of the host."""
    config = _shell("for f in /proc/self/fd/*; do readlink $f; done; readlink /proc/self/cwd")
    (bundle / "config.json").write_text(json.dumps(config))
    fd = os.open(host_directory, os.O_RDONLY)
    try:
        done = subprocess.run(
            [clients.PILOT, "--root", tmp_path / "root", "run", "--bundle", bundle, "web"],
            cwd=host_directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, pass_fds=(fd,), check=True,
        )  # fmt: skip
    finally:
        os.close(fd)
    assert str(host_directory) not in done.stdout
    assert done.stdout.endswith("\n/\n")


# ---- privileges -----------------------------------------------------------------------------------------------------


def test_cve_2022_29162_inheritable_set_is_empty(runtime: Runtime, bundle: Path) -> None:
    """Capabilities of exec --cap: none is inheritable, so that files with inheritable capabilities give nothing."""
    code, text = bundles.run_to_end(runtime, bundle, _shell("grep -E 'Cap(Inh|Amb)' /proc/self/status"))
    assert (code, text) == (0, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n")


def test_cve_2022_29162_of_the_command_line(bundle: Path, tmp_path: Path) -> None:
    (bundle / "config.json").write_text(json.dumps(_shell("sleep 1000")))
    pilot = [str(clients.PILOT), "--root", str(tmp_path / "root")]
    subprocess.run([*pilot, "run", "--detach", "--bundle", bundle, "web"], check=True, stdin=subprocess.DEVNULL)
    try:
        words = ["exec", "--cap", "CAP_SYS_ADMIN", "web", "sh", "-c", "grep Cap /proc/self/status"]
        done = subprocess.run([*pilot, *words], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    finally:
        subprocess.run([*pilot, "delete", "--force", "web"], check=True)
    sets = dict(line.split(":\t") for line in done.stdout.splitlines())
    assert int(sets["CapInh"], 16) == int(sets["CapAmb"], 16) == 0
    assert int(sets["CapEff"], 16) >> 21 & 1


def test_cve_2023_25809_cgroups_of_the_host_are_not_writable(runtime: Runtime, bundle: Path) -> None:
    """/sys of the host, bound read-only with all below it, brought its cgroups writable; the owner's ids are mapped."""
    group = Path(_v1_or_v2_root()) / f"victim-{os.getpid()}"
    group.mkdir()
    os.chown(group, 100000, 100000)  # delegated to the user whom root inside is
    config = bundles.with_user_namespace(_shell(f"mkdir {group}/made 2>&1; test -d {group} && echo there"))
    namespaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [n for n in namespaces if n["type"] not in {"network", "cgroup"}]
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/sys")]
    config["mounts"].append(_bind(Path("/sys"), "/sys", "ro", "nosuid", "noexec", "nodev"))
    try:
        _, text = bundles.run_to_end(runtime, bundle, config)
        assert "there" in text, "the attack is possible only where the cgroup is seen"
        assert "Read-only file system" in text
        assert not (group / "made").exists()
    finally:
        group.rmdir()


def _v1_or_v2_root() -> str:
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next(row[1] for row in rows if row[2] in {"cgroup", "cgroup2"} and "cpuset" not in row[3])


def test_cve_2023_25809_without_a_cgroup_namespace(runtime: Runtime, bundle: Path) -> None:
    """A mount of type cgroup without a namespace of its own shows, read-only, the container's own groups."""
    config = bundles.with_user_namespace(_shell("for d in /sys/fs/cgroup/*/; do touch $d/new 2>&1; ls $d; done"))
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"]
    _, text = bundles.run_to_end(runtime, bundle, config)
    assert "Read-only file system" in text
    assert "pilot-test" not in text, "groups of the host are seen"
    assert "release_agent" not in text


# ---- sizes ----------------------------------------------------------------------------------------------------------


def test_cve_2021_43784_long_lists_arrive_whole_or_not_at_all(runtime: Runtime, bundle: Path) -> None:
    """There, a 16-bit length of a netlink message wrapped, and what followed was read as other namespaces' settings.

    pilot has no such message: id maps are written to the kernel's files as they are, and a Program has 32-bit lengths,
    checked twice. So: what is too long is refused with its name, and what is long but allowed is there, all of it.
    """
    config = bundles.with_user_namespace(_shell("wc -l < /proc/self/uid_map; awk '{print $1, $2}' /proc/self/uid_map"))
    rows = [{"containerID": n, "hostID": 100000 + n, "size": 1} for n in range(250)]  # a page of text, no more
    config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = rows
    code, text = bundles.run_to_end(runtime, bundle, config)
    assert (code, text.splitlines()) == (0, ["250", *(f"{n} {100000 + n}" for n in range(250))])
    config["linux"]["uidMappings"] = [{"containerID": n, "hostID": 100000 + n, "size": 1} for n in range(5000)]
    with pytest.raises(errors.HostError, match=r"^write uid_map \(0 100000 1, .* and 4997 more\) of process"):
        bundles.run_to_end(runtime, bundle, config)


def test_cve_2021_43784_paths_and_mounts_without_measure(runtime: Runtime, bundle: Path) -> None:
    config = _shell("true")
    (uts,) = (row for row in config["linux"]["namespaces"] if row["type"] == "uts")
    uts["path"] = "/" + "x" * 70000
    with pytest.raises(errors.HostError, match="name too long"):
        bundles.run_to_end(runtime, bundle, config)
    config = _shell("grep -c many /proc/mounts; echo ${#LONG}", env=["PATH=/bin", "LONG=" + "x" * 100000])
    config["mounts"] += [
        {"destination": f"/tmp/many{n}", "type": "tmpfs", "source": "many", "options": ["size=4k"]} for n in range(300)
    ]
    assert bundles.run_to_end(runtime, bundle, config) == (0, "300\n100000\n")
    config["mounts"] *= 9
    assert bundles.run_to_end(runtime, bundle, config) == (0, "2700\n100000\n")
