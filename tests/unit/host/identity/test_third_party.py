"""Third parties' caveats that this pilotd discharges: by whom, for how long, and of what use they are."""

from __future__ import annotations

import base64
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.host import HostUnderTest

from pilot.host.identity.carried import number
from pilot.host.identity.roots import Roots
from pilot.host.identity.third_party import LIFE_S, ThirdParty
from pilot.host.store import tokens
from pilot.host.store.tokens import Organisation
from pilot.wire import faults
from pilot.wire.macaroons import caveats, header, macaroon
from pilot.wire.macaroons.caveats import Caveat
from pilot.wire.macaroons.macaroon import Macaroon

NOW_S, HERE = 1_800_000_000, "https://api.test/oidc/local"
OURS, OTHERS = Organisation("0a0b0c0d", "local"), Organisation("0e0f0a0b", "other")


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> ThirdParty:
    return ThirdParty(Roots(str(tmp_path_factory.mktemp("identity"))), lambda: NOW_S)


ROOT = bytes(range(32))


def _demanding(party: ThirdParty, *demands: Caveat) -> tuple[Macaroon, bytes]:
    token = macaroon.mint(ROOT, b"root", "here").require(HERE, party.key(OURS), *demands)
    [ticket] = token.tickets()[HERE]
    return token, ticket


def _only(text: str) -> Macaroon:
    [data] = header.parse_tokens(text)
    return macaroon.decode(data)


def test_a_discharge_is_for_that_token_and_ends_within_the_hour(party: ThirdParty) -> None:
    token, ticket = _demanding(party)
    proof = _only(party.discharge(OURS, HERE, ticket))
    assert (proof.is_proof, proof.location) == (True, HERE)
    assert macaroon.verify(token, ROOT, [proof]) == (caveats.ValidityWindow(NOW_S, NOW_S + LIFE_S),)
    another, _ = _demanding(party)
    with pytest.raises(macaroon.Invalid, match="missing"):
        macaroon.verify(another, ROOT, [proof])
    with pytest.raises(macaroon.CannotAttenuate):
        proof.attenuate(caveats.ActionMask(1))


def test_it_counts_as_ours_where_our_key_is_trusted(party: ThirdParty) -> None:
    token, ticket = _demanding(party)
    proof = _only(party.discharge(OURS, HERE, ticket))
    macaroon.verify(token, ROOT, [proof], {HERE: [party.key(OURS)]})


@given(seconds=st.integers(0, 1 << 40))
def test_it_lasts_no_longer_than_is_demanded(party: ThirdParty, seconds: int) -> None:
    _, ticket = _demanding(party, caveats.MaxValidity(seconds))
    proof = _only(party.discharge(OURS, HERE, ticket))
    [window] = [packed.meaning for packed in proof.caveats]
    assert window == caveats.ValidityWindow(NOW_S, NOW_S + min(LIFE_S, seconds))


def test_what_a_ticket_demands_has_to_be_so(party: ThirdParty) -> None:
    _, ticket = _demanding(party, caveats.ConfineOrganization(number(OURS.id)))
    party.discharge(OURS, HERE, ticket)
    for demand in (
        caveats.ConfineOrganization(number(OTHERS.id)), caveats.ConfineUser(7), caveats.ActionMask(1),
        caveats.Unregistered(caveats.PRIVATE_FIRST + 7, b"\x90"),
    ):  # fmt: skip
        _, refused = _demanding(party, demand)
        with pytest.raises(faults.PermissionDenied):
            party.discharge(OURS, HERE, refused)


@given(data=st.data())
def test_no_ticket_that_was_changed_or_is_another_ones_is_discharged(party: ThirdParty, data: st.DataObject) -> None:
    _, ticket = _demanding(party)
    place, bit = data.draw(st.integers(0, len(ticket) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(ticket)
    changed[place] ^= 1 << bit
    for wrong in (bytes(changed), ticket[:place], b""):
        with pytest.raises(faults.InvalidRequest):
            party.discharge(OURS, HERE, wrong)
    with pytest.raises(faults.InvalidRequest):
        party.discharge(OTHERS, HERE, ticket)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(party: ThirdParty, ticket: bytes) -> None:
    with pytest.raises(faults.InvalidRequest):
        party.discharge(OURS, HERE, ticket)


def test_keys_are_of_an_organisation_and_stay(tmp_path: pathlib.Path) -> None:
    roots = Roots(str(tmp_path))
    party = ThirdParty(roots)
    roots.rotate()
    assert ThirdParty(Roots(str(tmp_path))).key(OURS) == party.key(OURS) != party.key(OTHERS)
    assert ThirdParty(Roots(str(tmp_path / "another"))).key(OURS) != party.key(OURS)


def test_another_key_is_of_that_organisation_alone_and_stays(tmp_path: pathlib.Path) -> None:
    party = ThirdParty(Roots(str(tmp_path)))
    before, theirs, (_, ticket) = party.key(OURS), party.key(OTHERS), _demanding(party)
    for _ in range(2):
        party.rotate(OURS)
        assert party.key(OURS) != before
        before = party.key(OURS)
    again = ThirdParty(Roots(str(tmp_path)))
    assert (again.key(OURS), again.key(OTHERS)) == (before, theirs)
    with pytest.raises(faults.InvalidRequest):
        again.discharge(OURS, HERE, ticket)
    token, ticket = _demanding(again)
    macaroon.verify(token, ROOT, [_only(again.discharge(OURS, HERE, ticket))])


# ---- by HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


def _client(host: HostUnderTest, shown: str) -> httpx.Client:
    return httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {shown}"}, timeout=60)


def test_two_keys_are_needed_where_one_has_to_confirm(host: HostUnderTest) -> None:
    with _client(host, host.token) as http:
        token = _only(http.post("/v1/tokens", json={"form": "macaroon"}).json()["token"])
        party = http.get("/v1/tokens/third-party").json()
        demanding = token.require(party["location"], base64.b64decode(party["key"]))
        shown = header.write([demanding]).removeprefix("FlyV1 ")
        [ticket] = demanding.tickets()[party["location"]]
        asked, path = {"ticket": base64.b64encode(ticket).decode()}, "/oidc/local/.well-known/macfly/3p"
        with _client(host, shown) as alone:
            assert alone.get("/v1/sprites").status_code == 401
            assert alone.post(path, json=asked).status_code == 401, "it does not confirm itself"
        answer = http.post(path, json=asked)
        assert answer.status_code == 201, answer.text
        with _client(host, f"{shown},{answer.json()['discharge']}") as both:
            assert both.get("/v1/sprites").status_code == 200
        for wrong, status in (({"ticket": "!"}, 400), ({"ticket": "AAAA"}, 400), ({}, 400)):
            assert http.post(path, json=wrong).status_code == status
        assert http.post("/oidc/other/.well-known/macfly/3p", json=asked).status_code == 404
    assert httpx.post(f"{host.url}{path}", json=asked).status_code == 401
    http_of_part = tokens.issue(
        host.database, host.organisation, tokens.Wanted(scope=tokens.Scope.of_sprite("5a", "web"))
    )
    with _client(host, http_of_part) as part:
        assert part.post(path, json=asked).status_code in (403, 404), "a key of one sprite confirms nothing for all"
        assert part.get("/v1/tokens/third-party").status_code in (403, 404)


def test_another_key_is_asked_for(host: HostUnderTest) -> None:
    path = "/v1/tokens/third-party"
    with _client(host, host.token) as http:
        before = http.get(path).json()
        made = http.post(path)
        assert made.status_code == 201
        assert made.json() == http.get(path).json() != before
        assert made.json()["location"] == before["location"]
    part = tokens.issue(host.database, host.organisation, tokens.Wanted(scope=tokens.Scope.of_sprite("5b", "web")))
    with _client(host, part) as narrowed:
        assert narrowed.post(path).status_code in (403, 404)


def test_the_same_by_sprite(host: HostUnderTest, tmp_path: pathlib.Path) -> None:
    """Who makes it, who confirms, and who uses it."""

    def sprite(*words: str, given: str = "", key: str = "") -> str:
        environment = {
            **os.environ, "HOME": str(tmp_path), "SPRITES_API_URL": host.url, "SPRITE_TOKEN": key or host.token,
        }  # fmt: skip
        command = [sys.executable, "-m", "pilot.client.main", *words]
        done = subprocess.run(command, check=False, env=environment, input=given, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    whole = sprite("token", "create", "--macaroon")
    demanding = sprite("token", "attenuate", "-", "--role", "read", "--needs-confirmation", given=whole)
    confirmed = sprite("token", "discharge", "-", given=demanding)
    assert sprite("token", "discharge", "-", given=confirmed) == confirmed, "nothing is left to be discharged"
    with _client(host, demanding) as alone, _client(host, confirmed) as both:
        assert (alone.get("/v1/sprites").status_code, both.get("/v1/sprites").status_code) == (401, 200)
        assert both.post("/v1/sprites", json={"name": "x"}).status_code == 403, "it reads, and nothing else"
