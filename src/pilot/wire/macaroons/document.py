"""The JSON form of caveats, `[{"type": "Apps", "body": {"apps": {"123": "rw"}}}, …]`: for people and for APIs.

Signatures are over MessagePack, and a kind that we do not know can be written in neither direction: its fields' names
are not in its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ... import errors
from . import access, caveats, packing
from .caveats import Caveat

_ALIASES = {"DeprecatedOrganization": "Organization", "DeprecatedApps": "Apps", "NoAdminFeatures": "IsMember"}
_SETS = ("apps", "volumes", "machines", "features", "clusters", "storage_objects")
# Fields whose names in JSON are others than ours.
_RENAMED = {
    "IsUser": {"id": "uint64"},
    "3P": {"location": "Location", "verifier_key": "VerifierKey", "ticket": "Ticket"},
}


def to_document(given: Sequence[Caveat]) -> list[dict[str, Any]]:
    """`Malformed` for a kind that we do not know."""
    return [{"type": caveat.name, "body": _body(caveat)} for caveat in given]


def from_document(document: Sequence[Mapping[str, Any]]) -> list[Caveat]:
    """The other way; `Malformed` names the entry."""
    return [_caveat(entry, f"caveats[{index}]") for index, entry in enumerate(document)]


def _body(caveat: Caveat) -> Any:
    match caveat:
        case caveats.Unregistered():
            raise packing.Malformed(f"a caveat of an unknown kind ({caveat.number}) has no JSON form")
        case caveats.ActionMask():
            return access.action_text(caveat.mask)
        case caveats.Commands():
            return [{"args": c.args} | ({"exact": True} if c.exact else {}) for c in caveat.commands]
        case caveats.IfPresent():
            ifs = to_document([packed.meaning for packed in caveat.ifs])
            return {"ifs": ifs, "else": access.action_text(caveat.otherwise)}
        case msgspec.Struct():
            names = _RENAMED.get(caveat.name, {})
            return {
                names.get(field, field): _shown(field, getattr(caveat, field)) for field in caveat.__struct_fields__
            }
        case caveats.GoogleUserID():
            return caveat.id  # a JSON number of any length, not the bytes that are packed
        case _:
            return msgspec.to_builtins(caveat.body())


def _shown(field: str, value: Any) -> Any:
    if field == "mask":
        return access.action_text(value)
    if field in _SETS:
        return {str(key): access.action_text(mask) for key, mask in value.items()}
    return msgspec.to_builtins(value)


def _caveat(entry: Mapping[str, Any], what: str) -> Caveat:
    try:
        name = str(entry["type"])
        return _READERS[_ALIASES.get(name, name)](entry["body"])
    except packing.Malformed:
        raise
    except (KeyError, TypeError, AttributeError, *errors.UNREADABLE) as error:
        raise packing.Malformed(f"{what}: not a caveat that we know") from error


def _of_struct(kind: type[msgspec.Struct]) -> Callable[[Any], Caveat]:
    names = _RENAMED.get(kind.name, {})  # type: ignore[attr-defined]  # each of our structs has one

    def read(body: Any) -> Caveat:
        fields = kind.__struct_fields__
        if set(body) != {names.get(field, field) for field in fields}:
            raise packing.Malformed(f"caveat {kind.name}: other fields than it has")  # type: ignore[attr-defined]
        values = [_read(field, body[names.get(field, field)]) for field in fields]
        return msgspec.convert(values, kind)  # type: ignore[return-value]

    return read


def _read(field: str, value: Any) -> Any:
    if field == "mask":
        return access.parse_action(value)
    if field in _SETS:
        return {(int(key) if field == "apps" else str(key)): access.parse_action(mask) for key, mask in value.items()}
    return value


def _if_present(body: Any) -> Caveat:
    ifs = tuple(caveats.pack(caveat) for caveat in from_document(body["ifs"]))
    return caveats.IfPresent(ifs, access.parse_action(body["else"]))


_READERS: dict[str, Callable[[Any], Caveat]] = {kind.name: _of_struct(kind) for kind in caveats.STRUCTS}
_READERS |= {
    "Action": lambda body: caveats.ActionMask(access.parse_action(body)),
    "IfPresent": _if_present,
    "Commands": lambda body: caveats.Commands(
        tuple(msgspec.convert([c["args"], c.get("exact", False)], caveats.Command) for c in body)
    ),
    "BindToParentToken": lambda body: caveats.BindToParentToken(msgspec.convert(body, bytes)),
    "AllowedRoles": lambda body: caveats.AllowedRoles(msgspec.convert(body, int)),
    "ConfineGoogleHD": lambda body: caveats.ConfineGoogleHD(msgspec.convert(body, str)),
    "ConfineGitHubOrg": lambda body: caveats.ConfineGitHubOrg(msgspec.convert(body, int)),
    "MaxValidity": lambda body: caveats.MaxValidity(msgspec.convert(body, int)),
    "FlyioUserID": lambda body: caveats.FlyioUserID(msgspec.convert(body, int)),
    "GitHubUserID": lambda body: caveats.GitHubUserID(msgspec.convert(body, int)),
    "GoogleUserID": lambda body: caveats.GoogleUserID(msgspec.convert(body, int)),
}
