"""The OCI lifecycle: create, start, kill, delete, exec, pause, resume, update, state.

runtime   Runtime: create, load, list          container  Container: everything afterwards
create    the making of a container            execute    another process in one
barriers  the parent's part meanwhile          store      what is remembered, and locks
"""

from __future__ import annotations

from .container import Container
from .runtime import Created, Runtime
from .values import Spawned, Stdio, Terminal

__all__ = ["Container", "Created", "Runtime", "Spawned", "Stdio", "Terminal"]
