"""The token, and the chain that makes it one.

    tail 0  =  HMAC(root key, nonce)
    tail i  =  HMAC(tail i-1, caveat i)         so who holds a token can add to it, and nobody can take away
    a proof (a discharge) ends with HMAC("proof-signature-finalization", tail n): nobody can add to it either

Verification gives back the caveats that are left to be checked against a request; it does not check them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence

from ... import errors
from . import caveats, packing, third_party
from .caveats import Caveat, Packed

_FINAL = b"proof-signature-finalization"
_BINDING_BYTES = 16
_NONCE_BYTES = 16
_UUID_SPACE = uuid.UUID("968fc2c6-a94f-4988-a544-2ad72b02f222").bytes


class Invalid(errors.PilotError):
    """The token was not made with this key, was changed, or lacks a discharge."""


class CannotAttenuate(errors.PilotError):
    """A caveat cannot be added to this token."""


def _sign(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


@dataclasses.dataclass(frozen=True)
class Nonce:
    """`key_id`: which root key, or for a discharge its ticket. `proof` is None in the older format of two fields."""

    key_id: bytes
    random: bytes
    proof: bool | None = False

    def pack(self) -> bytes:
        fields: list[object] = [self.key_id, self.random]
        return packing.pack(fields if self.proof is None else [*fields, self.proof])

    @property
    def uuid(self) -> uuid.UUID:
        """The token's name, which all that are made of it share."""
        return uuid.UUID(bytes=_uuid5(_uuid5(_UUID_SPACE, self.key_id), self.random))


def _uuid5(space: bytes, name: bytes) -> bytes:
    """The bytes of uuid5, of bytes that need not be text (RFC 9562 5.5: version and variant are in two of them)."""
    digest = bytearray(hashlib.sha1(space + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return bytes(digest)


def _parse_nonce(data: bytes) -> Nonce:
    members = packing.items(data, "nonce")
    if len(members) not in (2, 3):
        raise packing.Malformed("nonce: of an unknown format")
    proof = packing.unpack(members[2], bool, "nonce") if len(members) == 3 else None
    return Nonce(packing.unpack(members[0], bytes, "nonce"), packing.unpack(members[1], bytes, "nonce"), proof)


@dataclasses.dataclass(frozen=True)
class Macaroon:
    """A token, as it is sent. What its caveats say is worth nothing before `verify`."""

    nonce: Nonce
    location: str
    caveats: tuple[Packed, ...]
    tail: bytes

    @property
    def is_proof(self) -> bool:
        return bool(self.nonce.proof)

    def encode(self) -> bytes:
        return packing.array(
            [
                self.nonce.pack(),
                packing.pack(self.location),
                caveats.pack_set(self.caveats),
                packing.pack(self.tail),
            ]
        )

    def attenuate(self, *added: Caveat) -> Macaroon:
        """The same token with more caveats; those that it has already are left out. `CannotAttenuate` a proof."""
        if self.is_proof:
            raise CannotAttenuate("attenuate: a discharge is final")
        if any(caveat.attests for caveat in added):
            raise CannotAttenuate("attenuate: only a discharge attests")
        return _extended(self, [caveats.pack(caveat) for caveat in added])

    def require(self, location: str, shared_key: bytes, *demands: Caveat) -> Macaroon:
        """Demand a discharge of the third party at `location`, which shares `shared_key` with us."""
        there = (packed.meaning for packed in self.caveats if packed.number == caveats.ThirdParty.number)
        if any(isinstance(caveat, caveats.ThirdParty) and caveat.location == location for caveat in there):
            raise CannotAttenuate(f"attenuate: a discharge of {location} is demanded already")
        ticket, discharge_key = third_party.make_ticket(shared_key, *demands)
        return self.attenuate(caveats.ThirdParty(location, third_party.seal(self.tail, discharge_key), ticket))

    def tickets(self, *discharges: Macaroon) -> dict[str, list[bytes]]:
        """What is still to be discharged, by location."""
        have = {discharge.nonce.key_id for discharge in discharges}
        found: dict[str, list[bytes]] = {}
        for packed in self.caveats:
            caveat = packed.meaning
            if isinstance(caveat, caveats.ThirdParty) and caveat.ticket not in have:
                found.setdefault(caveat.location, []).append(caveat.ticket)
        return found


def _extended(token: Macaroon, added: Iterable[Packed]) -> Macaroon:
    have, tail = list(token.caveats), token.tail
    for packed in added:
        if packed not in have:
            have.append(packed)
            tail = _sign(tail, packed.link)
    return dataclasses.replace(token, caveats=tuple(have), tail=tail)


def decode(data: bytes) -> Macaroon:
    """`Malformed` unless `data` is a token whose caveats of known kinds are what they should be."""
    members = packing.items(data, "token")
    if len(members) != 4:
        raise packing.Malformed("token: not what it should be")
    nonce, location, carried, tail = (bytes(member) for member in members)
    found = Macaroon(
        _parse_nonce(nonce),
        packing.unpack(location, str, "token"),
        caveats.parse_set(carried),
        packing.unpack(tail, bytes, "token"),
    )
    for packed in found.caveats:
        packed.check()
    return found


def mint(key: bytes, key_id: bytes, location: str, *added: Caveat) -> Macaroon:
    """A new token, which permits all that its caveats leave."""
    nonce = Nonce(key_id, secrets.token_bytes(_NONCE_BYTES))
    return Macaroon(nonce, location, (), _sign(key, nonce.pack())).attenuate(*added)


def discharge(
    shared_key: bytes, location: str, ticket: bytes, *added: Caveat, parent: Macaroon | None = None
) -> Macaroon:
    """At the third party: a proof for `ticket`, final. With `parent` it goes with that token and what is made of it.

    What the ticket demands is the caller's to check first (`third_party.open_ticket`).
    """
    key = third_party.open_ticket(shared_key, ticket).discharge_key
    nonce = Nonce(ticket, secrets.token_bytes(_NONCE_BYTES), proof=True)
    bound = [] if parent is None else [binding(parent)]
    proof = _extended(Macaroon(nonce, location, (), _sign(key, nonce.pack())), map(caveats.pack, [*bound, *added]))
    return dataclasses.replace(proof, tail=_sign(_FINAL, proof.tail))


def binding(parent: Macaroon) -> Caveat:
    """Ties a discharge to `parent` and all that is made of it."""
    return caveats.BindToParentToken(_digest(parent.tail)[:_BINDING_BYTES])


def _digest(tail: bytes) -> bytes:
    return hashlib.sha256(tail).digest()


SharedKeys = Mapping[str, Sequence[bytes]]


def verify(
    token: Macaroon, key: bytes, discharges: Iterable[Macaroon] = (), trusted: SharedKeys | None = None
) -> tuple[Caveat, ...]:
    """The caveats of the token and of its discharges that a request has to meet; `Invalid` for any other token.

    `trusted`: keys shared with third parties whose attestations count, by location.
    """
    by_ticket: dict[bytes, list[Macaroon]] = {}
    for candidate in discharges:
        by_ticket.setdefault(candidate.nonce.key_id, []).append(candidate)
    left, tails, demanded = _walk(token, key, (), trusts=True)
    for caveat, tail in demanded:
        left += _discharged(caveat, tail, by_ticket, [_digest(each) for each in tails], trusted or {})
    return tuple(left)


_Demand = tuple[caveats.ThirdParty, bytes]


def _walk(
    token: Macaroon, key: bytes, parents: Sequence[bytes], *, trusts: bool
) -> tuple[list[Caveat], list[bytes], list[_Demand]]:
    """Along the chain: caveats to check, each tail on the way, and third parties' caveats with the tail before them."""
    tail = _sign(key, token.nonce.pack())
    left: list[Caveat] = []
    tails, demanded = [tail], []
    for packed in token.caveats:
        caveat = packed.meaning
        match caveat:
            case caveats.ThirdParty():
                demanded.append((caveat, tail))
            case caveats.BindToParentToken():
                if not any(parent.startswith(caveat.prefix) for parent in parents):
                    raise Invalid("the discharge is bound to another token")
            case _ if not caveat.attests:
                left.append(caveat)
            case _ if not token.is_proof:
                raise Invalid("only a discharge attests")
            case _ if trusts:
                left.append(caveat)
        tail = _sign(tail, packed.link)
        tails.append(tail)
    if not hmac.compare_digest(_sign(_FINAL, tail) if token.is_proof else tail, token.tail):
        raise Invalid("the token was not made with this key, or was changed")
    return left, tails, demanded


def _discharged(
    caveat: caveats.ThirdParty,
    tail: bytes,
    by_ticket: Mapping[bytes, Sequence[Macaroon]],
    parents: Sequence[bytes],
    trusted: SharedKeys,
) -> list[Caveat]:
    key = _discharge_key(caveat, tail)
    reason = "a discharge is missing"
    for candidate in by_ticket.get(caveat.ticket, ()):
        try:
            trusts = _is_trusted(candidate, key, trusted)
            left, _, demanded = _walk(candidate, key, parents, trusts=trusts)
        except (Invalid, packing.Malformed) as error:
            reason = str(error)
            continue
        if not demanded:
            return left
        reason = "a discharge cannot demand another one"
    raise Invalid(reason)


def _discharge_key(caveat: caveats.ThirdParty, tail: bytes) -> bytes:
    try:
        return third_party.unseal(tail, caveat.verifier_key)
    except third_party.Unopened as error:
        raise Invalid("a third party's caveat was changed") from error


def _is_trusted(candidate: Macaroon, key: bytes, trusted: SharedKeys) -> bool:
    """Whether the third party itself made the discharge: its ticket opens with the key shared with that location."""
    for shared in trusted.get(candidate.location, ()):
        try:
            ticket = third_party.open_ticket(shared, candidate.nonce.key_id)
        except third_party.Unopened:
            continue
        if not hmac.compare_digest(ticket.discharge_key, key):
            raise Invalid("the discharge's ticket is another one's")
        return True
    return False
