"""Network cards of virtual machines: tap devices, each of which lives as long as its descriptor, or the namespace.

`IFF_VNET_HDR`: each frame has the header of virtio, by which sums and large segments are left to whoever needs them.
"""

from __future__ import annotations

import fcntl
import os
import struct

from . import netns

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def make(name: str) -> int:
    """A tap in our network namespace; its descriptor is the caller's. `OSError`."""
    tap_fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap_fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    except BaseException:
        os.close(tap_fd)
        raise
    return tap_fd


def make_unconnected(name: str) -> int:
    """The same in a namespace of nobody's, which goes with the descriptor: a card that leads nowhere."""
    return netns.in_new(lambda: make(name))
