"""Caveats by number: how each is packed, and what it prohibits.

A caveat that nobody knows is carried as it came, and prohibits everything: who added it meant to restrict.
`prohibits` raises `Refused` and returns nothing otherwise; what it says names no other resource than the one asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Protocol, TypeVar

import msgspec

from ... import errors
from . import access, packing
from .access import Access, DischargeRequest, InvalidAccess, Refused, Request, Unspecified

MAX_NESTING = 8  # of IfPresent
PRIVATE_FIRST, PRIVATE_LAST = (1 << 48), (1 << 64) - 2

K = TypeVar("K", int, str)


class Caveat(Protocol):
    """One caveat's meaning. `number` and `name` are of its kind; attestations say something and restrict nothing."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def attests(self) -> bool: ...

    def body(self) -> object:
        """What is packed after the number."""
        ...

    def prohibits(self, asked: Request) -> None:
        """`Refused`, if it does."""
        ...


@dataclasses.dataclass(frozen=True)
class Packed:
    """A caveat as it is carried: its number, and the bytes of its body."""

    number: int
    body: bytes

    @property
    def members(self) -> tuple[bytes, bytes]:
        """As they stand in a set."""
        return packing.pack(self.number), self.body

    @property
    def link(self) -> bytes:
        """What the chain of HMACs runs over: a set of this caveat alone."""
        number, body = self.members
        return b"\x92" + number + body

    @property
    def meaning(self) -> Caveat:
        """`Malformed` where the body is not of its kind. Looked at once: a token is decoded, and then verified."""
        # Not a `cached_property`: the lock of that (until Python 3.12) costs more than the parsing.
        known: Caveat | None = self.__dict__.get("_meaning")
        if known is None:
            parse = _PARSERS.get(self.number)
            known = Unregistered(self.number, self.body) if parse is None else parse(self.body)
            self.__dict__["_meaning"] = known
        return known

    def check(self) -> None:
        """`Malformed` now rather than later."""
        _ = self.meaning


class Struct(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A body that is an array of fields. More fields than we know would be restrictions that we do not know."""

    number: ClassVar[int]
    name: ClassVar[str]
    attests: ClassVar[bool] = False

    def body(self) -> object:
        return self


def _access(asked: Request) -> Access:
    if not isinstance(asked, Access):
        raise InvalidAccess("the caveat is about access, and a discharge was asked for")
    return asked


def _discharge(asked: Request) -> DischargeRequest:
    if not isinstance(asked, DischargeRequest):
        raise InvalidAccess("the caveat is about discharges, and access was asked for")
    return asked


def _within(asked: int, mask: int, what: str) -> None:
    if asked & ~mask:
        raise Refused(f"{what}: {access.action_text(asked & ~mask) or 'the action'} is not allowed")


def _granted(
    granted: Mapping[K, int],
    asked: K | None,
    action: int,
    what: str,
    matches: Callable[[K, K], bool] = lambda given, wanted: given == wanted,
) -> None:
    """A resource set: the masks of all entries that fit count together; the empty id fits all, and stands alone."""
    zero = [key for key in granted if not key]
    if zero and len(granted) > 1:
        raise Refused(f"{what}: the caveat names all and some")
    if asked is None:
        raise Unspecified(f"{what}: not named")
    masks = [mask for key, mask in granted.items() if not key or matches(key, asked)]
    if not masks:
        raise Refused(f"{what}: not this one")
    allowed = access.EVERYTHING
    for mask in masks:
        allowed &= mask
    _within(action, allowed, what)


def _in_order(granted: Mapping[K, int]) -> dict[K, int]:
    """By key: text by its bytes (UTF-8 sorts as code points do)."""
    return {key: granted[key] for key in sorted(granted)}


class Organization(Struct, frozen=True):
    number: ClassVar[int] = 0
    name: ClassVar[str] = "Organization"
    id: int
    mask: int

    def prohibits(self, asked: Request) -> None:
        organisation = _access(asked).organisation
        if organisation is None:
            raise Unspecified("organisation: not named")
        if self.id not in (0, organisation):
            raise Refused("organisation: not this one")
        _within(_access(asked).action, self.mask, "organisation")


class Volumes(Struct, frozen=True):
    number: ClassVar[int] = 2
    name: ClassVar[str] = "Volumes"
    volumes: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.volumes)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.volumes, _access(asked).volume, _access(asked).action, "volume")


class Apps(Struct, frozen=True):
    number: ClassVar[int] = 3
    name: ClassVar[str] = "Apps"
    apps: dict[int, int]

    def body(self) -> object:
        return [_in_order(self.apps)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.apps, _access(asked).app, _access(asked).action, "app")


class ValidityWindow(Struct, frozen=True):
    number: ClassVar[int] = 4
    name: ClassVar[str] = "ValidityWindow"
    not_before: int
    not_after: int

    def prohibits(self, asked: Request) -> None:
        if asked.now_s > self.not_after:
            raise Refused("the token has expired")
        if asked.now_s < self.not_before:
            raise Refused("the token is not valid yet")


class FeatureSet(Struct, frozen=True):
    number: ClassVar[int] = 5
    name: ClassVar[str] = "FeatureSet"
    features: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.features)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.features, _access(asked).feature, _access(asked).action, "feature")


class Mutations(Struct, frozen=True):
    number: ClassVar[int] = 6
    name: ClassVar[str] = "Mutations"
    mutations: list[str]

    def prohibits(self, asked: Request) -> None:
        mutation = _access(asked).mutation
        if mutation is None:
            raise Unspecified("mutation: not named")
        if mutation not in self.mutations:
            raise Refused("mutation: not this one")


class Machines(Struct, frozen=True):
    number: ClassVar[int] = 7
    name: ClassVar[str] = "Machines"
    machines: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.machines)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.machines, _access(asked).machine, _access(asked).action, "machine")


class ConfineUser(Struct, frozen=True):
    number: ClassVar[int] = 8
    name: ClassVar[str] = "ConfineUser"
    id: int

    def prohibits(self, asked: Request) -> None:
        if self.id not in _discharge(asked).users:
            raise Refused("another user has to authenticate")


class ConfineOrganization(Struct, frozen=True):
    number: ClassVar[int] = 9
    name: ClassVar[str] = "ConfineOrganization"
    id: int

    def prohibits(self, asked: Request) -> None:
        if self.id not in _discharge(asked).organisations:
            raise Refused("a member of another organisation has to authenticate")


class IsUser(Struct, frozen=True):
    """Says for whom the token was made; restricts nothing."""

    number: ClassVar[int] = 10
    name: ClassVar[str] = "IsUser"
    id: int

    def prohibits(self, asked: Request) -> None:
        pass


class ThirdParty(Struct, frozen=True):
    """Somebody at `location` has to agree (`third_party`). Part of verification: it permits nothing by itself."""

    number: ClassVar[int] = 11
    name: ClassVar[str] = "3P"
    location: str
    verifier_key: bytes
    ticket: bytes

    def prohibits(self, asked: Request) -> None:
        raise Refused("a third party's caveat was not verified")


class MachineFeatureSet(Struct, frozen=True):
    number: ClassVar[int] = 14
    name: ClassVar[str] = "MachineFeatureSet"
    features: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.features)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.features, _access(asked).machine_feature, _access(asked).action, "machine feature")


class FromMachineSource(Struct, frozen=True):
    """Of use only to one machine: whoever verifies knows by the channel which machine asks."""

    number: ClassVar[int] = 15
    name: ClassVar[str] = "FromMachineSource"
    id: str

    def prohibits(self, asked: Request) -> None:
        if _access(asked).source_machine is None:
            raise InvalidAccess("the request comes from no machine")
        if _access(asked).source_machine != self.id:
            raise Refused("the request comes from another machine")


class Clusters(Struct, frozen=True):
    number: ClassVar[int] = 16
    name: ClassVar[str] = "Clusters"
    clusters: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.clusters)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.clusters, _access(asked).cluster, _access(asked).action, "cluster")


class IsMember(Struct, frozen=True):
    number: ClassVar[int] = 22
    name: ClassVar[str] = "IsMember"

    def prohibits(self, asked: Request) -> None:
        AllowedRoles(int(access.Role.MEMBER)).prohibits(asked)


class StorageObjects(Struct, frozen=True):
    """Objects by the beginning of their names."""

    number: ClassVar[int] = 29
    name: ClassVar[str] = "StorageObjects"
    storage_objects: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.storage_objects)]

    def prohibits(self, asked: Request) -> None:
        wanted = _access(asked).storage_object
        _granted(
            self.storage_objects,
            wanted,
            _access(asked).action,
            "storage object",
            lambda given, name: name.startswith(given),
        )


class FlySrc(Struct, frozen=True):
    """Where a request comes from; what is empty may be anything."""

    number: ClassVar[int] = 31
    name: ClassVar[str] = "FlySrc"
    organization: str
    app: str
    instance: str

    def prohibits(self, asked: Request) -> None:
        wanted = _access(asked)
        sources = (wanted.source_organisation, wanted.source_app, wanted.source_machine)
        for meant, source, what in zip(
            (self.organization, self.app, self.instance), sources, ("organisation", "app", "machine"), strict=True
        ):
            if meant and source is None:
                raise InvalidAccess(f"the request comes from no {what}")
            if meant and source != meant:
                raise Refused(f"the request comes from another {what}")


@dataclasses.dataclass(frozen=True)
class BindToParentToken:
    """A discharge that goes with one token only: the beginning of a digest of its tail. Part of verification."""

    number: ClassVar[int] = 12
    name: ClassVar[str] = "BindToParentToken"
    attests: ClassVar[bool] = False
    prefix: bytes

    def body(self) -> object:
        return self.prefix

    def prohibits(self, asked: Request) -> None:
        raise Refused("a binding to another token was not verified")


@dataclasses.dataclass(frozen=True)
class IfPresent:
    """`ifs`, as far as they speak of resources that are named; `otherwise` when none of them is."""

    number: ClassVar[int] = 13
    name: ClassVar[str] = "IfPresent"
    attests: ClassVar[bool] = False
    ifs: tuple[Packed, ...]
    otherwise: int

    def body(self) -> object:
        return [msgspec.Raw(pack_set(self.ifs)), self.otherwise]

    def prohibits(self, asked: Request) -> None:
        action = _access(asked).action
        spoke, refused = False, None
        for packed in self.ifs:
            try:
                packed.meaning.prohibits(asked)
            except Unspecified:
                continue
            except Refused as error:
                refused = refused or error
            spoke = True
        if refused is not None:
            raise refused
        if not spoke:
            _within(action, self.otherwise, "what is not named")


@dataclasses.dataclass(frozen=True)
class ActionMask:
    number: ClassVar[int] = 26
    name: ClassVar[str] = "Action"
    attests: ClassVar[bool] = False
    mask: int

    def body(self) -> object:
        return self.mask

    def prohibits(self, asked: Request) -> None:
        _within(_access(asked).action, self.mask, "access")


@dataclasses.dataclass(frozen=True)
class AllowedRoles:
    number: ClassVar[int] = 30
    name: ClassVar[str] = "AllowedRoles"
    attests: ClassVar[bool] = False
    roles: int

    def body(self) -> object:
        return self.roles

    def prohibits(self, asked: Request) -> None:
        if not any(role & ~self.roles == 0 for role in _access(asked).permitted_roles):
            raise Refused("the role does not permit this")


class Command(Struct, frozen=True):
    """A command line, or what it begins with."""

    number: ClassVar[int] = -1
    name: ClassVar[str] = "Command"
    args: list[str]
    exact: bool = False

    def permits(self, command: tuple[str, ...]) -> bool:
        if self.exact and len(command) != len(self.args):
            return False
        return command[: len(self.args)] == tuple(self.args)

    def prohibits(self, asked: Request) -> None:
        raise Refused("a command is a part of a caveat")


@dataclasses.dataclass(frozen=True)
class Commands:
    number: ClassVar[int] = 27
    name: ClassVar[str] = "Commands"
    attests: ClassVar[bool] = False
    commands: tuple[Command, ...]

    def body(self) -> object:
        return [[command.args, command.exact] for command in self.commands]

    def prohibits(self, asked: Request) -> None:
        wanted = _access(asked).command
        if wanted is None:
            raise Unspecified("command: not named")
        if not any(command.permits(wanted) for command in self.commands):
            raise Refused("command: not this one")


class AppFeatureSet(Struct, frozen=True):
    number: ClassVar[int] = 28
    name: ClassVar[str] = "AppFeatureSet"
    features: dict[str, int]

    def body(self) -> object:
        return [_in_order(self.features)]

    def prohibits(self, asked: Request) -> None:
        _granted(self.features, _access(asked).app_feature, _access(asked).action, "app feature")


@dataclasses.dataclass(frozen=True)
class ConfineGoogleHD:
    number: ClassVar[int] = 19
    name: ClassVar[str] = "ConfineGoogleHD"
    attests: ClassVar[bool] = False
    domain: str

    def body(self) -> object:
        return self.domain

    def prohibits(self, asked: Request) -> None:
        if self.domain not in _discharge(asked).google_domains:
            raise Refused("a Google account of another domain has to authenticate")


@dataclasses.dataclass(frozen=True)
class ConfineGitHubOrg:
    number: ClassVar[int] = 20
    name: ClassVar[str] = "ConfineGitHubOrg"
    attests: ClassVar[bool] = False
    id: int

    def body(self) -> object:
        return self.id

    def prohibits(self, asked: Request) -> None:
        if self.id not in _discharge(asked).github_organisations:
            raise Refused("a GitHub account of another organisation has to authenticate")


@dataclasses.dataclass(frozen=True)
class MaxValidity:
    number: ClassVar[int] = 21
    name: ClassVar[str] = "MaxValidity"
    attests: ClassVar[bool] = False
    seconds: int

    def body(self) -> object:
        return self.seconds

    def prohibits(self, asked: Request) -> None:
        wanted = _discharge(asked)
        if wanted.expires_s - wanted.now_s > self.seconds:
            raise Refused(f"a discharge may be valid for {self.seconds} s at most")


@dataclasses.dataclass(frozen=True)
class _UserAttestation:
    """Who authenticated, as the third party says. It restricts nothing, and permits nothing."""

    number: ClassVar[int]
    name: ClassVar[str]
    attests: ClassVar[bool] = True
    id: int

    def body(self) -> object:
        return self.id

    def prohibits(self, asked: Request) -> None:
        raise Refused("an attestation is no permission")


@dataclasses.dataclass(frozen=True)
class FlyioUserID(_UserAttestation):
    number: ClassVar[int] = 23
    name: ClassVar[str] = "FlyioUserID"


@dataclasses.dataclass(frozen=True)
class GitHubUserID(_UserAttestation):
    number: ClassVar[int] = 24
    name: ClassVar[str] = "GitHubUserID"


@dataclasses.dataclass(frozen=True)
class GoogleUserID(_UserAttestation):
    """Longer than any integer of MessagePack: big-endian bytes."""

    number: ClassVar[int] = 25
    name: ClassVar[str] = "GoogleUserID"

    def body(self) -> object:
        return self.id.to_bytes((self.id.bit_length() + 7) // 8, "big")


@dataclasses.dataclass(frozen=True)
class Unregistered:
    """Of a kind that we do not know."""

    number: int
    raw: bytes
    name: ClassVar[str] = "Unregistered"
    attests: ClassVar[bool] = False

    def body(self) -> object:
        return msgspec.Raw(self.raw)

    def prohibits(self, asked: Request) -> None:
        raise Refused(f"a caveat of an unknown kind ({self.number})")


STRUCTS: tuple[type[Struct], ...] = (
    Organization, Volumes, Apps, ValidityWindow, FeatureSet, Mutations, Machines, ConfineUser, ConfineOrganization,
    IsUser, ThirdParty, MachineFeatureSet, FromMachineSource, Clusters, IsMember, StorageObjects, FlySrc, AppFeatureSet,
)  # fmt: skip

Parse = Callable[[bytes], Caveat]
_PARSERS: dict[int, Parse] = {}


def _of_struct(kind: type[Struct]) -> Parse:
    decoder = msgspec.msgpack.Decoder(kind)

    def parse(body: bytes) -> Caveat:
        try:
            return decoder.decode(body)  # type: ignore[return-value]  # each struct above has prohibits()
        except errors.UNREADABLE as error:
            raise packing.Malformed(f"caveat {kind.name}: not what it should be") from error

    return parse


def _parse_if_present(body: bytes) -> Caveat:
    return _nested(body, 0)


def _nested(body: bytes, depth: int) -> IfPresent:
    members = packing.items(body, "caveat IfPresent")
    if len(members) != 2 or depth >= MAX_NESTING:
        raise packing.Malformed("caveat IfPresent: not what it should be")
    ifs = parse_set(bytes(members[0]), "caveat IfPresent")
    for packed in ifs:
        if packed.number == IfPresent.number:
            _nested(packed.body, depth + 1)
        else:
            packed.check()
    return IfPresent(ifs, packing.number(members[1], "caveat IfPresent"))


def _parse_commands(body: bytes) -> Caveat:
    members = packing.items(body, "caveat Commands")
    return Commands(tuple(packing.unpack(member, Command, "caveat Commands") for member in members))


def _unsigned(body: bytes, what: str) -> int:
    return packing.number(msgspec.Raw(body), f"caveat {what}")


_PARSERS |= {kind.number: _of_struct(kind) for kind in STRUCTS}
_PARSERS |= {
    BindToParentToken.number: lambda body: BindToParentToken(packing.unpack(body, bytes, "caveat BindToParentToken")),
    IfPresent.number: _parse_if_present,
    ActionMask.number: lambda body: ActionMask(_unsigned(body, "Action")),
    AllowedRoles.number: lambda body: AllowedRoles(_unsigned(body, "AllowedRoles")),
    Commands.number: _parse_commands,
    ConfineGoogleHD.number: lambda body: ConfineGoogleHD(packing.unpack(body, str, "caveat ConfineGoogleHD")),
    ConfineGitHubOrg.number: lambda body: ConfineGitHubOrg(_unsigned(body, "ConfineGitHubOrg")),
    MaxValidity.number: lambda body: MaxValidity(_unsigned(body, "MaxValidity")),
    FlyioUserID.number: lambda body: FlyioUserID(_unsigned(body, "FlyioUserID")),
    GitHubUserID.number: lambda body: GitHubUserID(_unsigned(body, "GitHubUserID")),
    GoogleUserID.number: lambda body: GoogleUserID(
        int.from_bytes(packing.unpack(body, bytes, "caveat GoogleUserID"), "big")
    ),
}


def register(number: int, parse: Parse) -> None:
    """A kind of our own, in the range for private use."""
    if not PRIVATE_FIRST <= number <= PRIVATE_LAST:
        raise ValueError(f"register caveat {number}: not in the range for private use")
    _PARSERS[number] = parse


def pack(caveat: Caveat) -> Packed:
    """As it is carried in a token."""
    return Packed(caveat.number, packing.pack(caveat.body()))


def parse_set(data: bytes, what: str = "caveats") -> tuple[Packed, ...]:
    """Numbers and bodies in turn. The bodies are looked at by `Packed.meaning`."""
    members = packing.items(data, what)
    if len(members) % 2:
        raise packing.Malformed(f"{what}: a number without a body")
    pairs = zip(members[::2], members[1::2], strict=True)
    return tuple(Packed(packing.number(number, what), bytes(body)) for number, body in pairs)


def pack_set(packed: tuple[Packed, ...]) -> bytes:
    """The other way."""
    return packing.array(member for caveat in packed for member in caveat.members)


def every(packed: tuple[Packed, ...]) -> Iterator[Packed]:
    """All of them, and those inside of `IfPresent`."""
    for caveat in packed:
        yield caveat
        if caveat.number == IfPresent.number:
            found = caveat.meaning
            assert isinstance(found, IfPresent)
            yield from every(found.ifs)
