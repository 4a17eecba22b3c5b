"""Descriptors arrive as the other side has sent them, and only what a child was given stays open in it."""

from __future__ import annotations

import array
import os
import socket

from pilot.kernel import fds


def test_descriptors_cross_a_socket() -> None:
    ours, theirs = socket.socketpair()
    read_fd, write_fd = os.pipe()
    with ours, theirs:
        ours.sendmsg([b"x"], fds.rights([write_fd]))
        _, ancillary, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
        (copy,) = fds.received(ancillary)
        os.write(copy, b"through")
        assert os.read(read_fd, 7) == b"through"
        fds.close_all([copy, read_fd, write_fd])
        ours.sendmsg([b"x"], fds.rights([]))
        assert theirs.recvmsg(1)[1] == []


def test_half_a_number_is_none() -> None:
    whole = array.array("i", [7]).tobytes()
    cut = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, whole + whole[:2]), (socket.SOL_SOCKET, 0, whole)]
    assert fds.received(cut) == [7]


def test_a_child_keeps_what_it_was_given() -> None:
    read_fd, write_fd = os.pipe()
    other_fd = os.open("/dev/null", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        try:
            fds.close_others({0, 1, 2, write_fd})
            left = sorted(int(name) for name in os.listdir("/proc/self/fd"))
            os.write(
                write_fd,
                str([fd for fd in left if fd not in (0, 1, 2) and os.path.exists(f"/proc/self/fd/{fd}")]).encode(),
            )
        finally:
            os._exit(0)
    os.close(write_fd)
    told = os.read(read_fd, 1000).decode()
    os.waitpid(pid, 0)
    os.close(read_fd)
    os.close(other_fd)
    assert told == str([write_fd])
