"""Other content for files of a container that may have it while it runs: values.

    PUT files ─► wanted, written down ─► Refile: shown (instance), then `made` says so

Versions only go up, whoever is late: of two who tell at once, and of one whose telling was on its way when it died, the
later version stays. An agent that dies in between shows it again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ... import errors
from ...wire.graph import Container, FileContent
from . import checking


def renewed(container: Container, contents: Sequence[FileContent]) -> Container:
    """As it is to be. `SpecError` for what is no content; `StateError` for a file that has none to be changed."""
    files = {file.path: file for file in container.files}
    for number, content in enumerate(contents):
        checking.check_content(content.content, f"$.files[{number}].content")
        before = files.get(content.path)
        if before is None or before.version is None:
            why = "has no such file" if before is None else "has it for good"
            raise errors.StateError(f"files of {container.name}: {content.path[:200]}: the container {why}")
        if content.version > before.version:
            files[content.path] = msgspec.structs.replace(before, content=content.content, version=content.version)
    return msgspec.structs.replace(container, files=[files[file.path] for file in container.files])
