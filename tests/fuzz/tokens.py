"""Macaroons: bytes, headers and the JSON form."""

from __future__ import annotations

import json

from pilot.wire.macaroons import access, caveats, document, header, macaroon, packing
from tests.fuzz.target import Form, Target

_KEY = bytes(32)
_ASKED = access.Access(access.Action.READ, now_s=100, organisation=1, app=2)


def _macaroon(data: bytes) -> None:
    """What is read is written as the same; and nothing that was not minted is taken for minted."""
    found = macaroon.decode(data)
    assert macaroon.decode(found.encode()) == found
    found.tickets()
    for packed in found.caveats:
        try:
            packed.meaning.prohibits(_ASKED)
        except access.Refused:
            continue
    try:
        macaroon.verify(found, b"another key" * 3)
    except (macaroon.Invalid, packing.Malformed):
        return
    raise AssertionError("a token of nobody's is verified")


def _header(data: bytes) -> None:
    found = header.parse(data.decode("latin-1"), "https://l")
    if found.permissions:
        assert header.parse(header.write(found.permissions), "https://l").permissions == found.permissions


def _document(data: bytes) -> None:
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(given, list) and all(isinstance(entry, dict) for entry in given):
        written = document.to_document(document.from_document(given))
        assert document.to_document(document.from_document(written)) == written


_TOKEN = macaroon.mint(
    _KEY, b"k", "https://l",
    caveats.Organization(1, 31), caveats.Apps({2: 31}), caveats.ValidityWindow(1, 200), caveats.Mutations(["m"]),
    caveats.IfPresent((caveats.pack(caveats.Volumes({"v": 1})),), 1),
)  # fmt: skip
_THIRD = _TOKEN.require("https://auth", _KEY, caveats.ConfineUser(5))
_JSON = [{"type": "Organization", "body": {"id": 1, "mask": "rw"}}, {"type": "Apps", "body": {"apps": {"2": "*"}}},
         {"type": "ValidityWindow", "body": {"not_before": 1, "not_after": 2}}]  # fmt: skip
# Minted with random nonces: what is kept of them is in the corpus.
TARGETS = {
    "macaroon": Target(_macaroon, (packing.Malformed,), (_TOKEN.encode(), _THIRD.encode()), form=Form.MSGPACK),
    "macaroon-header": Target(_header, (packing.Malformed,), (header.write([_TOKEN, _THIRD]).encode(), b"FlyV1 fo1_x")),
    "macaroon-json": Target(_document, (packing.Malformed,), (json.dumps(_JSON).encode(),), form=Form.JSON),
}
