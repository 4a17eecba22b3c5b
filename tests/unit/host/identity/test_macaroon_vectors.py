"""The vectors that superfly/macaroon generates: they decode, verify and attenuate to the same bytes."""

from __future__ import annotations

import base64
import json
import pathlib
from typing import Any

import pytest

from pilot.wire.macaroons import caveats, header, macaroon

VECTORS: dict[str, Any] = json.loads((pathlib.Path(__file__).parents[3] / "vectors/macaroons.json").read_text())
LOCATION = VECTORS["location"]
KEY, SHARED = base64.b64decode(VECTORS["key"]), base64.b64decode(VECTORS["tp_key"])
ATTESTATIONS = frozenset({"FlyioUserID", "GitHubUserID", "GoogleUserID"})


def only(text: str) -> macaroon.Macaroon:
    (token,) = header.parse(text, LOCATION).permissions
    return token


@pytest.mark.parametrize("name", VECTORS["macaroons"])
def test_a_token_decodes_and_is_written_as_it_was(name: str) -> None:
    text = VECTORS["macaroons"][name]
    (data,) = header.parse_tokens(text)
    token = macaroon.decode(data)
    assert token.encode() == data
    assert header.write([token]) == text
    assert (token.nonce.key_id == base64.b64decode(VECTORS["kid"])) == (name not in ATTESTATIONS)


@pytest.mark.parametrize("name", sorted(set(VECTORS["macaroons"]) - ATTESTATIONS - {"BindToParentToken", "3P"}))
def test_a_token_verifies_with_its_key_alone(name: str) -> None:
    token = only(VECTORS["macaroons"][name])
    left = macaroon.verify(token, KEY)
    assert [caveats.pack(caveat) for caveat in left] == list(token.caveats)
    with pytest.raises(macaroon.Invalid):
        macaroon.verify(token, bytes(32))


@pytest.mark.parametrize("name", VECTORS["caveats"])
def test_a_caveat_is_packed_as_it_was(name: str) -> None:
    data = base64.b64decode(VECTORS["caveats"][name])
    packed = caveats.parse_set(data)
    assert caveats.pack_set(packed) == data
    assert caveats.pack_set(tuple(caveats.pack(caveat.meaning) for caveat in packed)) == data


@pytest.mark.parametrize(
    ("base", "added", "result"),
    [(base, added, result) for base, rows in VECTORS["attenuation"].items() for added, result in rows.items()],
    ids=lambda text: text[-12:],
)
def test_attenuation_gives_the_same_bytes(base: str, added: str, result: str) -> None:
    bundle = header.parse(base, LOCATION)
    (token,) = bundle.permissions
    attenuated = token.attenuate(*(packed.meaning for packed in caveats.parse_set(base64.b64decode(added))))
    assert attenuated == only(result)
    assert attenuated.encode() in header.parse_tokens(result)
    if caveats.BindToParentToken.number in {packed.number for packed in attenuated.caveats}:
        with pytest.raises(macaroon.Invalid, match="bound to another"):  # this one is nobody's discharge
            macaroon.verify(attenuated, KEY)
    else:
        macaroon.verify(attenuated, KEY)


def test_third_parties() -> None:
    bundle = header.parse(VECTORS["with_tps"], LOCATION)
    (token,) = bundle.permissions
    with pytest.raises(macaroon.Invalid, match="missing"):
        macaroon.verify(token, KEY, bundle.others)
    undischarged = token.tickets(*bundle.others)
    assert list(undischarged) == ["undischarged"]
    made = [macaroon.discharge(SHARED, place, ticket) for place, tickets in undischarged.items() for ticket in tickets]
    macaroon.verify(token, KEY, [*bundle.others, *made])
