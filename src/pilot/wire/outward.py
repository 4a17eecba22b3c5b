"""What a machine may ask of its host, over streams that the machine opens: the other direction of `dial`.

    machine (container)   /run/host/host.sock, which no container of the machine has      CONNECT <port> / OK <port>
    machine (vm)          a stream of the multiplexer that the guest opens (wire/mux.py)  OPEN(port) / ACCEPT
    both                  then HTTP/1.1: the rows below, and whatever else the host has registered (host/outward)

The stream itself says which machine asks, and nothing in a request can say otherwise: no token is wanted or looked at,
but for what is passed on of containers' requests (`PASSED_ON`), to which the agent adds the machine's own.
Streams end with whoever serves them, with a snapshot and with a new agent; the way stays, and is taken anew.
"""

from __future__ import annotations

import os
from types import NoneType
from typing import Annotated

import msgspec

from . import operations
from .operations import Operation
from .permissions import Permission
from .secret_keys import Decrypt, Decrypted, Encrypt, Encrypted, SecretKey, SecretKeys, Sign, Signed, Verify

PORT_HOST_API = 10000
# How many streams a machine may have open to its host at once; more wait, or are refused.
MOST_STREAMS = 64

_SOCKET = "host.sock"
_DIRECTORY = "host"


def directory_in(run: str) -> str:
    """Where the host's directory is mounted in a machine that is a container; `run` is the machine's /run."""
    return os.path.join(run, _DIRECTORY)


def socket_in(directory: str) -> str:
    """The host's socket in that directory, by whichever name one has it."""
    return os.path.join(directory, _SOCKET)


class Self(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that asks, as its host knows it. `sprite`: its name, and `organisation`: whose it is, by id;
    None of a machine that is nobody's yet, or a Fly Machine's."""

    machine: str
    isolation: str
    memory_bytes: int
    cpus: int
    sprite: str | None = None
    organisation: str | None = None


GET_SELF = Operation("getSelf", "GET", "/v1/self", NoneType, Self, Permission.HOST, operations.QUICK_S)


class OidcRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`aud`: who is to believe the token; the issuer's own organisation without it."""

    aud: str | None = None
    aws_principal_tags: bool = False


class OidcToken(msgspec.Struct, frozen=True, kw_only=True):
    """A JWT, and when it was made and ends, in seconds since 1970 by the host's clock. In the machine it is answered
    bare."""

    token: str
    issued_s: float
    expires_s: float


CREATE_OIDC_TOKEN = Operation(
    "createOidcToken", "POST", "/v1/tokens/oidc", OidcRequest, OidcToken, Permission.HOST, operations.QUICK_S
)


class MachineToken(msgspec.Struct, frozen=True, kw_only=True):
    """A macaroon that is of use to this machine alone, for the agent to keep: nothing else in the machine sees it.
    Times are in seconds since 1970, by the host's clock."""

    token: str
    issued_s: float
    expires_s: float


CREATE_MACHINE_TOKEN = Operation(
    "createMachineToken", "POST", "/v1/tokens/machine", NoneType, MachineToken, Permission.HOST, operations.QUICK_S
)

SPAWN_S = 120.0


class NewChild(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sprite that a sprite makes by itself. It is called after its parent, with `name` behind it.

    `source`: "image", "self" (its own disk, as it is) or a template, "SPRITE:CHECKPOINT".
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")] | None = None
    source: str = msgspec.field(default="image", name="from")
    environment: dict[str, str] = {}
    expires_in_s: Annotated[float, msgspec.Meta(gt=0, le=10 * 365 * 86400)] | None = None


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_s`: when it is destroyed; times are in seconds since 1970, by the host's clock."""

    name: str
    status: str
    created_s: float
    expires_s: float | None


class Children(msgspec.Struct, frozen=True, kw_only=True):
    sprites: list[Child]


SPAWN = Operation("spawn", "POST", "/v1/sprites", NewChild, Child, Permission.HOST, SPAWN_S, status=201)
LIST_CHILDREN = Operation("listChildren", "GET", "/v1/sprites", NoneType, Children, Permission.HOST, operations.QUICK_S)
DESTROY_CHILD = Operation(
    "destroyChild", "DELETE", "/v1/sprites/{name}", NoneType, NoneType, Permission.HOST, SPAWN_S, status=204
)


class OwnCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Of the sprite that asks."""

    id: str
    create_time: str
    comment: str = ""
    name: str | None = None


class OwnCheckpoints(msgspec.Struct, frozen=True, kw_only=True):
    checkpoints: list[OwnCheckpoint]


class NewCheckpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    comment: str | None = None
    name: str | None = None


class MadeCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    id: str


LIST_OWN_CHECKPOINTS = Operation(
    "listOwnCheckpoints", "GET", "/v1/checkpoints", NoneType, OwnCheckpoints, Permission.HOST, operations.QUICK_S
)
CREATE_OWN_CHECKPOINT = Operation(
    "createOwnCheckpoint", "POST", "/v1/checkpoint", NewCheckpoint, MadeCheckpoint, Permission.HOST, SPAWN_S
)


class ShownCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint's files, mounted, were sent to the machine as this descriptor (port 10001)."""

    descriptor: str


def descriptor_of(checkpoint: str) -> str:
    """What such a descriptor is called."""
    return f"checkpoint-{checkpoint}"


_SHOWN = "/v1/checkpoints/{checkpoint}/shown"
SHOW_S = 60.0
MOST_SHOWN = 5  # the newest of those that were asked for
SHOW_CHECKPOINT = Operation("showCheckpoint", "POST", _SHOWN, NoneType, ShownCheckpoint, Permission.HOST, SHOW_S)
HIDE_CHECKPOINT = Operation("hideCheckpoint", "DELETE", _SHOWN, NoneType, NoneType, Permission.HOST, SHOW_S, status=204)

# What a container of a Machine may ask its host by /.fly/api, about its own Machine: with paths and bodies of the
# Machines API.
_OWN = "/v1/apps/{app}/machines/{machine}"
_KEY = f"{_OWN}/metadata/{{key}}"
GET_METADATA = Operation(
    "getOwnMetadata", "GET", f"{_OWN}/metadata", NoneType, bytes, Permission.HOST, operations.QUICK_S
)
GET_METADATA_KEY = Operation("getOwnMetadataKey", "GET", _KEY, NoneType, bytes, Permission.HOST, operations.QUICK_S)
SET_METADATA_KEY = Operation(
    "setOwnMetadataKey", "POST", _KEY, bytes, NoneType, Permission.HOST, operations.QUICK_S, status=204
)
DELETE_METADATA_KEY = Operation(
    "deleteOwnMetadataKey", "DELETE", _KEY, NoneType, NoneType, Permission.HOST, operations.QUICK_S, status=204
)
SUSPEND_SELF = Operation("suspendSelf", "POST", f"{_OWN}/suspend", NoneType, bytes, Permission.HOST, operations.QUICK_S)
STOP_SELF = Operation("stopSelf", "POST", f"{_OWN}/stop", NoneType, bytes, Permission.HOST, operations.QUICK_S)

# What a Machine may ask about its app's secret keys: what they are called, and to use them. `-` is its own app.
OWN_APP = "-"
_KEYS = "/v1/apps/{app}/secretkeys"
_SECRET_KEY = f"{_KEYS}/{{key}}"
LIST_KEYS = Operation("listSecretKeys", "GET", _KEYS, NoneType, SecretKeys, Permission.HOST, operations.QUICK_S)
GET_KEY = Operation("getSecretKey", "GET", _SECRET_KEY, NoneType, SecretKey, Permission.HOST, operations.QUICK_S)
ENCRYPT = Operation(
    "encrypt", "POST", f"{_SECRET_KEY}/encrypt", Encrypt, Encrypted, Permission.HOST, operations.QUICK_S
)
DECRYPT = Operation(
    "decrypt", "POST", f"{_SECRET_KEY}/decrypt", Decrypt, Decrypted, Permission.HOST, operations.QUICK_S
)
SIGN = Operation("sign", "POST", f"{_SECRET_KEY}/sign", Sign, Signed, Permission.HOST, operations.QUICK_S)
VERIFY = Operation(
    "verify", "POST", f"{_SECRET_KEY}/verify", Verify, NoneType, Permission.HOST, operations.QUICK_S, status=204
)

# The volumes that it has mounted, and snapshots of them. None is deleted from inside, and none is gone back to.
_VOLUMES = "/v1/apps/{app}/volumes"
_SNAPSHOTS = f"{_VOLUMES}/{{volume}}/snapshots"
LIST_OWN_VOLUMES = Operation("listOwnVolumes", "GET", _VOLUMES, NoneType, bytes, Permission.HOST, operations.QUICK_S)
LIST_OWN_SNAPSHOTS = Operation(
    "listOwnSnapshots", "GET", _SNAPSHOTS, NoneType, bytes, Permission.HOST, operations.QUICK_S
)
CREATE_OWN_SNAPSHOT = Operation("createOwnSnapshot", "POST", _SNAPSHOTS, NoneType, bytes, Permission.HOST, SPAWN_S)
# Which no Machine may: asked, so that it is told why.
CREATE_OWN_MACHINE = Operation(
    "createOwnMachine", "POST", "/v1/apps/{app}/machines", bytes, NoneType, Permission.HOST, operations.QUICK_S
)

PASSED_ON = (
    GET_METADATA, GET_METADATA_KEY, SET_METADATA_KEY, DELETE_METADATA_KEY, SUSPEND_SELF, STOP_SELF,
    LIST_KEYS, GET_KEY, ENCRYPT, DECRYPT, SIGN, VERIFY,
    LIST_OWN_VOLUMES, LIST_OWN_SNAPSHOTS, CREATE_OWN_SNAPSHOT, CREATE_OWN_MACHINE,
)  # fmt: skip
