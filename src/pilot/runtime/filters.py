"""The container's seccomp profile, compiled for the launcher, and its listener, handed to the agent that asked."""

from __future__ import annotations

import os

import msgspec

from .. import errors
from ..plan.identity import Filter
from ..spec.seccomp import Seccomp
from ..spec.state import ContainerProcessState, State
from . import addresses


def compile_filter(profile: Seccomp | None, cache_directory: str | None) -> Filter | None:
    """A profile → what is loaded; None without one."""
    if profile is None:
        return None
    # libseccomp is loaded only for those who have a profile.
    from ..kernel import seccomp
    from ..plan import seccomp as seccomp_plan

    compiled = seccomp.compile_filter(seccomp_plan.plan_filter(profile), cache_directory)
    hides_sendmsg = any(rule.action == "SCMP_ACT_NOTIFY" and "sendmsg" in rule.names for rule in profile.syscalls)
    return Filter(compiled.instructions, compiled.flags, compiled.notifies, hides_sendmsg)


def send_listener(profile: Seccomp, listener_fd: int, pid: int, state: State) -> None:
    """Send the listener to `listenerPath`, with the document that the specification describes; HostError."""
    import socket  # few have one

    document = msgspec.json.encode(ContainerProcessState(pid=pid, metadata=profile.listener_metadata, state=state))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as agent:
            with addresses.short(profile.listener_path) as address:
                agent.connect(address)
            socket.send_fds(agent, [document], [listener_fd])
    except OSError as error:
        reason = (error.strerror or os.strerror(error.errno or 0)).lower()
        raise errors.HostError(f"send seccomp listener to {profile.listener_path}: {reason}") from error
