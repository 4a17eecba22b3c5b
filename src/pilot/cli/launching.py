"""What `create`, `run` and `exec` share: their options, and what of the caller's environment a container gets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from .. import errors
from ..spec import parse
from ..spec.config import Spec
from ..spec.process import Process
from .options import Arguments, Kind, Option
from .verb import Context

BUNDLE = Option(
    ("bundle", "b"), Kind.TEXT, "path to the root of the bundle directory, defaults to the current directory"
)
CONFIG = Option(("config",), Kind.TEXT, "a config.json elsewhere than in the bundle (as crun has it)")
CONSOLE_SOCKET = Option(
    ("console-socket",), Kind.TEXT, "AF_UNIX socket which receives the master end of the console's pseudoterminal"
)
PIDFD_SOCKET = Option(("pidfd-socket",), Kind.TEXT, "AF_UNIX socket which receives a pidfd of the process")
PID_FILE = Option(("pid-file",), Kind.TEXT, "specify the file to write the process id to")
DETACH = Option(("detach", "d"), Kind.FLAG, "detach from the container's process")
NO_PIVOT = Option(("no-pivot",), Kind.FLAG, "do not use pivot_root; for a rootfs on top of a ramdisk")
NO_NEW_KEYRING = Option(("no-new-keyring",), Kind.FLAG, "do not create a new session keyring for the container")
PRESERVE_FDS = Option(
    ("preserve-fds",),
    Kind.NUMBER,
    "pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)",
)
CREATE_OPTIONS = (BUNDLE, CONFIG, CONSOLE_SOCKET, PIDFD_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS)


def read_bundle(context: Context, arguments: Arguments) -> tuple[str, Spec]:
    """The bundle's path and its Spec, with what the runtime adds to its environment."""
    try:
        bundle = os.path.realpath(arguments.text("bundle") or ".")
    except FileNotFoundError as error:
        raise errors.HostError("find the bundle: the working directory has been removed") from error
    config = arguments.text("config", "config.json")
    spec = parse.read_spec(bundle, config if config == "config.json" else os.path.abspath(config))
    context.examine(spec)
    if spec.process is None:
        return bundle, spec
    return bundle, msgspec.structs.replace(spec, process=with_listen_fds(context, spec.process))


def read_again(arguments: Arguments) -> str:
    """The config.json that exec takes the process from: the bundle's. One elsewhere is read once, as in crun."""
    return "" if arguments.text("config") else "config.json"


def with_listen_fds(context: Context, process: Process) -> Process:
    """Socket activation is passed on: the descriptors follow stdio, and the process is to be told."""
    count = _listen_fds(context)
    if not count:
        return process
    return msgspec.structs.replace(process, env=(*process.env, f"LISTEN_FDS={count}", "LISTEN_PID=1"))


def passed_descriptors(context: Context, arguments: Arguments) -> tuple[int | None, ...]:
    """Descriptors from 3 on; None for one that is not open, and that the process does not have open either."""
    return context.borrowed(range(3, 3 + _listen_fds(context) + arguments.number("preserve-fds")))


@contextlib.contextmanager
def pidfd_sender(arguments: Arguments, name: str) -> Iterator[Callable[[int], None]]:
    """What hands a pidfd to `--pidfd-socket`, which is connected to at once; HostError.

    As in runc the message says of whom it is: `standard` of a container's first process, `setns` of another.
    """
    path = arguments.text("pidfd-socket")
    if not path:
        yield lambda _: None
        return
    import socket  # few ask

    from ..runtime import addresses

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        try:
            with addresses.short(path) as address:
                connection.connect(address)
        except OSError as error:
            raise errors.HostError(f"connect to pidfd socket {path}: {(error.strerror or '').lower()}") from error

        def send(pid_fd: int) -> None:
            try:
                socket.send_fds(connection, [name.encode()], [pid_fd])
            except OSError as error:
                raise errors.HostError(f"send pidfd to {path}: {(error.strerror or '').lower()}") from error

        yield send


def check_console(process: Process | None, console_socket: str, detached: bool) -> None:
    """A terminal's master must have somebody who keeps it, and a socket for it must be of use."""
    terminal = process is not None and process.terminal
    if detached and terminal and not console_socket:
        raise errors.PilotError("cannot allocate tty if pilot will detach without setting console socket")
    if console_socket and not (detached and terminal):
        raise errors.PilotError("cannot use console socket if pilot will not detach or allocate tty")


def _listen_fds(context: Context) -> int:
    """As sd_listen_fds(3) has it: what is said to another process is of old, and of other descriptors.

    Said to nobody, it is for us, as in crun: whoever executes a runtime need not know the pid that it will have.
    """
    text = context.environment.get("LISTEN_FDS", "")
    is_ours = context.environment.get("LISTEN_PID", "") in {"", str(context.pid())}
    return int(text) if is_ours and text.isdecimal() and text.isascii() else 0
