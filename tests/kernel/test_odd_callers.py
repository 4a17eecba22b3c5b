"""Callers, bundles and moments that nobody thought of, as public reports about runtimes have them."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import bundles, front
from tests.support.bundles import Config

from pilot import errors
from pilot.runtime import Runtime, Stdio, addresses

pytestmark = [pytest.mark.requires("root", "private", "busybox"), pytest.mark.usefixtures("by_front")]

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, bundle: Path) -> Iterator[Run]:
    """Run a verb; what is left in the end is deleted."""

    def run_verb(*words: str, runtime: str = front.PILOT, where: Path = bundle, **more: Any) -> Done:
        # Files, not pipes: what stays behind keeps what it was given.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            command = [runtime, "--root", str(tmp_path / f"root-{Path(runtime).name}"), *words]
            more.update(stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            status = subprocess.run(command, cwd=where, timeout=60, check=False, **more).returncode
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, status, out.read(), err.read())

    yield run_verb
    for name in os.listdir(tmp_path / "root-pilot") if (tmp_path / "root-pilot").exists() else []:
        run_verb("delete", "-f", name)


def _configure(bundle: Path, config: Config) -> None:
    (bundle / "config.json").write_text(json.dumps({**config, "ociVersion": "1.0.2"}))


def _ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def test_the_status_of_a_process_where_the_caller_ignores_its_children(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config())
    assert run("run", "-d", "web", preexec_fn=_ignore_children).returncode == 0
    assert run("exec", "web", "sh", "-c", "exit 7", preexec_fn=_ignore_children).returncode == 7
    _configure(bundle, bundles.make_config("sh", "-c", "exit 4"))
    assert run("run", "other", preexec_fn=_ignore_children).returncode == 4


@pytest.mark.parametrize("most", [7, 12, 20])
def test_a_caller_that_may_have_few_descriptors(run: Run, bundle: Path, most: int) -> None:
    _configure(bundle, bundles.make_config("true"))
    done = run("run", "web", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(": too many open files\n")
    assert run("list", "-q").stdout == ""


@pytest.mark.parametrize("name", [b"a b\tc", b"a\nb", b"%s%n", b"\\134", b"a:b,c=d", "ü".encode(), b"-b"])
def test_paths_of_bundles(run: Run, tmp_path: Path, name: bytes) -> None:
    bundle = bundles.make_bundle(tmp_path / os.fsdecode(name))
    _configure(bundle, bundles.make_config("echo", "here"))
    done = run("run", "web", where=bundle)
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


def test_a_path_that_is_no_text(run: Run, tmp_path: Path) -> None:
    bundle = bundles.make_bundle(tmp_path / os.fsdecode(b"a\xff\xfe"))
    _configure(bundle, bundles.make_config("true"))
    done = run("run", "web", where=bundle)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pilot: run web: bundle ")
    assert done.stderr.endswith(": its path is not UTF-8, and no state document could have it\n")


def test_a_working_directory_that_has_gone(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config("echo", "here"))

    def leave() -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()

    assert run("run", "-b", str(bundle), "web", preexec_fn=leave).stdout == "here\n"
    done = run("run", "web", preexec_fn=leave)
    assert done.stderr == "pilot: run web: find the bundle: the working directory has been removed\n"


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_the_callers_terminal_and_files_stay_the_callers(run: Run, bundle: Path, tmp_path: Path, verb: str) -> None:
    """Descriptors of the process are its user's, so that he may open them anew, but not what is the host's."""
    who = {"user": {"uid": 1000, "gid": 1000}}
    _configure(bundle, bundles.make_config(*(["true"] if verb == "run" else ["sleep", "1000"]), **who))
    if verb == "exec":
        assert run("run", "-d", "web").stderr == ""
    master_fd, terminal_fd = os.openpty()
    written = tmp_path / "written"
    read = tmp_path / "read"
    read.write_text("text")
    words = ["run", "web"] if verb == "run" else ["exec", "web", "true"]
    command = [front.PILOT, "--root", str(tmp_path / "root-pilot"), *words]
    with read.open() as stdin, written.open("w") as stdout:
        done = subprocess.run(
            command, cwd=bundle, timeout=60, stdin=stdin, stdout=stdout, stderr=terminal_fd, check=False
        )
    assert (done.returncode, os.fstat(terminal_fd).st_uid) == (0, 0)
    assert (read.stat().st_uid, written.stat().st_uid) == (0, 1000)
    os.close(master_fd)
    os.close(terminal_fd)


def test_one_damaged_container_hides_no_other(run: Run, bundle: Path, tmp_path: Path) -> None:
    _configure(bundle, bundles.make_config("true"))
    for name in ("first", "second", "third"):
        assert run("create", name).stderr == ""
    kept = tmp_path / "root-pilot/second/state.json"
    text = kept.read_text()
    kept.write_text("{")
    done = run("list", "-q")
    assert (done.returncode, done.stdout.split()) == (0, ["first", "third"])
    assert done.stderr.startswith("pilot: warning: load container second: state.json of second is damaged: ")
    assert [row["id"] for row in json.loads(run("list", "-f", "json").stdout)] == ["first", "third"]
    kept.write_text(text)


def test_options_that_ps_refuses(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config())
    run("run", "-d", "web")
    done = run("ps", "web", "--no-such")
    assert done.returncode == 1
    assert done.stderr.startswith("pilot: ps web: run ps --no-such: exit status 1: error: ")


_HOOKS: dict[str, dict[str, Any]] = {
    "missing": {"path": "/nope/hook"},
    "forbidden": {"path": "/etc/passwd"},
    "failing": {"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]},
    "too slow": {"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1},
}


@pytest.mark.requires("runc")
@pytest.mark.parametrize("kind", _HOOKS)
def test_why_a_start_container_hook_failed_is_told(run: Run, bundle: Path, kind: str) -> None:
    config = bundles.make_config("echo", "never")
    config["hooks"] = {"startContainer": [_HOOKS[kind]]}
    _configure(bundle, config)
    for runtime in ("runc", front.PILOT):
        done = run("run", "web", runtime=runtime)
        assert (done.returncode, done.stdout) == (1, "")
        assert "hook" in done.stderr
    assert done.stderr.startswith(f"pilot: error running startContainer hook #0: {_HOOKS[kind]['path']}: ")


@pytest.mark.requires("runc")
@pytest.mark.parametrize("destination", ["/tmp", "/etc/passwd"])
def test_a_file_over_a_directory_and_a_directory_over_a_file(run: Run, bundle: Path, destination: str) -> None:
    source = bundle / "rootfs" / ("etc/passwd" if destination == "/tmp" else "tmp")
    config = bundles.make_config("true")
    config["mounts"].append({"destination": destination, "source": str(source), "options": ["bind"]})
    _configure(bundle, config)
    for runtime in ("runc", front.PILOT):
        done = run("run", "web", runtime=runtime)
        assert (done.returncode, "not a directory" in done.stderr) == (1, True)


@pytest.mark.requires("runc")
@pytest.mark.parametrize("path", ["/", "//"])
def test_a_root_among_the_read_only_paths(run: Run, bundle: Path, path: str) -> None:
    config = bundles.make_config("touch", "/file")
    config["linux"]["readonlyPaths"] = [path]
    _configure(bundle, config)
    for runtime in ("runc", front.PILOT):
        done = run("run", "web", runtime=runtime)
        assert (done.returncode, done.stderr) == (1, "touch: /file: Read-only file system\n")


_ALLOWED = ["read", "write", "close", "capset", "execve"]


@pytest.mark.parametrize(
    ("allowed", "status"), [([], 1), (_ALLOWED, 128 + signal.SIGSEGV), (_ALLOWED[:-1], 128 + signal.SIGILL)]
)
def test_a_profile_that_refuses_even_to_exit(run: Run, bundle: Path, allowed: list[str], status: int) -> None:
    """The process must not try for ever. The status is that of who could not go on: us, busybox, or the process."""
    config = bundles.make_config("true")
    rules = [{"names": allowed, "action": "SCMP_ACT_ALLOW"}] if allowed else []
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}
    _configure(bundle, config)
    done = run("run", "web")
    assert (done.returncode, done.stdout) == (status, "")
    assert ("linux.seccomp has to allow" in done.stderr) == (not allowed)


@pytest.mark.parametrize("kind", ["console", "pidfd", "listener"])
def test_sockets_whose_path_is_longer_than_an_address(run: Run, bundle: Path, tmp_path: Path, kind: str) -> None:
    """108 bytes are soon used up by a runtime directory and an id of 64 letters."""
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = str(directory / "socket")
    config = bundles.make_config("true", terminal=kind == "console")
    words = ["create"]
    if kind == "listener":
        rules = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": rules}
    else:
        words += [f"--{kind}-socket", path]
    _configure(bundle, config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        with addresses.short(path) as address:
            server.bind(address)
        server.listen()
        assert run(*words, "web").stderr == ""
        server.settimeout(60)
        with server.accept()[0] as connection:
            _, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
    assert len(fds) == 1
    os.close(fds[0])


def test_a_service_managers_socket_of_a_long_path(run: Run, bundle: Path, tmp_path: Path) -> None:
    """What is bound for the container lies below the root, whatever that is."""
    root = tmp_path / ("d" * 100)
    manager = tmp_path / "manager"
    _configure(bundle, bundles.make_config("sh", "-c", 'test -S "$NOTIFY_SOCKET" && echo there'))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(manager))
        command = [front.PILOT, "--root", str(root), "run", "web"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(manager)}
        done = subprocess.run(
            command,
            cwd=bundle,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "there\n", "")


def test_a_step_of_very_many_groups_is_told_in_short(run: Run, bundle: Path) -> None:
    _configure(bundle, bundles.make_config("true", user={"uid": 0, "gid": 0, "additionalGids": [*range(65537)]}))
    done = run("run", "web")
    assert done.stderr.startswith("pilot: run web: setgroups 0,1,2,")
    assert done.stderr.endswith(",30,31 and 65505 more: invalid argument\n")


def test_exec_while_the_container_ends(runtime: Runtime, bundle: Path) -> None:
    """Its first process has been killed, and waits for another that nobody has reaped yet."""
    created = bundles.create(runtime, bundle, bundles.make_config())
    created.container.start()
    process = bundles.parse_config(bundles.make_config("sleep", "1000")).process
    assert process is not None
    other = created.container.exec(process, Stdio())
    try:
        os.kill(created.process.pid, signal.SIGKILL)
        assert select.select([other.pid_fd], [], [], 60)[0]
        with pytest.raises(errors.StateError, match="cannot exec in a stopped container"):
            created.container.exec(process, Stdio())
    finally:
        runtime.wait(other, 60)
        other.close()
        created.process.close()
