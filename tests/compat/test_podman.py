"""podman drives pilot: what people do with containers every day, and what the kernel says of it."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients, groups, leftovers
from tests.support.clients import IMAGE, Client

pytestmark = pytest.mark.requires("root", "private", "busybox", "podman")

_FOREVER = "trap 'echo term; exit 3' TERM; echo started; while true; do sleep 0.05; done"


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """podman with one image."""
    directory = tmp_path_factory.mktemp("podman")
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(0o755)  # containers in user namespaces have to get there
    client = clients.podman(directory)
    client.run("import", clients.make_image_tar(directory / "image.tar"), IMAGE)
    return client


_NOT_TO_STAY = frozenset({"mounts", "namespaces", "links"})


@pytest.fixture(autouse=True)
def nothing_left(podman: Client) -> Iterator[None]:
    """Afterwards there are no containers, and no mount, cgroup or process of them."""
    before = leftovers.observe()
    yield
    remove = ("rm", "--all", "--force", "--time", "0")
    # podman may find its own mount of /dev/shm busy for a moment after a kill, and says so; it finishes the next time.
    if podman.call(*remove).code != 0:
        podman.run(*remove)
    # conmon holds a namespace until it has waited for the podman that tidies up after it.
    new = leftovers.left_since(before, kinds=_NOT_TO_STAY)
    assert not set(new) & _NOT_TO_STAY, new
    assert not [name for name in new.get("cgroups", []) if "libpod-" in name]
    assert leftovers.containers() == []


def _run(podman: Client, *arguments: str | Path, network: str = "none") -> str:
    return podman.run("run", "--rm", "--network", network, *arguments)


def _start(podman: Client, *options: str | Path, script: str = _FOREVER) -> int:
    """A container `web` in the background; its pid."""
    podman.run("run", "--detach", "--network", "none", "--name", "web", *options, IMAGE, "sh", "-c", script)
    return int(_inspect(podman, "{{.State.Pid}}"))


def _inspect(podman: Client, template: str) -> str:
    return podman.run("inspect", "web", "--format", template).strip()


@dataclasses.dataclass(frozen=True)
class Case:
    """`podman run OPTIONS box sh -c SCRIPT` writes something that matches `output` as a whole."""

    options: tuple[str, ...]
    script: str
    output: str


CASES = {
    "environment": Case(("--env", "COLOUR=blue"), "echo $COLOUR $HOME", "blue /root"),
    "hostname": Case(("--hostname", "box.example"), "hostname", "box.example"),
    "user": Case(("--user", "7:9"), "id -u; id -g; echo $HOME", "7\n9\n/tmp"),
    "user by name": Case(("--user", "some"), "id", r"uid=7\(some\) gid=8\(some\) groups=8\(some\)"),
    "additional groups": Case(("--group-add", "44"), "id -G", "0 44"),
    "working directory": Case(("--workdir", "/tmp"), "pwd", "/tmp"),
    "umask": Case(("--umask", "0027"), "umask", "0027"),
    "read-only root": Case(
        ("--read-only",),
        "touch /x 2>&1; touch /tmp/x /dev/shm/x && echo both",
        "touch: /x: Read-only file system\nboth",
    ),
    "no capabilities but one": Case(
        ("--cap-drop", "all", "--cap-add", "chown"),
        "grep -E 'Cap(Eff|Bnd|Prm)' /proc/self/status",
        r"(.*\t0{15}1\n?){3}",
    ),
    "privileged": Case(
        ("--privileged",),
        "grep CapEff /proc/self/status; test -e /dev/full && echo devices",
        r"CapEff:\t0*1[0-9a-f]{10}\ndevices",
    ),
    "inheritable set is empty": Case((), "grep -E 'Cap(Inh|Amb)' /proc/self/status", r"(.*\t0{16}\n?){2}"),
    "no new privileges": Case(
        ("--security-opt", "no-new-privileges"), "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"
    ),
    "seccomp": Case((), "grep Seccomp: /proc/self/status", "Seccomp:\t2"),
    "seccomp unconfined": Case(
        ("--security-opt", "seccomp=unconfined"), "grep Seccomp: /proc/self/status", "Seccomp:\t0"
    ),
    "masked paths": Case((), "wc -c < /proc/keys; ls /sys/firmware | wc -l", "0\n0"),
    "unmasked paths": Case(
        ("--security-opt", "unmask=ALL"), "grep -c . /proc/keys > /dev/null; grep ' /proc' /proc/mounts | wc -l", "1"
    ),
    "sysctl": Case(("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward", "1"),
    "ulimit": Case(("--ulimit", "nofile=99:111", "--ulimit", "nproc=500:500"), "ulimit -Sn; ulimit -Hn", "99\n111"),
    "out-of-memory score": Case(("--oom-score-adj", "321"), "cat /proc/self/oom_score_adj", "321"),
    "shared memory": Case(("--shm-size", "3m"), "df -k /dev/shm | tail -n 1 | awk '{print $2}'", "3072"),
    "tmpfs": Case(
        ("--tmpfs", "/scratch:size=1m,mode=1770"),
        "stat -c %a /scratch; grep -c ' /scratch tmpfs' /proc/mounts",
        "1770\n1",
    ),
    "tmpfs copies what it covers": Case(("--tmpfs", "/etc"), "grep -c root /etc/passwd", "1"),
    "device": Case(("--device", "/dev/fuse:/dev/other"), "stat -c '%t:%T' /dev/other", "a:e5"),
    "a device that is not allowed": Case(
        (), "mknod /tmp/x c 10 229 && cat /tmp/x 2>&1 | head -n 1", "cat: can't open '/tmp/x': Operation not permitted"
    ),
    "own namespaces": Case((), "readlink /proc/1/exe > /dev/null && echo $$", "1"),
    "loopback is up": Case((), "ip addr show lo | grep -o 127.0.0.1/8", "127.0.0.1/8"),
    "control groups are read-only": Case(
        (), "for f in /sys/fs/cgroup/*/cgroup.procs; do (echo 1 > $f) 2>&1; done | grep -vc 'Read-only'; echo", "0\n"
    ),
    "own cgroup namespace": Case(("--cgroupns", "private"), "sed 's/.*://' /proc/self/cgroup | sort -u", "/"),
}


@pytest.mark.parametrize("name", CASES)
def test_run(podman: Client, name: str) -> None:
    case = CASES[name]
    output = _run(podman, *case.options, IMAGE, "sh", "-c", case.script)
    assert re.fullmatch(case.output, output.removesuffix("\n")), output


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("sh", "-c", "exit 7"), 7, ""),
        (
            ("no-such-command",),
            127,
            'create [0-9a-f]{64}: exec: "no-such-command": executable file not found',
        ),
        (("/no/such/path",), 127, "/no/such/path: no such file or directory"),
        (("/etc/passwd",), 126, "permission denied"),
    ],
)
def test_exit_status(podman: Client, command: tuple[str, ...], code: int, message: str) -> None:
    result = podman.call("run", "--rm", "--network", "none", IMAGE, *command)
    assert result.code == code
    assert re.search(message, result.err)


def test_stdin_and_stderr(podman: Client) -> None:
    result = podman.call(
        "run", "--rm", "-i", "--network", "none", IMAGE, "sh", "-c", "cat; echo bad >&2", stdin="from outside\n"
    )
    assert (result.code, result.out, result.err) == (0, "from outside\n", "bad\n")


def test_network_of_the_host(podman: Client) -> None:
    assert _run(podman, IMAGE, "readlink", "/proc/self/ns/net", network="host").strip() == os.readlink(
        "/proc/self/ns/net"
    )


# ---- terminals ------------------------------------------------------------------------------------------------------

_UNTIL_SIZED = "tty; until [ \"$(stty size)\" = '33 77' ]; do sleep 0.05; done; read answer; echo got $answer; exit 4"


def _on_terminal(podman: Client, *arguments: str) -> tuple[int, str]:
    """Run podman on a terminal of 33 by 77, type `yes`, and return its status and all that was shown."""
    master_fd, peer_fd = pty.openpty()
    termios.tcsetwinsize(peer_fd, (33, 77))
    process = subprocess.Popen(
        [*podman.words, *arguments],
        env=podman.environment,
        stdin=peer_fd,
        stdout=peer_fd,
        stderr=peer_fd,
        start_new_session=True,
    )
    os.close(peer_fd)
    os.write(master_fd, b"yes\n")
    shown = b""
    try:
        while data := os.read(master_fd, 4096):
            shown += data
    except OSError:
        pass  # EIO: nobody holds the other end any more
    finally:
        os.close(master_fd)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def test_terminal(podman: Client) -> None:
    code, shown = _on_terminal(podman, "run", "--rm", "-it", "--network", "none", IMAGE, "sh", "-c", _UNTIL_SIZED)
    assert code == 4
    assert "/dev/pts/0\n" in shown
    assert shown.endswith("got yes\n")


def test_exec_on_a_terminal(podman: Client) -> None:
    _start(podman)
    code, shown = _on_terminal(podman, "exec", "-it", "web", "sh", "-c", _UNTIL_SIZED)
    assert code == 4
    assert re.search(r"/dev/pts/\d+\n", shown)
    assert shown.endswith("got yes\n")


# ---- a container in the background ----------------------------------------------------------------------------------


def test_logs_stop_and_start(podman: Client) -> None:
    _start(podman)
    assert podman.run("ps", "--format", "{{.Names}}") == "web\n"
    podman.run("stop", "--time", "30", "web")
    assert _inspect(podman, "{{.State.Status}} {{.State.ExitCode}}") == "exited 3"
    assert podman.run("logs", "web") == "started\nterm\n"
    podman.run("start", "web")
    assert _inspect(podman, "{{.State.Running}} {{.OCIRuntime}}") == "true pilot"
    podman.run("kill", "web")
    assert podman.run("wait", "web") == "137\n"


def test_signals_by_name(podman: Client) -> None:
    _start(podman, script="trap 'echo got it; exit 9' USR1; echo ready; while true; do sleep 0.05; done")
    podman.run("exec", "web", "sh", "-c", "until grep -q 'SigCgt:.*2..$' /proc/1/status; do sleep 0.05; done")
    podman.run("kill", "--signal", "USR1", "web")
    assert podman.run("wait", "web") == "9\n"
    assert "got it" in podman.run("logs", "web")


def test_pause_stops_the_processes(podman: Client) -> None:
    pid = _start(podman)
    podman.run("pause", "web")
    assert _inspect(podman, "{{.State.Status}}") == "paused"
    assert groups.is_frozen(pid)
    assert podman.call("exec", "web", "true").code == 255
    podman.run("unpause", "web")
    assert not groups.is_frozen(pid)
    assert podman.run("exec", "web", "echo", "again") == "again\n"


def test_a_paused_container_can_be_removed(podman: Client) -> None:
    pid = _start(podman)
    podman.run("pause", "web")
    podman.run("rm", "--force", "--time", "0", "web")
    assert not Path(f"/proc/{pid}").exists()


def test_exec(podman: Client) -> None:
    _start(podman, "--env", "COLOUR=blue")
    script = "echo $COLOUR $SHAPE; pwd; id -u; exit 5"
    result = podman.call(
        "exec", "--env", "SHAPE=round", "--workdir", "/tmp", "--user", "7", "web", "sh", "-c", script
    )  # fmt: skip
    assert (result.code, result.out) == (5, "blue round\n/tmp\n7\n")
    assert podman.run("exec", "-i", "web", "cat", stdin="through\n") == "through\n"
    assert podman.call("exec", "web", "no-such-command").code == 127
    assert podman.call("exec", "web", "/etc/passwd").code == 126


def test_exec_in_the_background(podman: Client) -> None:
    _start(podman)
    podman.run("exec", "--detach", "web", "sh", "-c", "echo done > /tmp/made")
    podman.run("exec", "web", "sh", "-c", "until grep -q done /tmp/made; do sleep 0.05; done")


def test_top_lists_its_processes(podman: Client) -> None:
    _start(podman)
    rows = podman.run("top", "web", "pid", "hpid", "user", "args").splitlines()[1:]
    first = next(row.split() for row in rows if row.split()[0] == "1")
    assert first[1:4] == [_inspect(podman, "{{.State.Pid}}"), "root", "sh"]


def test_healthcheck(podman: Client) -> None:
    _start(podman, "--health-cmd", "test -e /tmp/well", "--health-interval", "disable")
    assert podman.call("healthcheck", "run", "web").code == 1
    podman.run("exec", "web", "touch", "/tmp/well")
    assert podman.call("healthcheck", "run", "web").code == 0


def test_attach(podman: Client) -> None:
    _start(podman, "-i", script="read line; echo got $line; exit 6")
    assert "got something\n" in podman.call("attach", "web", stdin="something\n").out
    assert podman.run("wait", "web") == "6\n"


# ---- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.requires("cgroup1")
def test_limits_are_in_the_cgroup(podman: Client) -> None:
    pid = _start(
        podman, "--memory", "64m", "--cpus", "0.5", "--cpu-shares", "300", "--pids-limit", "50", "--cpuset-cpus", "0"
    )
    found = {
        "memory": groups.read(pid, "memory", "memory.limit_in_bytes"),
        "quota": groups.read(pid, "cpu", "cpu.cfs_quota_us"),
        "period": groups.read(pid, "cpu", "cpu.cfs_period_us"),
        "shares": groups.read(pid, "cpu", "cpu.shares"),
        "pids": groups.read(pid, "pids", "pids.max"),
        "cpus": groups.read(pid, "cpuset", "cpuset.cpus"),
    }
    assert found == {
        "memory": str(64 << 20), "quota": "50000", "period": "100000", "shares": "300", "pids": "50", "cpus": "0",
    }  # fmt: skip
    assert "libpod-" in str(groups.directory(pid, "memory"))
    podman.run("update", "--memory", "32m", "web")
    assert groups.read(pid, "memory", "memory.limit_in_bytes") == str(32 << 20)


def test_too_much_memory_is_killed(podman: Client) -> None:
    result = podman.call(
        "run", "--name", "web", "--network", "none", "--memory", "16m", "--memory-swap", "16m", IMAGE,
        "tail", "-c", "60m", "/dev/zero",
    )  # fmt: skip
    assert result.code == 137


def test_statistics(podman: Client) -> None:
    _start(podman, "--memory", "64m")
    rows = json.loads(podman.run("stats", "--no-stream", "--format", "json", "web"))
    assert rows[0]["name"] == "web"
    assert int(rows[0]["pids"]) >= 1


# ---- files ----------------------------------------------------------------------------------------------------------


def test_volumes(podman: Client, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("from the host\n")
    script = "cat /ro/given; touch /ro/x 2>&1; echo back > /rw/made; echo kept > /kept/file"
    output = _run(
        podman, "-v", f"{tmp_path}:/ro:ro", "-v", f"{tmp_path}:/rw", "-v", "named:/kept", IMAGE, "sh", "-c", script
    )
    assert output == "from the host\ntouch: /ro/x: Read-only file system\n"
    assert (tmp_path / "made").read_text() == "back\n"
    assert _run(podman, "-v", "named:/again", IMAGE, "cat", "/again/file") == "kept\n"
    podman.run("volume", "rm", "named")


def test_mounts_that_come_later_are_seen(podman: Client, tmp_path: Path) -> None:
    """A volume with propagation rslave: what the host mounts there appears in the container."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    subprocess.run(["mount", "--make-shared", tmp_path], check=True)
    try:
        (tmp_path / "below").mkdir()
        _start(podman, "-v", f"{tmp_path}:/seen:rslave")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "late", tmp_path / "below"], check=True)
        assert "late /seen/below tmpfs" in podman.run("exec", "web", "cat", "/proc/mounts")
        subprocess.run(["umount", tmp_path / "below"], check=True)
        podman.run("rm", "--force", "--time", "0", "web")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_copy_in_and_out(podman: Client, tmp_path: Path) -> None:
    _start(podman)
    (tmp_path / "in").write_text("hello\n")
    podman.run("cp", tmp_path / "in", "web:/tmp/in")
    podman.run("exec", "web", "sh", "-c", "tr a-z A-Z < /tmp/in > /tmp/out")
    podman.run("cp", "web:/tmp/out", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "HELLO\n"


def test_a_seccomp_profile_of_ones_own(podman: Client, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 17}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    script = "mkdir /tmp/new 2>&1; touch /tmp/file && echo made"
    output = _run(podman, "--security-opt", f"seccomp={tmp_path}/profile.json", IMAGE, "sh", "-c", script)
    assert output == "mkdir: can't create directory '/tmp/new': File exists\nmade\n"


# ---- namespaces -----------------------------------------------------------------------------------------------------


def test_ids_of_their_own(podman: Client) -> None:
    maps = ("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")
    pid = _start(podman, *maps)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert (status["Uid"].split()[0], status["Gid"].split()[0]) == ("100000", "200000")
    script = "id -u; touch /root/mine && stat -c %u:%g /root/mine; echo x > /dev/null && echo null"
    assert podman.run("exec", "web", "sh", "-c", script) == "0\n0:0\nnull\n"


def test_namespaces_of_another_container(podman: Client) -> None:
    pid = _start(podman)
    kinds = ("pid", "net", "ipc", "uts")
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    options = ("--pid", "container:web", "--ipc", "container:web", "--uts", "container:web")
    output = _run(podman, *options, IMAGE, "sh", "-c", f"{script}; echo $$", network="container:web")
    *links, inner_pid = output.split()
    assert links == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds]
    assert int(inner_pid) > 1
    assert _inspect(podman, "{{.State.Running}}") == "true"


def test_namespaces_of_the_host(podman: Client) -> None:
    options = ("--pid", "host", "--ipc", "host", "--uts", "host")
    output = _run(podman, *options, IMAGE, "sh", "-c", "for k in pid ipc uts; do readlink /proc/self/ns/$k; done")
    assert output.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc", "uts")]


def test_processes_in_a_shared_pid_namespace_end_with_the_container(podman: Client) -> None:
    _start(podman, "--pid", "host", script="sleep 1000 & echo $! > /tmp/child; echo ready; wait")
    child = ""
    while not child:
        child = podman.run("exec", "web", "cat", "/tmp/child").strip()
    podman.run("rm", "--force", "--time", "0", "web")
    assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()


# ---- images ---------------------------------------------------------------------------------------------------------


def test_build(podman: Client, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(
        f"FROM {IMAGE}\n"
        "COPY given /given\n"
        "RUN tr a-z A-Z < /given > /made && hostname > /dev/null\n"
        "USER some\n"
        'CMD ["sh", "-c", "cat /made; id -u"]\n'
    )
    (tmp_path / "given").write_text("built\n")
    podman.run("build", "--isolation", "oci", "--network", "none", "--tag", "localhost/built", tmp_path)
    assert _run(podman, "localhost/built") == "BUILT\n7\n"
    failed = podman.call("build", "--network", "none", "-f", "-", tmp_path, stdin=f"FROM {IMAGE}\nRUN exit 9\n")
    assert failed.code == 9


@pytest.mark.requires("world-tar")
def test_debian(podman: Client) -> None:
    """A whole Debian, as it is imported from a tar file of its root."""
    podman.run("import", clients.world_tar(), "localhost/debian")
    script = "dpkg --version | head -n 1; apt-config dump > /dev/null && perl -e 'print 6*7, chr(10)'"
    output = _run(podman, "localhost/debian", "bash", "-c", script)
    assert re.fullmatch(r"Debian 'dpkg' .*\n42\n", output)
    podman.run("rmi", "localhost/debian")
