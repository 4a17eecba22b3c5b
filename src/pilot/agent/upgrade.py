"""A newer agent in place of the image's, while everything runs; it may not come up, and then the image's goes on.

    <run>/pilot-agent/<name>/   a copy of what the host has shown the machine somewhere, laid out as /usr/lib/pilot is
    <run>/pilot-agent/current   a link to one of them, exchanged in one step
    <run>/pilot-agent/tries     how often that one has been started since it last came up

    PUT /v1/agent ─► copied ─► asked what it is, as a process of its own ─► link ─► answered ─► this agent leaves
    init starts the image's agent ─► `become`: executes the one of the link in its place ─► it listens ─► `came_up`

After MOST_TRIES starts in vain the link is removed. All of it is in memory: the next boot has the agent of the image
that it boots from. What sessions, containers, events and answers need is in init's store, as at any death of an agent;
documents of a newer agent are read by an older one and the other way round (docs/reference/versions.md).
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import pilot

if TYPE_CHECKING:
    from ..wire import schema

MOST_TRIES = 3
MOST_BYTES = 64 << 20
CHECK = "--check"
_CHECK_S = 240.0
_OPTIONS = "-ISE"
# In the environment of an agent that took the place of the image's: which one that is.
_IMAGE_VERSION = "PILOT_IMAGE_AGENT"


def become(run: str) -> None:
    """Execute the agent that was chosen, in place of this one; returns when this is it, or there is none that comes
    up. First of all that an agent does, so it imports next to nothing."""
    home = _chosen(run)
    if home is None or home == _own_home():
        return
    tries = _tries(run)
    if tries >= MOST_TRIES:
        _tell(f"{home} did not come up {tries} times: the agent of the image goes on")
        _forget(run)
        return
    try:
        _replace(run, "tries", str(tries + 1))
        environment = {**os.environ, _IMAGE_VERSION: pilot.__version__}
        os.execve(sys.executable, [sys.executable, _OPTIONS, home, *sys.argv[1:]], environment)
    except OSError as error:
        _tell(f"execute {home}: {error.strerror}: the agent of the image goes on")


def came_up(run: str) -> None:
    """This agent listens: it is not to be given up, and of others nothing is kept."""
    import shutil

    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(_place(run), "tries"))
    keep = {_own_home(), _chosen(run)}
    for name in _names(run):
        home = os.path.join(os.path.realpath(_place(run)), name)
        if home not in keep and name not in ("current", "tries"):
            shutil.rmtree(home, ignore_errors=True)


def describe() -> bytes:
    """What this agent is: the answer to CHECK, once all of it could be loaded."""
    import msgspec

    return msgspec.json.encode(_answer(pilot.__version__))


def choose(run: str, source: str | None) -> schema.AgentAnswer:
    """Have init's next start execute this one; None: the image's. What it says of itself. Blocks.

    `InvalidRequest` when there is none, it cannot be loaded here, or speaks another API; nothing has changed then.
    """
    if source is None:
        _forget(run)
        return _answer(os.environ.get(_IMAGE_VERSION, pilot.__version__))
    home = _copy(run, source)
    try:
        told = _check(home)
    except BaseException:
        import shutil

        shutil.rmtree(home, ignore_errors=True)
        raise
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(_place(run), "tries"))
    _link(run, home)
    return told


# ---- parts ----------------------------------------------------------------------------------------------------------


def _place(run: str) -> str:
    return os.path.join(run, "pilot-agent")


def _own_home() -> str:
    """The directory that holds the package `pilot`."""
    return os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


def _chosen(run: str) -> str | None:
    link = os.path.join(_place(run), "current")
    return os.path.realpath(link) if os.path.isdir(link) else None


def _names(run: str) -> list[str]:
    try:
        return os.listdir(_place(run))
    except FileNotFoundError:
        return []


def _tries(run: str) -> int:
    try:
        with open(os.path.join(_place(run), "tries")) as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return 0


def _forget(run: str) -> None:
    for name in ("current", "tries"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(_place(run), name))


def _replace(run: str, name: str, text: str) -> None:
    path = os.path.join(_place(run), name)
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def _link(run: str, home: str) -> None:
    link = os.path.join(_place(run), "current")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{link}.new")
    os.symlink(os.path.basename(home), f"{link}.new")
    os.replace(f"{link}.new", link)


def _copy(run: str, source: str) -> str:
    import shutil

    from ..wire import faults

    if not os.path.isfile(os.path.join(source, "__main__.py")):
        raise faults.InvalidRequest(f"upgrade to {source}: there is no agent (no __main__.py)")
    size = sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(source) for name in names)
    if size > MOST_BYTES:
        raise faults.InvalidRequest(f"upgrade to {source}: {size} bytes where at most {MOST_BYTES} are kept in memory")
    os.makedirs(_place(run), mode=0o700, exist_ok=True)
    home = os.path.join(os.path.realpath(_place(run)), os.urandom(6).hex())
    try:
        shutil.copytree(source, home)
    except OSError as error:
        shutil.rmtree(home, ignore_errors=True)
        raise faults.InvalidRequest(f"upgrade to {source}: copy it: {error}") from error
    return home


def _answer(version: str) -> schema.AgentAnswer:
    from ..wire import schema

    return schema.AgentAnswer(version=version, api=schema.API_VERSION)


def _check(home: str) -> schema.AgentAnswer:
    """By a process of its own, which may do whatever it likes but take our place."""
    import msgspec

    from .. import errors
    from ..wire import faults, schema

    try:
        told = msgspec.json.decode(_ask(home), type=schema.AgentAnswer)
    except errors.UNREADABLE as error:
        raise faults.InvalidRequest(f"upgrade: what the agent says of itself makes no sense: {error}") from error
    if told.api != schema.API_VERSION:
        raise faults.InvalidRequest(f"upgrade: the agent speaks API {told.api}, and this machine {schema.API_VERSION}")
    return told


def _ask(home: str) -> bytes:
    import subprocess

    from ..wire import faults

    try:
        done = subprocess.run(
            [sys.executable, _OPTIONS, home, CHECK],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_CHECK_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise faults.InvalidRequest(f"upgrade: the agent has not said what it is within {_CHECK_S:g} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if said else f"exit status {done.returncode}"
        raise faults.InvalidRequest(f"upgrade: the agent cannot be loaded here: {why}")
    return done.stdout


def _tell(text: str) -> None:
    print(f"agent: WARNING: upgrade: {text}", file=sys.stderr, flush=True)
