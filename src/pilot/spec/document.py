"""The base of every value that is read from an OCI document.

Names are the specification's, in Python's spelling (`uid_mappings` is `uidMappings`). Unknown members are ignored, as
the specification demands; an absent member and `null` mean the same. Values are frozen and hold no Any.

These modules have no `from __future__ import annotations`: msgspec would compile each of two hundred texts whenever a
command starts, which takes longer than to parse a bundle.
"""

from typing import Annotated

import msgspec

# As wide as the kernel takes them; `parse` lets no number through that 64 bits cannot hold.
UInt16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(le=2**63 - 1)]


class Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A JSON object of the specification."""


class IdMapping(Document, frozen=True, rename={"container_id": "containerID", "host_id": "hostID"}):
    """`size` ids from `container_id` on inside are those from `host_id` on in the parent user namespace."""

    container_id: UInt32
    host_id: UInt32
    size: UInt32
