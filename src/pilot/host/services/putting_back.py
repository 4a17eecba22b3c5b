"""One path of a sprite as it was at a checkpoint, put back while everything else of it runs on.

    a look at the checkpoint ─► a tar (`host.subtree`) ─► tar of the sprite, as its root ─► rename into place

The host reads, the sprite's own tar writes, within the sprite's walls: nothing of the host is written to, whatever the
disk says. What is there now is gone once the other is whole, by two renames; until then it stays as it is. A pilotd or
a sprite that dies in the middle leaves `.restoring-NAME` beside the path, which the next restore of it removes, and
between the two renames the path is in there, as `old/NAME`, from where that one puts it back first.
"""

from __future__ import annotations

import contextlib
import posixpath
import subprocess
import threading
from collections.abc import Iterator

from ... import errors
from ...ids import CheckpointId
from ...wire import faults
from ..operations.context import Host
from ..store.sprites import Sprite
from . import fly_exec
from .lending import Lending
from .looking import Looking, look
from .threads import Threads

_OF_THE_MACHINE = frozenset({".sprite", ".fly", "dev", "proc", "run", "sys"})
READ_S, WRITE_S = 280.0, 600.0
_MOST, _MOST_OF_ONE = 16, 4  # at once, of all and of one organisation
_MODULE = "pilot.host.subtree"
# $1: the directory, $2: the name in it, $3: `_PERL`. Its exit status is 0 only when what was asked for is in place.
_SCRIPT = """
set -e
mkdir -p -- "$1"
cd -P -- "$1"
made=".restoring-$2"
perl -e "$3" -- "$PWD" "$2"
# One that died between its two renames has left it in there: whatever becomes of this one, it is there again.
if [ ! -e "$2" ] && [ ! -L "$2" ] && { [ -e "$made/old/$2" ] || [ -L "$made/old/$2" ]; }; then
    mv -- "$made/old/$2" "$2"
fi
rm -rf -- "$made"
mkdir -m 700 -- "$made" "$made/new" "$made/old"
trap 'rm -rf -- "$made"' EXIT
tar --extract --file=- --directory="$made/new" --numeric-owner --same-owner --preserve-permissions \\
    --xattrs --xattrs-include='*' --acls
perl -e "$3" -- "$PWD" "$2" "$made"
"""
# Looks for mounts at or below the path; with a third word, it then renames. One process, so that it needs none of the
# files that it moves (/usr/bin); and nothing of a mount is removed with what was there.
_PERL = r"""
my ($at, $name, $made) = @ARGV;
$at .= ($at eq "/" ? "" : "/") . $name;
open(my $mounts, "<", "/proc/self/mountinfo") or die "/proc/self/mountinfo: $!\n";
while (<$mounts>) {
    my $place = (split / /)[4];
    $place =~ s/\\([0-7]{3})/chr(oct($1))/ge;
    die "something is mounted at $place\n" if $place eq $at || index($place, "$at/") == 0;
}
exit 0 unless defined $made;
my $is_there = -e $name || -l $name;
!$is_there || rename($name, "$made/old/$name") or die "$name: $!\n";
unless (rename("$made/new/$name", $name)) {
    my $why = $!;
    rename("$made/old/$name", $name) if $is_there;
    die "$name: $why\n";
}
"""


def parse(path: str) -> str:
    """As one has to be: absolute, without `..`, and not the root, which is the whole disk. `InvalidRequest`."""
    clean = "/" + posixpath.normpath(path).lstrip("/")  # which leaves two at the beginning
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise faults.InvalidRequest(f"path: {path[:80]!r} is none that begins at / and has no ..")
    if clean == "/":
        raise faults.InvalidRequest("path: / is the whole disk", hint="restore without a path")
    if clean.split("/")[1] in _OF_THE_MACHINE:
        raise faults.InvalidRequest(f"path: {path[:80]} is the machine's own, and on no disk")
    return clean


class PuttingBack:
    """`Exhausted` when as many are under way as may be."""

    def __init__(self, host: Host, disks: Looking, lending: Lending) -> None:
        self._host = host
        self._looking = disks
        self._lending = lending
        self._threads = Threads("restore a path", _MOST, _MOST_OF_ONE, "organisation")
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    async def run(self, sprite: Sprite, point: CheckpointId, path: str) -> None:
        """As `put`, in a thread."""
        await self._threads.at_once(sprite.organisation, lambda: self.put(sprite, point, path))

    def put(self, sprite: Sprite, point: CheckpointId, path: str) -> None:
        """Of a sprite whose world runs, for who has counted as its user; `path` as `parse` gives it. `Unsupported` and
        `Exhausted` as `Looking`; `HostError` when it cannot be read, `StateError` when it cannot be written."""
        directory, name = posixpath.split(path)
        with self._turn_of(sprite), self._lending.file(sprite.organisation, "restore") as tar:
            with self._looking.disks([(sprite.volume, point)], "restore") as [disk_fd]:
                fds = [disk_fd, tar.fileno()]
                look(_MODULE, f"restore {path}", READ_S, fds, [tar.most_bytes], subprocess.PIPE, path.encode())
            tar.written()
            words = ("sudo", "-n", "sh", "-c", _SCRIPT, "restore", directory, name, _PERL)
            done = fly_exec.run(self._dial_path(sprite), fly_exec.Command("world", words, tar, WRITE_S))
        if done.exit_code:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
            raise errors.StateError(f"restore {path}: its tar ended with {done.exit_code}: {said}")

    @contextlib.contextmanager
    def _turn_of(self, sprite: Sprite) -> Iterator[None]:
        """One path of it after the other: two at once would remove what the other has set aside. `Exhausted`."""
        with self._lock:
            if sprite.id in self._under_way:
                raise faults.Exhausted("restore a path: another one of this sprite is under way", hint="try again")
            self._under_way.add(sprite.id)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(sprite.id)

    def _dial_path(self, sprite: Sprite) -> str:
        assert sprite.machine is not None, "its world runs"
        return self._host.substrate(sprite.machine).dial_path(sprite.machine)
