"""Other content in files of a container that runs: each is shown in the place of the one that it saw.

<directory>/files/<n>        what it saw first (`instance`), until it sees another
<directory>/files/<n>.seen   by device and inode, a line each, what else it may see: written before it is shown
<directory>/replacing        where one is made (kernel.overmount)

Only over one of these another is put: whoever owns a directory in the container may have anything else at the path.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
from collections.abc import Sequence

from ... import errors
from ...kernel import files, overmount
from ...wire.graph import Container, InjectedFile
from ..events import Events
from . import state


@dataclasses.dataclass(frozen=True)
class Shown:
    """`files`: what is seen, or never will be. `left`: why some never will be; `refused`: why some are not seen yet."""

    files: Sequence[InjectedFile]
    left: str = ""
    refused: str = ""

    @property
    def why(self) -> str:
        """What is to be told."""
        return "; ".join(filter(None, [self.left, self.refused]))


def show(pid_fd: int, directory: str, before: Sequence[InjectedFile], wanted: Sequence[InjectedFile]) -> Shown:
    """Each by itself, whatever comes of the others. `ProcessLookupError` when that process has ended."""
    seen, left, refused = list(before), list[str](), list[str]()
    for number, file in enumerate(wanted):
        if file == before[number]:
            continue
        try:
            why = _show(pid_fd, directory, number, file)
        except ProcessLookupError:
            raise
        except OSError as error:
            refused.append(f"{file.path}: {errors.told(error)}")
            continue
        if why is not None:
            left.append(f"{file.path} stays as it is: {why}")
        seen[number] = file
    return Shown(seen, "; ".join(left), "; ".join(refused))


def seen(node: state.Node, wanted: Container, shown: Shown, now: float) -> state.Node:
    """What is known of it by now."""
    refusal = state.Refusal(why=shown.why) if shown.left else None
    if shown.refused:
        refusal = state.refused(node, wanted, shown.why, now)
    return state.refiled(node, shown.files, refusal)


def tell(events: Events, name: str, before: state.Node, after: state.Node) -> None:
    """Why not all is seen, once as long as it is the same."""
    why = after.refusal.why if after.refusal is not None else None
    if why is not None and (before.refusal is None or before.refusal.why != why):
        events.add("container.files_not_shown", name, message=why)


def clean(directory: str) -> None:
    """Of one that was being made nothing is left; idempotent."""
    overmount.clean(_place(directory))


def _show(pid_fd: int, directory: str, number: int, file: InjectedFile) -> str | None:
    """None, or why that path is left alone."""
    content = base64.b64decode(file.content)
    mount_fd = overmount.make_file(_place(directory), content, int(file.mode, 8), file.uid, file.gid)
    try:
        first, record = os.path.join(directory, "files", str(number)), _record(directory, number)
        ours, made = _ours(first, record), overmount.identity(mount_fd)
        _write(record, [*ours, made])
        why = overmount.replace(pid_fd, mount_fd, file.path, ours)
        _write(record, ours if why else [made])
    finally:
        os.close(mount_fd)
    if why is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(first)  # nothing says any more what it said
    return why


def _ours(first: str, record: str) -> list[overmount.Identity]:
    found = []
    with contextlib.suppress(FileNotFoundError):
        found.append(overmount.identity(first))
    with contextlib.suppress(FileNotFoundError), open(record) as file:
        found += [(int(device), int(inode)) for device, inode in map(str.split, file)]
    return list(dict.fromkeys(found))


def _write(record: str, identities: Sequence[overmount.Identity]) -> None:
    files.replace(record, "".join(f"{device} {inode}\n" for device, inode in identities).encode())


def _record(directory: str, number: int) -> str:
    return os.path.join(directory, "files", f"{number}.seen")


def _place(directory: str) -> str:
    return os.path.join(directory, "replacing")
