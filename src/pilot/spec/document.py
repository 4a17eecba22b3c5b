"""The base of every value that is read from an OCI document.

Names are the specification's, in Python's spelling (`uid_mappings` is `uidMappings`). Unknown members are ignored, as
the specification demands; an absent member and `null` mean the same. Values are frozen and hold no Any.
"""

from __future__ import annotations

import msgspec


class Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A JSON object of the specification."""


class IdMapping(Document, frozen=True, rename={"container_id": "containerID", "host_id": "hostID"}):
    """`size` ids from `container_id` on inside are those from `host_id` on in the parent user namespace."""

    container_id: int
    host_id: int
    size: int
