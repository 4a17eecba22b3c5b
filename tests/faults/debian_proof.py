"""A Debian lives on a volume while everything below it is killed: the proof that `make debian-proof` runs.

    fetch    (with a network) the packages to install, and what they need, into the cache
    run      (in private namespaces) rounds of:

        fork the base: a Debian root filesystem and a file: repository ─ apt-get install in it, and meanwhile at random
            kill -9 of the worker        nobody may notice
            kill -9 of volumed           nobody may notice; another one takes over
            kill -9 of both, or of the keeper and one of them    nobody may notice
            a checkpoint                 of the half-installed system; its fork is hashed
            kill -9 of all three         ends the installation; attach again, e2fsck, hash what must be there, go on
        the result is that of an installation outside of any volume: the same hash of every file; its compiler compiles
        restore the checkpoint: as its fork was, e2fsck, complete the installation, the same hash again
        a fork of the result: the same hash
        the host is emptied: another volumed, with nothing but the object store, has the disk: the same hash, e2fsck

The result is one JSON object, and a page when `--report` names one; exit status 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.volumed import ALL, Volumed

from pilot.ids import CheckpointId, VolumeId
from pilot.kernel import fds as descriptors
from pilot.kernel import mounts
from pilot.volume import messages
from pilot.volume.requests import to_worker

PACKAGES = ("gcc", "libc6-dev", "make")
SIZE_BYTES = 8 << 30
BASE, DISK, FORK, CHECK = VolumeId("base"), VolumeId("disk"), VolumeId("fork"), VolumeId("check")
MIDDLE = CheckpointId("half-installed")
CACHE = Path("/var/cache/pilot")
_APT = ("apt-get", "-q", "-y", "--no-install-recommends", "-o", "APT::Sandbox::User=root")
# What apt and dpkg write with dates in it, or for themselves.
_NOT_COMPARED = (
    "proc", "dev", "sys", "run", "tmp", "var/log", "var/cache", "var/lib/apt", "var/lib/dpkg", "repo", "lost+found",
)  # fmt: skip
# What a worker keeps: /dev/fuse, the log, the FUSE mount, the loop device.
_PARCEL = 4
_PAUSE_S = (0.02, 0.5)
_HELLO = '#include <stdio.h>\nint main(void) { puts("a real package"); return 0; }\n'


def fetch(cache: Path) -> None:
    """Download the packages that the world lacks."""
    packages = cache / "debian-proof"
    (packages / "partial").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["tar", "-xf", _world_tar(cache), "-C", scratch, "./var/lib/dpkg/status"], check=True)
        options = [
            f"Dir::State::status={scratch}/var/lib/dpkg/status",
            f"Dir::Cache::archives={packages}",
            "Debug::NoLocking=1",
        ]
        command = [*_APT, "--download-only", *(part for option in options for part in ("-o", option))]
        subprocess.run([*command, "install", *PACKAGES], check=True)


def _world_tar(cache: Path) -> str:
    return max(glob.glob(f"{cache}/world-minimal-*.tar"), key=os.path.getmtime)


# ---- the world ------------------------------------------------------------------------------------------------------


def fill(root: Path, cache: Path) -> None:
    """A Debian, and the packages as a repository in it."""
    subprocess.run(["tar", "-xf", _world_tar(cache), "-C", str(root)], check=True)
    repository = root / "repo"
    repository.mkdir()
    for path in (cache / "debian-proof").glob("*.deb"):
        shutil.copy(path, repository)
    for path in (root / "etc/apt/sources.list.d").iterdir():
        path.unlink()
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")
    _check(_world(root, "sh", "-c", "cd /repo && apt-ftparchive packages . > Packages"))
    _check(_world(root, *_APT, "update"))


def _world(root: Path, *command: str) -> subprocess.Popen[str]:
    """A command in the world; its mounts and everything it leaves running go with it."""
    script = 'mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
         "sh", "-c", script, str(root), *command],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _check(process: subprocess.Popen[str], timeout_s: float = 300) -> str:
    """What it said; RuntimeError when it failed."""
    output, _ = process.communicate(timeout=timeout_s)
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}: {output[-2000:]}")
    return output


def complete(root: Path) -> None:
    """Bring an interrupted installation to its end, as an administrator would."""
    # Fails when a package was hit while it was unpacked: apt installs that one again.
    _world(root, "dpkg", "--configure", "-a").communicate(timeout=300)
    _check(_world(root, *_APT, "-f", "install"))
    _check(_world(root, *_APT, "install", *PACKAGES))
    # A dpkg that is killed can forget that ldconfig was to be run; on a plain ext4 too, with nothing of ours below.
    _check(_world(root, "ldconfig"))


def content(root: Path) -> dict[str, str]:
    """Path → what it is: type, mode, owner, and the hash of its bytes."""
    found: dict[str, str] = {}
    for directory, names, files in os.walk(root):
        inside = os.path.relpath(directory, root)
        names[:] = [name for name in names if os.path.normpath(os.path.join(inside, name)) not in _NOT_COMPARED]
        for name in (*names, *files):
            path = os.path.join(directory, name)
            found[os.path.normpath(os.path.join(inside, name))] = _describe(path)
    return found


def _describe(path: str) -> str:
    info = os.lstat(path)
    facts = f"{info.st_mode:o} {info.st_uid} {info.st_gid}"
    if stat.S_ISLNK(info.st_mode):
        return f"{facts} -> {os.readlink(path)}"
    if not stat.S_ISREG(info.st_mode):
        return facts
    with open(path, "rb") as file:
        return f"{facts} {info.st_size} {hashlib.file_digest(file, 'blake2b').hexdigest()[:32]}"


# ---- the proof ------------------------------------------------------------------------------------------------------


class Proof:
    """One volumed, its base and the disk under fire."""

    def __init__(self, directory: Path, seed: int, cache: Path) -> None:
        self._directory = directory
        self._cache = cache
        self._random = random.Random(seed)
        self._store = f"file://{directory}/store"
        self._hosts = 0
        self.volumed = self._new_host()
        self._place = directory / "disk"
        self._place.mkdir()
        self.oracle: dict[str, str] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []

    def _new_host(self) -> Volumed:
        """A volumed with an empty state directory."""
        self._hosts += 1
        state = self._directory / f"host-{self._hosts}"
        state.mkdir()
        return Volumed(state, "--store", self._store)

    def prepare(self) -> None:
        """The base, and what an installation leaves where nothing of ours is in between."""
        plain = self._directory / "plain"
        plain.mkdir()
        fill(plain, self._cache)
        _check(_world(plain, *_APT, "install", *PACKAGES))
        self.oracle = content(plain)
        shutil.rmtree(plain)
        self.volumed.start()
        client = self.volumed.client
        client.create(BASE, SIZE_BYTES)
        with self.volumed.mounted(BASE, self._place) as root:
            fill(root, self._cache)
        client.seal(BASE)

    def close(self) -> None:
        """Nothing stays mounted, whatever happened: what removes the directory must not walk into a disk."""
        for place in (self._place, self._directory / "fork"):
            if mounts.is_mount_point(place):
                mounts.umount(place, mounts.Unmount.DETACH)
        self.volumed.stop()

    def kills(self) -> int:
        return sum(count for name, count in self.counts.items() if name.startswith("kills_of_"))

    def round(self) -> None:
        """See the module."""
        client = self.volumed.client
        client.fork(BASE, DISK)
        self._mount()
        middle = self._install_under_fire()
        self._expect("after the installation", self.oracle)
        self._compile()
        if middle is not None:
            self._restore(middle)
        mounts.umount(self._place)
        client.detach(DISK)
        self._check_filesystem(DISK)
        with self._forked(DISK) as root:
            self._compare("fork of the result", content(root), self.oracle)
        self._empty_host()
        self.volumed.client.delete(DISK)
        self.counts["rounds"] += 1

    def _empty_host(self) -> None:
        """What the store has is all that is left, and all that is needed."""
        self.volumed.stop()
        shutil.rmtree(self.volumed.directory)
        self.volumed = self._new_host()
        self.volumed.start()
        for volume in (BASE, DISK):
            self.volumed.client.adopt(volume)
        with self.volumed.mounted(DISK, self._place) as root:
            self._compare("on an emptied host", content(root), self.oracle)
            self._compile()
        self._check_filesystem(DISK)
        self.counts["attached_from_the_store_on_an_emptied_host"] += 1

    def _install_under_fire(self) -> dict[str, str] | None:
        """Install; what the checkpoint that was taken meanwhile holds, None when there was no time for one."""
        process = _world(self._place, *_APT, "install", *PACKAGES)
        middle = None
        steps = 0
        last = self._random.randrange(10, 40)
        while not self._ended(process):
            steps += 1
            if middle is None and steps == 3:
                middle = self._save()
            elif steps >= last:
                self._kill_all(process)
                complete(self._place)
                return middle
            else:
                self._random.choice((self._kill_worker, self._kill_worker, self._kill_volumed, self._kill_two))()
        output = _check(process)
        if self.volumed.client.stat(DISK).worker_restarts == 0 and "Setting up" not in output:
            self.problems.append(f"nothing was installed: {output[-500:]}")
        self.counts["installations_undisturbed_by_kills"] += 1
        return middle

    def _ended(self, process: subprocess.Popen[str]) -> bool:
        try:
            process.wait(self._random.uniform(*_PAUSE_S))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _save(self) -> dict[str, str]:
        made = self.volumed.client.checkpoint(DISK, checkpoint=MIDDLE)
        self.counts["checkpoints_while_writing"] += 1
        self.counts["of_them_clean"] += made.clean
        with self._forked(DISK, MIDDLE) as root:
            return content(root)

    def _restore(self, middle: dict[str, str]) -> None:
        client = self.volumed.client
        mounts.umount(self._place)
        client.detach(DISK)
        client.restore(DISK, MIDDLE)
        self._check_filesystem(DISK)
        self._mount()
        self._compare("restored", content(self._place), middle)
        complete(self._place)
        self._expect("completed after the restore", self.oracle)
        self.counts["restores"] += 1

    # ---- kills

    def _wait_settled(self) -> None:
        """Until the worker holds all that a next volumed needs: killing volumed before that is a kill of both."""
        deadline = time.monotonic() + 30
        while self._parcel_count() < _PARCEL:
            if time.monotonic() > deadline:
                raise RuntimeError("the worker that was started anew was given nothing to keep")

    def _parcel_count(self) -> int:
        self.volumed.worker(DISK)
        connection = messages.connect(str(self.volumed.disk(DISK) / "worker.sock"), 20)
        try:
            fds = connection.call(to_worker.TakeBack())[1]
            descriptors.close_all(fds)
            return len(fds)
        finally:
            connection.close()

    def _kill_worker(self) -> None:
        os.kill(self.volumed.worker(DISK), signal.SIGKILL)
        self.counts["kills_of_worker"] += 1

    def _kill_volumed(self) -> None:
        self._wait_settled()
        self.volumed.kill()
        self.volumed.start()
        self.counts["kills_of_volumed"] += 1

    def _kill_two(self) -> None:
        self._wait_settled()
        two = self._random.choice((("worker", "volumed"), ("worker", "keeper"), ("keeper", "volumed")))
        self.volumed.kill_together(DISK, two)
        if not self.volumed.is_running():
            self.volumed.start()
        self.counts["kills_of_two_at_once"] += 1

    def _kill_all(self, process: subprocess.Popen[str]) -> None:
        self.volumed.kill_together(DISK, ALL)
        self.counts["kills_of_all_three"] += 1
        process.kill()
        process.communicate(timeout=60)
        mounts.umount(self._place)
        self.volumed.start()
        self.volumed.client.detach(DISK)
        self._mount()  # which replays the journal
        mounts.umount(self._place)
        self.volumed.client.detach(DISK)
        self._check_filesystem(DISK)
        self._mount()
        self._expect("after all three were killed", self._of_the_base(content(self._place)))

    def _of_the_base(self, now: dict[str, str]) -> dict[str, str]:
        """What was there before, and was not of the packages' business, must be as it was."""
        with self._forked(BASE) as root:
            before = content(root)
        return {path: before[path] for path in before if self.oracle.get(path) == before[path]} | {
            path: now[path] for path in now if path not in before or self.oracle.get(path) != before[path]
        }

    # ---- looking

    def _mount(self) -> None:
        mount_fd = self.volumed.client.attach(DISK, 0, 1 << 32)
        try:
            mounts.move_mount(mount_fd, self._place)
        finally:
            os.close(mount_fd)

    @contextlib.contextmanager
    def _forked(self, source: VolumeId, checkpoint: CheckpointId | None = None) -> Iterator[Path]:
        """A fork, mounted; deleted afterwards."""
        client = self.volumed.client
        client.fork(source, FORK, checkpoint)
        with self.volumed.mounted(FORK, self._directory / "fork") as root:
            yield root
        client.delete(FORK)

    def _expect(self, when: str, wanted: dict[str, str]) -> None:
        self._compare(when, content(self._place), wanted)

    def _compare(self, when: str, found: dict[str, str], wanted: dict[str, str]) -> None:
        self.counts["trees_compared"] += 1
        self.counts["files_compared"] += len(wanted)
        for path in sorted(found.keys() | wanted.keys()):
            if found.get(path) != wanted.get(path):
                self.problems.append(f"{when}: {path}: {found.get(path)}, expected {wanted.get(path)}")

    def _compile(self) -> None:
        (self._place / "tmp/hello.c").write_text(_HELLO)
        said = _check(_world(self._place, "sh", "-c", "cd /tmp && gcc -o hello hello.c && ./hello"))
        if said != "a real package\n":
            self.problems.append(f"the compiler's program said {said!r}")
        self.counts["programs_compiled"] += 1

    def _check_filesystem(self, volume: VolumeId) -> None:
        """e2fsck of a fork, which may then never be mounted here again."""
        client = self.volumed.client
        client.fork(volume, CHECK)
        fd = client.attach_file(CHECK)
        try:
            command = ["e2fsck", "-fn", f"/proc/self/fd/{fd}"]
            done = subprocess.run(command, pass_fds=[fd], capture_output=True, text=True, check=False)
        finally:
            os.close(fd)
        client.detach(CHECK)
        client.delete(CHECK)
        self.counts["filesystem_checks"] += 1
        if done.returncode != 0:
            self.problems.append(f"e2fsck: {done.stdout}")


# ---- the command ----------------------------------------------------------------------------------------------------

_PAGE = """# Debian on a volume

Written by `make debian-proof` ({when}, Linux {kernel}, seed {seed}); `tests/faults/debian_proof.py` says what it does.
Base: the minimal Debian world; installed in every round: {packages}. {minutes:.1f} minutes.

{rows}

Problems: {problems}
"""


def run(kills: int, seed: int, cache: Path, limit_s: float, report: str | None) -> int:
    """The proof; its exit status."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="debian-proof-", dir="/var/tmp") as directory:
        proof = Proof(Path(directory), seed, cache)
        with contextlib.ExitStack() as stack:
            stack.callback(proof.close)
            proof.prepare()
            while proof.kills() < kills and not proof.problems and time.monotonic() - begin < limit_s:
                proof.round()
                print(json.dumps(proof.counts), file=sys.stderr)
    minutes = (time.monotonic() - begin) / 60
    if proof.kills() < kills:
        proof.problems.append(f"only {proof.kills()} of {kills} kills in {minutes:.1f} minutes")
    result = {"seed": seed, **proof.counts, "minutes": round(minutes, 1), "problems": proof.problems[:50]}
    print(json.dumps(result, indent=2))
    if report is not None:
        _write_page(Path(report), seed, minutes, proof)
    return 1 if proof.problems else 0


def _write_page(path: Path, seed: int, minutes: float, proof: Proof) -> None:
    rows = [
        "| what | count |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {n} |" for name, n in proof.counts.items()),
    ]
    page = _PAGE.format(
        when=time.strftime("%d %b %Y", time.gmtime()), kernel=os.uname().release, seed=seed, minutes=minutes,
        packages=", ".join(PACKAGES), rows="\n".join(rows), problems="; ".join(proof.problems[:20]) or "none",
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="debian_proof")
    parser.add_argument("step", choices=("fetch", "run"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-s", type=float, default=1500)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--report")
    given = parser.parse_args(arguments)
    if given.step == "fetch":
        fetch(given.cache)
        return 0
    return run(given.kills, given.seed, given.cache, given.limit_s, given.report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
