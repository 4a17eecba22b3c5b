"""Macaroons: bytes, headers, the JSON form and discharges; and what is asked of the issuer of OpenID Connect."""

from __future__ import annotations

import base64
import functools
import json
import tempfile

import msgspec

from pilot import errors
from pilot.host.identity.issuer import Issuer, Subject
from pilot.host.identity.oidc import Signer
from pilot.wire import outward
from pilot.wire.macaroons import access, caveats, document, header, macaroon, packing, third_party
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


def _discharge(data: bytes) -> None:
    """Only what the third party has made discharges the token that demands it."""
    found = macaroon.decode(data)
    try:
        macaroon.verify(_THIRD, _KEY, (found,))
    except (macaroon.Invalid, packing.Malformed):
        return
    assert found.tail == _DISCHARGE.tail, "a discharge of nobody's counts"


def _ticket(data: bytes) -> None:
    found = third_party.open_ticket(_KEY, data)
    assert isinstance(found.discharge_key, bytes)


def _oidc(data: bytes) -> None:
    """Whatever is asked for, the token is three parts, and its claims say that and nothing else."""
    try:
        asked = msgspec.json.decode(data, type=outward.OidcRequest)
    except errors.UNREADABLE:
        return
    issuer, plain = _issuer(), Subject("o", "1f", "a", "2a", "m", "3a")
    issued = issuer.issue(plain, asked.aud, aws_principal_tags=asked.aws_principal_tags)
    head, claims, signature = issued.token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert head
    assert signature
    assert said["aud"] == (asked.aud or issuer.of("o"))
    assert (said["iss"], said["sub"]) == (issuer.of("o"), "o:a:m")
    assert ("https://aws.amazon.com/tags" in said) is asked.aws_principal_tags


@functools.cache
def _issuer() -> Issuer:
    """Made at the first use: its keys take a moment."""
    with tempfile.TemporaryDirectory(prefix="pilot-fuzz-") as directory:
        signer = Signer(directory, bytes(32))
        signer.published()  # from here on it has all that it needs in memory
    return Issuer("https://pilot.test/oidc", signer)


_TOKEN = macaroon.mint(
    _KEY, b"k", "https://l",
    caveats.Organization(1, 31), caveats.Apps({2: 31}), caveats.ValidityWindow(1, 200), caveats.Mutations(["m"]),
    caveats.IfPresent((caveats.pack(caveats.Volumes({"v": 1})),), 1),
)  # fmt: skip
_THIRD = _TOKEN.require("https://auth", _KEY, caveats.ConfineUser(5))
_TICKET = _THIRD.tickets()["https://auth"][0]
_DISCHARGE = macaroon.discharge(_KEY, "https://auth", _TICKET, caveats.ValidityWindow(1, 200))
_JSON = [{"type": "Organization", "body": {"id": 1, "mask": "rw"}}, {"type": "Apps", "body": {"apps": {"2": "*"}}},
         {"type": "ValidityWindow", "body": {"not_before": 1, "not_after": 2}}]  # fmt: skip
# Minted with random nonces: what is kept of them is in the corpus.
TARGETS = {
    "macaroon": Target(_macaroon, (packing.Malformed,), (_TOKEN.encode(), _THIRD.encode()), form=Form.MSGPACK),
    "macaroon-header": Target(_header, (packing.Malformed,), (header.write([_TOKEN, _THIRD]).encode(), b"FlyV1 fo1_x")),
    "macaroon-discharge": Target(
        _discharge, (packing.Malformed,), (_DISCHARGE.encode(), _TOKEN.encode()), form=Form.MSGPACK
    ),
    "macaroon-ticket": Target(_ticket, (packing.Malformed, third_party.Unopened), (_TICKET,)),
    "oidc-request": Target(
        _oidc, (), (b'{"aud": "sts.amazonaws.com"}', b'{"aud": null, "aws_principal_tags": true}'), form=Form.JSON
    ),
    "macaroon-json": Target(_document, (packing.Malformed,), (json.dumps(_JSON).encode(),), form=Form.JSON),
}
