"""The codec of a disk on this host: by its HEAD, or by the copy of HEAD's wrapped key that its facts keep.

The copy spares a worker the store when it attaches. After a rotation it may be wrapped by a key that is
no more: then HEAD is asked. What encrypts is loaded only for disks that are encrypted.
"""

from __future__ import annotations

import os

from .... import errors
from ..objects.store import Store
from . import hold
from .codec import Codec
from .head import Head


def new_key(disk: str) -> str | None:
    """A wrapped data key for a new disk; None where the operator has given no keys."""
    if not os.environ.get("PILOT_VOLUME_KEY_FILE"):
        return None
    from . import encryption  # 5 MB

    return encryption.read_keys(os.environ).new_key(disk)


def codec_of(head: Head) -> Codec:
    """The codec that a HEAD asks for. HostError without the right operator key, Damaged."""
    if head.key is None:
        return Codec()
    from . import encryption

    return encryption.read_keys(os.environ).codec(head)


def codec_at(disk: str, key: str | None, objects: Store) -> Codec:
    """The codec of a disk that is here, whose facts keep `key`. HostError, Damaged; PeerError when HEAD is needed and
    does not come."""
    if key is None:
        return Codec()
    kept = Head(disk=disk, volume="", size_bytes=0, key=key)
    try:
        return codec_of(kept)
    except errors.HostError:
        current, _ = hold.read_head(objects, disk)
        return codec_of(current)
