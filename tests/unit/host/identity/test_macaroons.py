"""Macaroons past the vectors: any caveat survives, any change is found, each kind prohibits what it should."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.wire.macaroons import access, caveats, document, header, macaroon, packing, third_party
from pilot.wire.macaroons.access import Access, Action, DischargeRequest, Refused, Unspecified
from pilot.wire.macaroons.caveats import Caveat

KEY, SHARED, PLACE = bytes(range(32)), bytes(range(32, 64)), "https://api.example/v1"
AUTH = "https://auth.example"
NOW = 1_800_000_000.0

ids = st.integers(0, (1 << 64) - 1)
masks = st.integers(0, 31)
words = st.text(max_size=12)
number_sets = st.dictionaries(ids, masks, max_size=4)
word_sets = st.dictionaries(words, masks, max_size=4)

SIMPLE: st.SearchStrategy[Caveat] = st.one_of(
    st.builds(caveats.Organization, ids, masks),
    st.builds(caveats.Volumes, word_sets),
    st.builds(caveats.Apps, number_sets),
    st.builds(caveats.ValidityWindow, st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.builds(caveats.FeatureSet, word_sets),
    st.builds(caveats.Mutations, st.lists(words, max_size=3)),
    st.builds(caveats.Machines, word_sets),
    st.builds(caveats.ConfineUser, ids),
    st.builds(caveats.ConfineOrganization, ids),
    st.builds(caveats.IsUser, ids),
    st.builds(caveats.MachineFeatureSet, word_sets),
    st.builds(caveats.FromMachineSource, words),
    st.builds(caveats.Clusters, word_sets),
    st.builds(caveats.IsMember),
    st.builds(caveats.StorageObjects, word_sets),
    st.builds(caveats.FlySrc, words, words, words),
    st.builds(caveats.AppFeatureSet, word_sets),
    st.builds(caveats.ActionMask, masks),
    st.builds(caveats.AllowedRoles, st.integers(0, 0xFFFFFFFF)),
    st.builds(caveats.ConfineGoogleHD, words),
    st.builds(caveats.ConfineGitHubOrg, ids),
    st.builds(caveats.MaxValidity, ids),
    st.builds(
        caveats.Commands,
        st.lists(st.builds(caveats.Command, st.lists(words, max_size=3), st.booleans()), max_size=3).map(tuple),
    ),
)
ANY = st.recursive(
    SIMPLE,
    lambda inner: st.builds(caveats.IfPresent, st.lists(inner.map(caveats.pack), max_size=3).map(tuple), masks),
    max_leaves=6,
)
UNKNOWN = st.builds(
    caveats.Unregistered,
    st.integers(32, (1 << 64) - 1),
    st.one_of(st.integers(0, 99), words, st.lists(words), st.dictionaries(words, ids)).map(packing.pack),
)
DISCHARGE_KINDS = frozenset({8, 9, 19, 20, 21})


@given(st.lists(st.one_of(ANY, UNKNOWN), max_size=6))
def test_any_caveat_survives_the_way(added: list[Caveat]) -> None:
    token = macaroon.mint(KEY, b"kid", PLACE, *added)
    (again,) = header.parse(header.write([token]), PLACE).permissions
    assert again == token
    left = macaroon.verify(again, KEY)
    assert [caveats.pack(caveat) for caveat in left] == list(token.caveats)
    assert {caveats.pack(caveat) for caveat in added} == set(token.caveats)


@given(st.lists(ANY, max_size=4))
def test_the_json_form_leads_back(added: list[Caveat]) -> None:
    again = document.from_document(msgspec.json.decode(msgspec.json.encode(document.to_document(added))))
    assert [caveats.pack(caveat) for caveat in again] == [caveats.pack(caveat) for caveat in added]


@given(st.lists(ANY, min_size=1, max_size=4), st.data())
def test_any_changed_byte_is_found(added: list[Caveat], data: st.DataObject) -> None:
    encoded = macaroon.mint(KEY, b"kid", PLACE, *added).encode()
    at, bit = data.draw(st.integers(0, len(encoded) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(encoded)
    changed[at] ^= 1 << bit
    try:
        token = macaroon.decode(bytes(changed))
    except packing.Malformed:
        return
    if token.location != PLACE:  # not under the signature: it says where a token is for, and is looked at before
        return
    with pytest.raises(macaroon.Invalid):
        macaroon.verify(token, KEY)


@given(st.lists(ANY, min_size=2, max_size=5, unique_by=caveats.pack), st.data())
def test_no_caveat_can_be_taken_away_or_moved(added: list[Caveat], data: st.DataObject) -> None:
    token = macaroon.mint(KEY, b"kid", PLACE, *added)
    others = data.draw(st.permutations(token.caveats).filter(lambda order: tuple(order) != token.caveats))
    fewer = token.caveats[: data.draw(st.integers(0, len(token.caveats) - 1))]
    for changed in (tuple(others), fewer):
        with pytest.raises(macaroon.Invalid):
            macaroon.verify(dataclasses.replace(token, caveats=changed), KEY)


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_token_or_in_one_word(data: bytes) -> None:
    with pytest.raises((packing.Malformed, macaroon.Invalid)) as caught:
        macaroon.verify(macaroon.decode(data), KEY)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=200))
def test_any_header_ends_in_tokens_or_in_one_word(text: str) -> None:
    with contextlib.suppress(packing.Malformed):
        assert header.parse(text, PLACE).permissions == ()


@pytest.mark.parametrize("depth", [20, 1000, 20000])
def test_nesting_is_bounded(depth: int) -> None:
    body = packing.pack([msgspec.Raw(caveats.pack_set(())), 31])
    for _ in range(depth):
        inner = caveats.pack_set((caveats.Packed(13, body),))
        body = packing.array([inner, packing.pack(31)])
    with pytest.raises(packing.Malformed):
        _ = caveats.Packed(13, body).meaning


def test_a_field_that_we_do_not_know_is_no_token() -> None:
    with pytest.raises(packing.Malformed):
        _ = caveats.Packed(0, packing.pack([1, 31, "and only on Sundays"])).meaning


def asks(action: int = Action.READ, **named: object) -> Access:
    return Access(action=action, now_s=NOW, **({"organisation": 1} | named))  # type: ignore[arg-type]


RW = Action.READ | Action.WRITE
# caveat, what it permits, what it refuses, what it does not speak of
MEANINGS: list[tuple[Caveat, list[Access], list[Access], list[Access]]] = [
    (caveats.Organization(1, RW), [asks(), asks(RW)], [asks(Action.DELETE), asks(organisation=2)],
     [asks(organisation=None)]),
    (caveats.Organization(0, RW), [asks(organisation=7)], [asks(Action.CONTROL)], []),
    (caveats.Apps({3: RW, 4: 1}), [asks(RW, app=3), asks(app=4)], [asks(RW, app=4), asks(app=5)], [asks()]),
    (caveats.Apps({0: 1}), [asks(app=9)], [asks(RW, app=9)], [asks()]),
    (caveats.Apps({0: 31, 3: 31}), [], [asks(app=3)], []),
    (caveats.Apps({}), [], [asks(app=3)], [asks()]),
    (caveats.Volumes({"v": 1}), [asks(app=3, volume="v")], [asks(app=3, volume="w")], [asks(app=3)]),
    (caveats.Machines({"m": 16}), [asks(16, app=3, machine="m")], [asks(app=3, machine="m")], [asks(app=3)]),
    (caveats.FeatureSet({"wg": 1}), [asks(feature="wg")], [asks(feature="site")], [asks()]),
    (caveats.AppFeatureSet({"logs": 1}), [asks(app=3, app_feature="logs")], [asks(app=3, app_feature="x")], [asks()]),
    (caveats.MachineFeatureSet({"metadata": 1}), [asks(app=3, machine="m", machine_feature="metadata")],
     [asks(2, app=3, machine="m", machine_feature="metadata")], [asks()]),
    (caveats.Clusters({"c": 1}), [asks(feature="litefs-cloud", cluster="c")],
     [asks(feature="litefs-cloud", cluster="d")], [asks()]),
    (caveats.StorageObjects({"a/": 1}), [asks(storage_object="a/b")], [asks(storage_object="b/a")], [asks()]),
    (caveats.StorageObjects({"a": 31, "a/b": 1}), [asks(RW, storage_object="a/c")],
     [asks(RW, storage_object="a/b/c")], []),
    (caveats.Mutations(["m"]), [asks(mutation="m")], [asks(mutation="n")], [asks()]),
    (caveats.ValidityWindow(int(NOW), int(NOW)), [asks()], [], []),
    (caveats.ValidityWindow(0, int(NOW) - 1), [], [asks()], []),
    (caveats.ValidityWindow(int(NOW) + 1, 1 << 40), [], [asks()], []),
    (caveats.FromMachineSource("m"), [asks(source_machine="m")], [asks(source_machine="n"), asks()], []),
    (caveats.FlySrc("o", "a", "m"), [asks(source_organisation="o", source_app="a", source_machine="m")],
     [asks(source_organisation="o", source_app="a"),
      asks(source_organisation="o", source_app="b", source_machine="m")], []),
    (caveats.FlySrc("", "", ""), [asks()], [], []),
    (caveats.ActionMask(RW), [asks(RW)], [asks(Action.CREATE)], []),
    (caveats.IsMember(), [asks(), asks(feature="wg"), asks(feature="billing")],
     [asks(RW, feature="billing"), asks(feature="deletion"), asks(feature="unheard of")], []),
    (caveats.AllowedRoles(0xFFFFFFFF), [asks(feature="deletion")], [], []),
    (caveats.AllowedRoles(2), [], [asks()], []),
    (caveats.Commands((caveats.Command(["ls"]), caveats.Command(["rm", "x"], True))),
     [asks(app=3, machine="m", command=("ls", "-l")), asks(app=3, machine="m", command=("rm", "x"))],
     [asks(app=3, machine="m", command=("rm", "x", "y")), asks(app=3, machine="m", command=())], [asks()]),
    (caveats.IfPresent((caveats.pack(caveats.Apps({3: 31})),), Action.READ),
     [asks(), asks(RW, app=3)], [asks(RW), asks(app=4)], []),
    (caveats.IfPresent((caveats.pack(caveats.Apps({3: 31})), caveats.pack(caveats.Volumes({"v": 1}))), 0),
     [asks(RW, app=3), asks(app=3, volume="v")], [asks(), asks(RW, app=3, volume="v")], []),
    (caveats.IfPresent((caveats.Packed(99, b"\x01"),), 31), [], [asks()], []),
    (caveats.IsUser(1), [asks()], [], []),
    (caveats.Unregistered(1 << 50, b"\x01"), [], [asks(), asks(Action.NONE)], []),
    (caveats.ThirdParty("x", b"", b""), [], [asks()], []),
    (caveats.BindToParentToken(b""), [], [asks()], []),
    (caveats.MaxValidity(60), [], [asks()], []),
    (caveats.ConfineUser(1), [], [asks()], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("caveat", "permits", "refuses", "silent"), MEANINGS, ids=lambda row: getattr(row, "name", None)
)
def test_what_a_caveat_prohibits(
    caveat: Caveat, permits: list[Access], refuses: list[Access], silent: list[Access]
) -> None:
    packed = caveats.pack(caveat).meaning
    for asked in permits:
        packed.prohibits(asked)
    for asked in refuses:
        with pytest.raises(Refused) as caught:
            packed.prohibits(asked)
        assert not isinstance(caught.value, Unspecified)
    for asked in silent:
        with pytest.raises(Unspecified):
            packed.prohibits(asked)


def test_every_kind_has_a_row() -> None:
    spoken_of = {caveat.number for caveat, *_ in MEANINGS} | DISCHARGE_KINDS | {23, 24, 25}
    assert set(range(32)) - {1, 17, 18} <= spoken_of


DISCHARGES: list[tuple[Caveat, DischargeRequest, DischargeRequest]] = [
    (caveats.ConfineUser(1), DischargeRequest(NOW, NOW, users=frozenset({1})), DischargeRequest(NOW, NOW)),
    (caveats.ConfineOrganization(1), DischargeRequest(NOW, NOW, organisations=frozenset({1})),
     DischargeRequest(NOW, NOW)),
    (caveats.ConfineGoogleHD("x.example"), DischargeRequest(NOW, NOW, google_domains=frozenset({"x.example"})),
     DischargeRequest(NOW, NOW, google_domains=frozenset({"y.example"}))),
    (caveats.ConfineGitHubOrg(5), DischargeRequest(NOW, NOW, github_organisations=frozenset({5})),
     DischargeRequest(NOW, NOW)),
    (caveats.MaxValidity(60), DischargeRequest(NOW, NOW + 60), DischargeRequest(NOW, NOW + 61)),
]  # fmt: skip


@pytest.mark.parametrize(("caveat", "good", "bad"), DISCHARGES)
def test_what_a_caveat_demands_of_a_discharge(caveat: Caveat, good: DischargeRequest, bad: DischargeRequest) -> None:
    caveat.prohibits(good)
    with pytest.raises(Refused):
        caveat.prohibits(bad)


@pytest.mark.parametrize(
    "asked",
    [asks(organisation=None), asks(app=1, feature="wg"), asks(machine="m"), asks(app=1, machine="m", volume="v"),
     asks(app=1, command=("ls",)), asks(app=1, machine="m", command=("ls",), machine_feature="x"), asks(cluster="c"),
     asks(feature="wg", cluster="c"), asks(app=1, storage_object="x")],
)  # fmt: skip
def test_access_that_contradicts_itself(asked: Access) -> None:
    with pytest.raises(Refused):
        asked.check()


def _demanding() -> tuple[macaroon.Macaroon, bytes]:
    token = macaroon.mint(KEY, b"kid", PLACE, caveats.Organization(1, 31)).require(AUTH, SHARED, caveats.ConfineUser(7))
    ((ticket,),) = token.tickets().values()
    return token, ticket


def test_a_discharge_opens_and_its_caveats_count() -> None:
    token, ticket = _demanding()
    demanded = third_party.open_ticket(SHARED, ticket)
    assert [packed.meaning for packed in demanded.caveats] == [caveats.ConfineUser(7)]
    proof = macaroon.discharge(SHARED, AUTH, ticket, caveats.ValidityWindow(0, 5), caveats.FlyioUserID(7), parent=token)
    with pytest.raises(macaroon.Invalid, match="missing"):
        macaroon.verify(token, KEY)
    untrusted = macaroon.verify(token, KEY, [proof])
    assert untrusted == (caveats.Organization(1, 31), caveats.ValidityWindow(0, 5))
    assert macaroon.verify(token, KEY, [proof], {AUTH: [SHARED]}) == (*untrusted, caveats.FlyioUserID(7))


def test_a_discharge_goes_with_its_parent_and_what_is_made_of_it() -> None:
    token, ticket = _demanding()
    narrower = token.attenuate(caveats.ActionMask(1))
    bound = macaroon.discharge(SHARED, AUTH, ticket, parent=narrower)
    macaroon.verify(narrower, KEY, [bound])
    macaroon.verify(narrower.attenuate(caveats.IsMember()), KEY, [bound])
    with pytest.raises(macaroon.Invalid, match="bound"):
        macaroon.verify(token, KEY, [bound])


WRONG: list[tuple[str, Callable[[macaroon.Macaroon, bytes], macaroon.Macaroon]]] = [
    ("another ticket", lambda token, ticket: macaroon.discharge(SHARED, AUTH, third_party.make_ticket(SHARED)[0])),
    ("another key", lambda token, ticket: macaroon.mint(bytes(32), ticket, AUTH)),
    ("changed", lambda token, ticket: dataclasses.replace(macaroon.discharge(SHARED, AUTH, ticket), caveats=(
        caveats.pack(caveats.ActionMask(31)),))),
]  # fmt: skip


@pytest.mark.parametrize(("what", "make"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_discharge_that_is_none(what: str, make: Callable[[macaroon.Macaroon, bytes], macaroon.Macaroon]) -> None:
    token, ticket = _demanding()
    with pytest.raises(macaroon.Invalid):
        macaroon.verify(token, KEY, [make(token, ticket)], {AUTH: [SHARED]})


def test_a_good_discharge_beside_bad_ones_is_found() -> None:
    token, ticket = _demanding()
    bad = dataclasses.replace(macaroon.discharge(SHARED, AUTH, ticket), tail=bytes(32))
    macaroon.verify(token, KEY, [bad, macaroon.discharge(SHARED, AUTH, ticket)])


def test_a_discharge_is_final_and_a_token_attests_nothing() -> None:
    token, ticket = _demanding()
    with pytest.raises(macaroon.CannotAttenuate):
        macaroon.discharge(SHARED, AUTH, ticket).attenuate(caveats.IsMember())
    with pytest.raises(macaroon.CannotAttenuate):
        token.attenuate(caveats.FlyioUserID(1))
    with pytest.raises(macaroon.CannotAttenuate):
        token.require(AUTH, SHARED)
    forged = macaroon._extended(token, [caveats.pack(caveats.FlyioUserID(1))])
    with pytest.raises(macaroon.Invalid, match="attests"):
        macaroon.verify(forged, KEY, [macaroon.discharge(SHARED, AUTH, ticket)])


def test_a_nonce_of_the_older_format() -> None:
    nonce = macaroon.Nonce(b"kid", bytes(16), None)
    token = macaroon.Macaroon(nonce, PLACE, (), macaroon._sign(KEY, nonce.pack()))
    assert macaroon.decode(token.encode()) == token
    assert macaroon.verify(token.attenuate(caveats.IsMember()), KEY) == (caveats.IsMember(),)


@pytest.mark.parametrize(
    "text",
    ["", "FlyV1", "FlyV1 ", "fm2_", "fm2_!!!", "fm3_AAAA", "Bearer x", "fo1_abc",
     "FlyV1 " + ",".join(["fm2_AAAA"] * 65), "fm2_" + "A" * 70000],
)  # fmt: skip
def test_headers_without_a_token(text: str) -> None:
    with pytest.raises(errors.PilotError):
        header.parse_tokens(text)


def test_schemes_are_taken_away_however_many() -> None:
    token = macaroon.mint(KEY, b"kid", PLACE)
    text = header.write([token]).removeprefix("FlyV1 ")
    for spelled in (text, f"Bearer {text}", f"bearer FlyV1  {text}", f" FLYV1 {text} ", f"fo1_other,{text}"):
        assert header.parse(spelled, PLACE).permissions == (token,)


def test_masks_in_words() -> None:
    assert access.parse_action("*") == 0xFFFF
    assert access.action_text(access.parse_action("rwcdC")) == "rwcdC"
    assert access.parse_action("rx") == Action.READ
