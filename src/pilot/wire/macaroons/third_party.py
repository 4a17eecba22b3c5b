"""Caveats that a third party discharges.

    issuer      ticket = seal(KA, [discharge key, caveats]); verifier key = seal(tail so far, discharge key)
    third party opens the ticket with KA, which it shares with the issuer, and mints a discharge: its key id is the
                ticket, its key the discharge key
    verifier    has the root key, so it comes to the same tail; opens the verifier key with it, and verifies
                the discharge with what is inside

Sealed: a nonce of 12 bytes, then ChaCha20-Poly1305 of the message.
"""

from __future__ import annotations

import dataclasses
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import caveats, packing

KEY_BYTES = 32
_NONCE_BYTES = 12


class Unopened(packing.Malformed):
    """What is sealed does not open with this key."""


def seal(key: bytes, message: bytes) -> bytes:
    """With a nonce of its own each time."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, message, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """`Unopened` where the key is another, or the bytes were changed."""
    if len(sealed) <= _NONCE_BYTES:
        raise Unopened("what is sealed is too short")
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError) as error:
        raise Unopened("what is sealed does not open with this key") from error


@dataclasses.dataclass(frozen=True)
class Ticket:
    """What the issuer tells the third party. `caveats` are for its eyes: what has to hold before it discharges."""

    discharge_key: bytes
    caveats: tuple[caveats.Packed, ...] = ()


def make_ticket(shared_key: bytes, *demands: caveats.Caveat) -> tuple[bytes, bytes]:
    """A sealed ticket, and the discharge key in it."""
    key = secrets.token_bytes(KEY_BYTES)
    packed = caveats.pack_set(tuple(caveats.pack(demand) for demand in demands))
    return seal(shared_key, packing.array([packing.pack(key), packed])), key


def open_ticket(shared_key: bytes, ticket: bytes) -> Ticket:
    """At the third party; or at a verifier that wants to know whose discharge it has. `Unopened`, `Malformed`."""
    members = packing.items(unseal(shared_key, ticket), "ticket")
    if len(members) != 2:
        raise packing.Malformed("ticket: not what it should be")
    return Ticket(packing.unpack(members[0], bytes, "ticket"), caveats.parse_set(bytes(members[1]), "ticket"))
