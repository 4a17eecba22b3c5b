"""One case under one runtime: made, looked at, ended, removed.

    inside alone:     run ──────────────────────────────► output, status
    with outside:     create ► created ► start ► (script at its end) ► running, verbs ► kill ► delete ► after

A script says each command's name before its output, and `@end` after the last one; then the container waits to be
killed where somebody wants to look.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pty
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.support import bundles, front

from .case import Case, Config, Json, Observer, Seen, configure
from .observers import STATE, normalise

_WAIT_S = 45
# Of bundles: what scripts of cases use besides what every test's rootfs has.
_APPLETS = ("awk", "cut", "dd", "df", "dmesg", "expr", "find", "grep", "head", "hostname", "ip", "kill", "ln", "mkdir",
            "mkfifo", "mknod", "nproc", "printenv", "pwd", "readlink", "rm", "sed", "seq", "setsid", "sort", "sysctl",
            "tail", "tr", "uname", "wc", "which", "chmod", "chown", "chroot", "date", "umount", "false", "nice",
            "ionice", "touch")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A runtime's command line."""

    name: str
    command: tuple[str, ...]


# Standard input is a pipe: crun gives the device that it gets there to the container's root, /dev/null of the host too.
def observe(case: Case, runtime: Runtime, directory: Path, holder_pid: int) -> dict[str, Json]:
    """All observations of the case; the directory has room for its bundle and its state."""
    id = f"cmp{os.getpid()}x{abs(hash((case.name, runtime.name))) % 100000}"
    bundle = bundles.make_bundle(directory / "bundle")

    def replace(text: str) -> str:
        return text.replace("BUNDLE", os.fspath(bundle)).replace("HOLDER", str(holder_pid)).replace("ID", id)

    _furnish(bundle, case, replace)
    # runc 1.1 refuses versions that it does not know.
    config = configure(case, _default(case), replace)
    (bundle / "config.json").write_text(json.dumps({"ociVersion": "1.0.2", **config}) + case.appended)
    words = (*runtime.command, "--root", os.fspath(directory / "state"))
    life = _Life(case, Seen(words, 0, bundle, id, holder_pid), replace)
    with _mounted(bundle, case.mounted), _agent(bundle) if case.agent else contextlib.nullcontext():
        try:
            return life.lead()
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            return {"waited": str(error).replace(os.fspath(directory), "").replace(id, "ID")}
        finally:
            life.clear()


def _umount(place: Path) -> None:
    subprocess.run(["umount", "-l", place], check=True, timeout=_WAIT_S)


@contextlib.contextmanager
def _mounted(bundle: Path, places: Mapping[str, str]) -> Iterator[None]:
    """A tmpfs with these options at each place; a file is in it before it gets them."""
    with contextlib.ExitStack() as stack:
        for name, options in places.items():
            place = bundle / name
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True, timeout=_WAIT_S)
            stack.callback(_umount, place)
            (place / "file").write_text("text\n")
            subprocess.run(["mount", "-o", f"remount,bind,{options}", place], check=True, timeout=_WAIT_S)
        yield


def _default(case: Case) -> Config:
    config = bundles.make_config(*(case.args or ("sh", "-c", _script(case))))
    del config["ociVersion"]
    return bundles.with_user_namespace(config) if case.user_namespace else config


def _script(case: Case) -> str:
    lines = [f"echo '@{name}'; {{ {command}\n}} 2>&1 || echo exit $?" for name, command in case.inside.items()]
    return "\n".join([*lines, "echo @end", *(["exec sleep 1000"] if _is_watched(case) else [])])


def _is_watched(case: Case) -> bool:
    return bool(case.created or case.running or case.verbs or case.changed or case.ended)


def _furnish(bundle: Path, case: Case, replace: Callable[[str], str]) -> None:
    for name in _APPLETS:
        link = bundle / "rootfs/bin" / name
        if not link.is_symlink():
            link.symlink_to("busybox")
    for name, text in case.files.items():
        path = bundle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(replace(text))
        path.chmod(0o755)
    for name, target in case.links.items():
        (bundle / name).symlink_to(target)


@dataclasses.dataclass
class _Life:
    case: Case
    seen: Seen
    replace: Callable[[str], str]

    def lead(self) -> dict[str, Json]:
        if self.case.terminal is not None:
            return self._in_a_terminal(*self.case.terminal)
        return self._watched() if _is_watched(self.case) else self._run()

    def clear(self) -> None:
        """Nothing is left, whatever happened."""
        for id in {self.seen.id, *self._call("list", "--quiet").stdout.splitlines()}:
            self._call("delete", "--force", id)
        if self.seen.pid:
            with contextlib.suppress(ProcessLookupError):  # it is where it belongs, unless its state was damaged
                os.kill(self.seen.pid, signal.SIGKILL)

    def _call(self, *words: str, general: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Output goes to a file: a container that is left with it holds nobody up."""
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            done = subprocess.run(
                [*self._command(general), *words], input="", text=True, stdout=output, stderr=subprocess.DEVNULL,
                timeout=_WAIT_S, check=False, cwd=self.seen.bundle, env=_environment(), pass_fds=self._preserved(),
            )  # fmt: skip
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read())

    def _command(self, general: tuple[str, ...]) -> list[str]:
        return [*self.seen.runtime, *map(self.replace, general)]

    def _preserved(self) -> tuple[int, ...]:
        return tuple(range(3, 3 + self.case.preserve))

    def _run(self) -> dict[str, Json]:
        done = self._call("run", *self._options(), "--bundle", os.fspath(self.seen.bundle), self.seen.id,
                          general=self.case.general)  # fmt: skip
        return {"status": done.returncode, **self._parsed(done.stdout), **self._looked("after", self.case.after)}

    def _in_a_terminal(self, rows: int, columns: int) -> dict[str, Json]:
        ours_fd, theirs_fd = pty.openpty()
        fcntl.ioctl(theirs_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        words = ["run", *self._options(), "--bundle", os.fspath(self.seen.bundle), self.seen.id]
        with subprocess.Popen(
            [*self._command(self.case.general), *words], stdin=theirs_fd, stdout=theirs_fd, stderr=theirs_fd
        ) as process:
            os.close(theirs_fd)
            try:
                text = bundles.read_terminal(ours_fd).decode()
                status = process.wait(_WAIT_S)
            finally:
                process.kill()
                os.close(ours_fd)
        return {"status": status, **self._parsed(text)}

    def _watched(self) -> dict[str, Json]:
        seen: dict[str, Json] = {}
        out, pid_file = self.seen.bundle / "out", self.seen.bundle / "pid"
        words = ["create", *self._options(), "--pid-file", os.fspath(pid_file), "--bundle", os.fspath(self.seen.bundle)]
        with open(out, "wb") as output:
            create = subprocess.run(
                [*self._command(self.case.general), *words, self.seen.id], input="", text=True, stdout=output,
                stderr=output, timeout=_WAIT_S, check=False, cwd=self.seen.bundle, env=_environment(),
            )  # fmt: skip
        seen["create"] = create.returncode
        if create.returncode == 0:
            self.seen = dataclasses.replace(self.seen, pid=int(pid_file.read_text()))
            seen |= self._looked("created", self.case.created)
            if self.case.running or self.case.verbs or self.case.inside or self.case.ended:
                seen |= self._started(out)
            seen |= self._ended()
        return {**seen, **self._looked("after", self.case.after)}

    def _started(self, out: Path) -> dict[str, Json]:
        seen: dict[str, Json] = {"start": self._call("start", self.seen.id).returncode}
        if seen["start"] == 0 and not self.case.args:
            text = self._read_to_the_end(out)
            seen |= self._parsed(text)
        if seen["start"] == 0:
            seen |= self._looked("running", self.case.running)
        return {**seen, **self._asked(self.case.verbs), **self._looked("changed", self.case.changed)}

    def _asked(self, commands: Sequence[str], stage: str = "verb") -> dict[str, Json]:
        seen: dict[str, Json] = {}
        for words in commands:
            done = self._call(*shlex.split(self.replace(words)))
            # What is said of an error differs in its words, what is said of success is for programs.
            said = _parsed(normalise(done.stdout, self.seen)) if done.returncode == 0 else None
            if isinstance(said, dict) and words.startswith("state "):
                said = {name: said.get(name) for name in STATE}
            seen[f"{stage}.{words}"] = [done.returncode, said]
        return seen

    def _ended(self) -> dict[str, Json]:
        self._call("kill", self.seen.id, "KILL")
        _until(lambda: self._status() != "running" or None, "the container to stop")
        asked = self._asked(self.case.ended, "ended")
        return {**asked, "delete": self._call("delete", self.seen.id).returncode}

    def _status(self) -> str:
        done = self._call("state", self.seen.id)
        return json.loads(done.stdout)["status"] if done.returncode == 0 else "gone"

    def _read_to_the_end(self, out: Path) -> str:
        """And until the shell has become what waits to be killed: in between it is seen as either."""

        def read() -> str | None:
            text = out.read_text(errors="replace")
            try:
                is_still_shell = Path(f"/proc/{self.seen.pid}/cmdline").read_bytes().startswith(b"sh\0-c\0")
            except OSError:  # it is gone
                return text
            return text if "@end" in text and not is_still_shell else None

        return _until(read, "the script to end")

    def _options(self) -> list[str]:
        return [self.replace(word) for word in self.case.options]

    def _looked(self, when: str, observers: Mapping[str, Observer]) -> dict[str, Json]:
        return {f"{when}.{name}": _look(observer, self.seen) for name, observer in observers.items()}

    def _parsed(self, text: str) -> dict[str, Json]:
        """Output of a script → lines by the names of its commands."""
        seen: dict[str, Json] = {}
        name = ""
        for line in normalise(text, self.seen).splitlines():
            if line == "@end":
                break
            if line.startswith("@"):
                name = line[1:].strip()
                seen[f"inside.{name}"] = []
            elif name:
                seen[f"inside.{name}"].append(line.rstrip())
        return seen


def _environment() -> dict[str, str]:
    """What hooks may inherit."""
    return {**os.environ, "COMPARED": "yes"}


def _parsed(text: str) -> Json:
    """A document, or lines."""
    try:
        return json.loads(text)
    except ValueError:
        return [line.rstrip() for line in text.splitlines()]


def _look(observer: Observer, seen: Seen) -> Json:
    """An observation that cannot be made says so: runtimes that differ in that differ."""
    try:
        return observer(seen)
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"


_T = TypeVar("_T")


def _until(look: Callable[[], _T | None], what: str) -> _T:
    deadline = time.monotonic() + _WAIT_S
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_WAIT_S} s for {what}")
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def _agent(bundle: Path) -> Iterator[None]:
    """Who listens for a seccomp descriptor: the message is in BUNDLE/agent.json, number and kind of descriptors too."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.fspath(bundle / "agent.sock"))
    listener.listen()

    def take() -> None:
        with contextlib.suppress(OSError):  # closed below: nobody came
            connection, _ = listener.accept()
            with connection:
                message, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 8)
            kinds = [os.readlink(f"/proc/self/fd/{fd}") for fd in descriptors]
            for fd in descriptors:
                os.close(fd)
            (bundle / "agent.json").write_text(json.dumps({**json.loads(message), "kinds": kinds}))

    thread = threading.Thread(target=take, name="agent")
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # ENOTCONN: as it is
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(_WAIT_S)


@contextlib.contextmanager
def holder() -> Iterator[int]:
    """A process with namespaces of its own, which containers may join by its pid."""
    kinds = ["--net", "--ipc", "--uts", "--cgroup"]
    with subprocess.Popen(["unshare", *kinds, "sh", "-c", "hostname held; echo ready; exec sleep 10000"],
                          stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


RUNTIMES = (Runtime("runc", ("runc",)), Runtime("crun", ("crun",)), Runtime("pilot", (front.PILOT,)))


def observe_all(
    case: Case, runtimes: Sequence[Runtime], directory: Path, holder_pid: int
) -> dict[str, dict[str, Json]]:
    """The case under each runtime at the same time; each has a bundle of its own below the directory."""

    def one(runtime: Runtime) -> dict[str, Json]:
        place = Path(tempfile.mkdtemp(prefix=f"{runtime.name}-", dir=directory))
        place.chmod(0o755)
        try:
            return observe(case, runtime, place, holder_pid)
        finally:
            shutil.rmtree(place)

    with ThreadPoolExecutor(len(runtimes)) as pool:
        return dict(zip((runtime.name for runtime in runtimes), pool.map(one, runtimes), strict=True))
