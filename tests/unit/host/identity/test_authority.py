"""Macaroons as pilotd's keys: minted, attenuated by who holds them, verified, revoked; and all that is none."""

from __future__ import annotations

import base64
import pathlib
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.support.host import HostUnderTest

from pilot import errors
from pilot.host.fly.containers import ImageOf
from pilot.host.identity.authority import LOCATION, Authority, is_macaroon
from pilot.host.identity.carried import Carried, number
from pilot.host.identity.principal import Principal
from pilot.host.identity.roots import ROTATE_S, Roots
from pilot.host.store import fly, tokens
from pilot.host.store.fly import Machine
from pilot.host.store.sqlite import SqliteDatabase
from pilot.host.store.tokens import WHOLE, Organisation, Scope, Wanted
from pilot.ids import MachineId
from pilot.wire.macaroons import caveats, header, macaroon, own
from pilot.wire.macaroons.caveats import Caveat
from pilot.wire.permissions import GRANTABLE, ROLES, Permission, Role

NOW_S = 1_800_000_000.0


class Minting:
    """An authority, by a clock that a test sets."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.now_s = time.time()
        self.database = SqliteDatabase(str(root / "state.db"))
        self.organisation = tokens.ensure_organisation(self.database, "acme")
        self.roots = Roots(str(root / "identity"), now_s=lambda: self.now_s)
        self.authority = Authority(self.database, self.roots, lambda: self.now_s)

    def mint(self, wanted: Wanted | None = None) -> macaroon.Macaroon:
        token, id = self.authority.mint(self.organisation, wanted or Wanted())
        (data,) = header.parse_tokens(token)
        found = macaroon.decode(data)
        assert found.nonce.uuid.hex == id
        return found

    def asked(self, *shown: macaroon.Macaroon) -> Principal | None:
        return self.authority.authenticate(header.write(shown))


@pytest.fixture
def minting(tmp_path: pathlib.Path) -> Iterator[Minting]:
    made = Minting(tmp_path)
    yield made
    made.database.close()


def _who(minting: Minting, *added: Caveat, wanted: Wanted | None = None) -> Principal:
    found = minting.asked(minting.mint(wanted).attenuate(*added))
    assert found is not None
    assert found.organisation == minting.organisation
    return found


def test_one_that_is_not_attenuated_may_what_its_row_says(minting: Minting) -> None:
    for role in Role:
        assert _who(minting, wanted=Wanted(role=role)).granted() == ROLES[role]
    assert _who(minting).asking(Permission.SPRITES_WRITE).reaches(WHOLE)
    scoped = _who(minting, wanted=Wanted(scope=Scope.of_sprite("5a"))).asking(Permission.EXEC)
    assert scoped.reaches(Scope.of_sprite("5a"))
    assert not any(scoped.reaches(each) for each in (WHOLE, Scope.of_sprite("5b"), Scope.of_app("5a")))


@pytest.mark.parametrize("permission", [each for each in Permission if each in GRANTABLE])
def test_it_may_what_is_left_and_nothing_else(minting: Minting, permission: Permission) -> None:
    who = _who(minting, own.Permissions([permission.value]))
    assert who.granted() == {permission}
    assert who.asking(permission).reaches(WHOLE)
    others = sorted(each.value for each in GRANTABLE - {permission})
    assert not _who(minting, own.Permissions([permission.value]), own.Permissions(others)).granted()


RESTRICTIONS: dict[str, tuple[Caveat, ...]] = {
    "another organisation": (caveats.Organization(1, 31),),
    "an app": (caveats.Apps({7: 31}),),
    "a machine": (caveats.Machines({"m": 31}),),
    "a volume": (caveats.Volumes({"v": 31}),),
    "a command": (caveats.Commands((caveats.Command(["ls"]),)),),
    "requests of one machine": (caveats.FromMachineSource("m"),),
    "requests of machines": (caveats.FlySrc("", "", "m"),),
    "mutations": (caveats.Mutations(["m"]),),
    "nothing": (caveats.ActionMask(0),),
    "half of what writing is": (caveats.ActionMask(3),),
    "a kind that nobody knows": (caveats.Unregistered(4242, b"\x90"),),
}


@pytest.mark.parametrize("name", RESTRICTIONS)
def test_a_restriction_that_a_request_does_not_meet_refuses_it(minting: Minting, name: str) -> None:
    who = _who(minting, *RESTRICTIONS[name])
    for scope in (WHOLE, Scope.of_sprite("5a"), Scope.of_app("5a")):
        bound = (caveat.reaches(Permission.SPRITES_WRITE, scope) for caveat in who.caveats)
        assert not all(bound)


def _if_present(otherwise: int, *ifs: Caveat) -> caveats.IfPresent:
    return caveats.IfPresent(tuple(caveats.pack(each) for each in ifs), otherwise)


NEVER_NAMED: tuple[Caveat, ...] = (
    caveats.Machines({"m": 31}), caveats.Volumes({"v": 31}), caveats.Commands((caveats.Command(["ls"]),)),
    caveats.Mutations(["m"]), caveats.FeatureSet({"wg": 31}), caveats.AppFeatureSet({"f": 31}),
    caveats.MachineFeatureSet({"f": 31}), caveats.Clusters({"c": 31}), caveats.StorageObjects({"o": 31}),
)  # fmt: skip


@pytest.mark.parametrize("caveat", NEVER_NAMED, ids=lambda each: each.name)
def test_what_no_request_names_is_not_taken_for_absent(minting: Minting, caveat: Caveat) -> None:
    for added in (
        _if_present(31, caveat),
        _if_present(31, caveats.Apps({0x5A: 31}), caveat),
        _if_present(31, _if_present(31, caveat)),
    ):
        who = _who(minting, added).asking(Permission.MACHINES_READ)
        assert not any(who.reaches(each) for each in (WHOLE, Scope.of_app("5a"), Scope.of_sprite("5a")))


def test_what_is_not_named_is_as_the_other_half_says(minting: Minting) -> None:
    for otherwise, elsewhere in ((31, True), (0, False)):
        who = _who(minting, _if_present(otherwise, caveats.Apps({0x5A: 31}), own.Sprites(["5a"])))
        asking = who.asking(Permission.SPRITES_WRITE)
        assert asking.reaches(Scope.of_app("5a"))
        assert asking.reaches(Scope.of_sprite("5a"))
        assert not any(asking.reaches(each) for each in (Scope.of_app("5b"), Scope.of_sprite("5b")))
        assert asking.reaches(WHOLE) is elsewhere


def test_apps_and_sprites_by_their_ids(minting: Minting) -> None:
    app = _who(minting, caveats.Apps({number("5a"): 31})).asking(Permission.MACHINES_WRITE)
    assert app.reaches(Scope.of_app("5a"))
    assert not any(app.reaches(each) for each in (WHOLE, Scope.of_app("5b"), Scope.of_sprite("5a")))
    reader = _who(minting, caveats.Apps({number("5a"): 1}))
    assert reader.asking(Permission.MACHINES_READ).reaches(Scope.of_app("5a"))
    assert not reader.asking(Permission.MACHINES_WRITE).reaches(Scope.of_app("5a"))


def test_it_ends_when_the_first_of_its_ends_has_come(minting: Minting) -> None:
    end_s = int(minting.now_s) + 60
    token = minting.mint(Wanted(expires_us=(end_s + 60) * 1_000_000)).attenuate(caveats.ValidityWindow(0, end_s))
    who = minting.asked(token)
    assert who is not None
    assert who.expires_us == end_s * 1_000_000
    minting.now_s = end_s + 1
    assert not who.may(Permission.SELF)
    early = minting.asked(minting.mint().attenuate(caveats.ValidityWindow(end_s + 3600, end_s + 7200)))
    assert early is not None
    assert not early.granted(), "not yet"


def _changed(token: macaroon.Macaroon) -> Iterator[bytes]:
    """Tokens that nobody minted, made of one that was."""
    data = token.encode()
    for index in range(len(data)):
        yield data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
    for length in range(0, len(data), 7):
        yield data[:length]
    yield data + b"\x00"
    yield b"\x00" + data
    without = token.caveats[:-1]
    yield macaroon.Macaroon(token.nonce, token.location, without, token.tail).encode()
    yield macaroon.Macaroon(token.nonce, token.location, token.caveats[::-1], token.tail).encode()
    yield macaroon.Macaroon(token.nonce, token.location, (*token.caveats, token.caveats[0]), token.tail).encode()
    other = macaroon.Nonce(token.nonce.key_id, bytes(16))
    yield macaroon.Macaroon(other, token.location, token.caveats, token.tail).encode()
    yield macaroon.Macaroon(token.nonce, "https://elsewhere", token.caveats, token.tail).encode()


def test_what_was_changed_cut_or_put_in_another_order_opens_nothing(minting: Minting) -> None:
    token = minting.mint().attenuate(own.Permissions(["exec"]), caveats.ActionMask(31))
    assert minting.asked(token) is not None
    tried = 0
    for data in _changed(token):
        shown = "fm2_" + base64.b64encode(data).decode()
        found = minting.authority.authenticate(shown)
        assert found is None, data
        tried += 1
    assert tried > 100


def test_what_was_never_a_token(minting: Minting) -> None:
    mine = minting.mint()
    forged = macaroon.mint(bytes(32), mine.nonce.key_id, LOCATION)
    strange = macaroon.mint(bytes(32), b"nobody's", LOCATION)
    proof = macaroon.Macaroon(macaroon.Nonce(mine.nonce.key_id, bytes(16), proof=True), LOCATION, (), bytes(32))
    unlisted = macaroon.mint(minting.roots.newest().key, minting.roots.newest().id, LOCATION)
    for shown in ([forged], [strange], [proof], [unlisted], [mine, mine.attenuate(caveats.ActionMask(1))]):
        assert minting.asked(*shown) is None
    for text in ("fm2_", "fm2_!", "fm2_AA==", "FlyV1", "FlyV1 fm2_" + "A" * 100_000, "fm2_" + ",fm2_" * 100, "fo1_x"):
        assert minting.authority.authenticate(text) is None
    assert not is_macaroon("a/b/c/d")


def test_a_discharge_that_is_demanded_has_to_be_shown(minting: Minting) -> None:
    shared = bytes(range(32))
    token = minting.mint().require("https://auth", shared)
    assert minting.asked(token) is None
    (ticket,) = token.tickets()["https://auth"]
    proof = macaroon.discharge(shared, "https://auth", ticket, parent=token)
    assert minting.asked(token, proof) is not None
    assert minting.asked(minting.mint().require("https://auth", shared), proof) is None, "of another token"


def test_what_is_revoked_takes_all_that_was_made_of_it_along(minting: Minting) -> None:
    token, other = minting.mint(), minting.mint()
    made = token.attenuate(caveats.ActionMask(1))
    tokens.revoke(minting.database, minting.organisation, token.nonce.uuid.hex)
    assert minting.asked(token) is minting.asked(made) is None
    assert minting.asked(other) is not None


def test_a_macaroon_is_not_the_last_key_that_makes_others(minting: Minting) -> None:
    last = tokens.issue(minting.database, minting.organisation, Wanted()).split("/")[2]
    minting.mint()
    with pytest.raises(errors.Conflict):
        tokens.revoke(minting.database, minting.organisation, last)
    for id in (row.id for row in tokens.every(minting.database, minting.organisation)):
        bare = f"acme/{minting.organisation.id}/{id}/"
        assert tokens.authenticate(minting.database, bare) is None, "no secret is the secret of a macaroon's row"


def test_roots_are_sealed_rotated_and_kept(minting: Minting, tmp_path: pathlib.Path) -> None:
    before = minting.mint()
    first = minting.roots.newest()
    minting.roots.rotate()
    after = minting.mint()
    assert after.nonce.key_id != before.nonce.key_id
    again = Roots(str(tmp_path / "identity"), now_s=lambda: minting.now_s)
    authority = Authority(minting.database, again)
    assert all(authority.authenticate(header.write([each])) for each in (before, after))
    minting.now_s += ROTATE_S + 1
    assert minting.mint().nonce.key_id not in (before.nonce.key_id, after.nonce.key_id), "by itself when it is old"
    written = (tmp_path / "identity/roots").read_bytes()
    assert first.key not in written
    for name in ("roots", "seal"):
        assert (tmp_path / "identity" / name).stat().st_mode & 0o777 == 0o600
    (tmp_path / "identity/seal").write_bytes(bytes(32))
    with pytest.raises(errors.HostError, match="sealed with another key"):
        Roots(str(tmp_path / "identity"))
    (tmp_path / "identity/seal").write_bytes(b"short")
    with pytest.raises(errors.HostError, match="no key"):
        Roots(str(tmp_path / "identity"))


def test_roots_sealed_with_a_key_from_elsewhere(tmp_path: pathlib.Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    made = Roots(str(tmp_path / "identity"), str(tmp_path / "key")).newest()
    assert Roots(str(tmp_path / "identity"), str(tmp_path / "key")).find(made.id) == made.key
    assert not (tmp_path / "identity/seal").exists()
    with pytest.raises(errors.HostError, match=r"open .*/kez: no such file"):
        Roots(str(tmp_path / "identity"), str(tmp_path / "kez"))
    assert not (tmp_path / "kez").exists(), "a path that is misspelt is no new key"


# By HTTP


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield under_test
    under_test.close()


@pytest.fixture
def http(host: HostUnderTest) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, headers={"Authorization": f"Bearer {host.token}"}, timeout=60) as made:
        yield made


def _made(http: httpx.Client, **wanted: object) -> str:
    return str(http.post("/v1/tokens", json={"form": "macaroon"} | wanted).json()["token"])


def test_fly_clients_spelling_and_ours(http: httpx.Client) -> None:
    token = _made(http)
    for scheme in ("Bearer", "FlyV1", "flyv1", "Bearer FlyV1"):
        assert http.get("/v1/apps", headers={"Authorization": f"{scheme} {token}"}).status_code == 200
    assert http.get("/v1/apps", headers={"Authorization": f"Basic {token}"}).status_code == 401


def test_what_was_shown(http: httpx.Client) -> None:
    http.post("/v1/sprites", json={"name": "web"})
    token = _made(http, role="exec", sprite="web", expires_in_s=600)
    (shown,) = http.get("/v1/tokens/current", headers={"Authorization": f"Bearer {token}"}).json()["tokens"]
    assert (shown["org_slug"], shown["sprites"], shown["apps"]) == ("local", ["web"], [])
    assert shown["permissions"] == ["exec", "self"]
    assert shown["expires_at"] is not None
    (plain,) = http.get("/v1/tokens/current").json()["tokens"]
    assert plain["expires_at"] is None


def test_authenticate_and_authorize(host: HostUnderTest, http: httpx.Client) -> None:
    http.post("/v1/apps", json={"app_name": "shop", "org_slug": "local"})
    http.post("/v1/apps", json={"app_name": "bank", "org_slug": "local"})
    token = _made(http, app="shop")
    (found,) = http.post("/v1/tokens/authenticate", json={"header": f"FlyV1 {token}"}).json()
    assert bytes(found["permission_token"]) == header.parse_tokens(token)[0]
    assert [each["type"] for each in found["caveats"]["caveats"]] == ["Organization", "Apps"]

    def status(**wanted: object) -> int:
        answer = http.post("/v1/tokens/authorize", json={"header": token, "access": {"org_slug": "local"} | wanted})
        return answer.status_code

    assert status(app_name="shop", action="rwcdC") == 200
    assert status(app_name="bank", action="r") == 403
    assert status(action="r") == 403, "of all apps"
    assert status(app_name="nobody", action="r") == 404
    assert status(org_slug="other", app_name="shop") == 403
    assert status(machine_id="m", action="r") == 403, "of no app"
    locked = macaroon.decode(header.parse_tokens(token)[0]).attenuate(caveats.FromMachineSource("m1"))
    for source, expected in (("m1", 200), ("m2", 403), (None, 403)):
        access = {"org_slug": "local", "app_name": "shop", "action": "r", "source_machine": source}
        answer = http.post("/v1/tokens/authorize", json={"header": header.write([locked]), "access": access})
        assert answer.status_code == expected
    for wrong in ("", "fm2_AAAA", host.token, token + "x"):
        assert http.post("/v1/tokens/authenticate", json={"header": wrong}).status_code == 400


def _machines(host: HostUnderTest, http: httpx.Client, *ids: str) -> str:
    """An app with these, none of which runs; a token of all of it."""
    http.post("/v1/apps", json={"app_name": "mill", "org_slug": "local"})
    with host.database.transaction() as tx:
        app = fly.app(tx, host.organisation.id, "mill")
        for id in ids:
            image = ImageOf("app", "box:1", "sha256:0", "v")
            row = Machine(
                MachineId(id), app.id, id, "local", "stopped", "1", {"image": "box:1"}, {}, (image,), cordoned=False,
                lease=None, created_us=0, updated_us=0,
            )  # fmt: skip
            fly.add(tx, row)
    return _made(http)


def test_a_machine_and_a_command_where_a_request_names_them(host: HostUnderTest, http: httpx.Client) -> None:
    token = macaroon.decode(header.parse_tokens(_machines(host, http, "m1", "m2"))[0])

    def status(method: str, path: str, *added: Caveat, body: object = None) -> int:
        shown = {"Authorization": header.write([token.attenuate(*added)])}
        return http.request(method, f"/v1/apps/mill/machines{path}", headers=shown, json=body).status_code

    one = caveats.Machines({"m1": 31})
    assert status("GET", "/m1", one) == 200
    assert status("GET", "/m2", one) == 404
    assert status("GET", "", one) == 404, "of all machines"
    assert status("POST", "", one, body={"config": {"image": "box:1"}}) == 404
    assert status("GET", "/m1/metadata", caveats.Machines({"m1": 1})) == 200
    assert status("POST", "/m1/metadata/k", caveats.Machines({"m1": 1}), body={"value": "v"}) == 404, "it only reads"
    ls = (one, caveats.Commands((caveats.Command(["ls"]),)))
    assert status("POST", "/m1/exec", *ls, body={"command": ["rm", "-r"]}) == 403
    assert status("POST", "/m1/exec", *ls, body={"cmd": "rm ls"}) == 403
    assert status("POST", "/m2/exec", *ls, body={"command": ["ls"]}) == 404
    assert status("POST", "/m1/exec", *ls, body={"command": ["ls", "-l"]}) == 412, "it may, and the machine is stopped"
    assert status("GET", "/m1", *ls) == 404, "nothing but commands"


def test_a_volume_where_a_request_names_it(host: HostUnderTest, http: httpx.Client) -> None:
    token = macaroon.decode(header.parse_tokens(_machines(host, http))[0])
    made = http.post("/v1/apps/mill/volumes", json={"name": "data", "size_gb": 1}).json()["id"]
    for path, expected in ((f"/{made}", 200), ("/vol_none", 404), ("", 404)):
        shown = {"Authorization": header.write([token.attenuate(caveats.Volumes({made: 31}))])}
        assert http.get(f"/v1/apps/mill/volumes{path}", headers=shown).status_code == expected
    other = {"Authorization": header.write([token.attenuate(caveats.Volumes({"vol_other": 31}))])}
    assert http.get(f"/v1/apps/mill/volumes/{made}", headers=other).status_code == 404


def test_a_token_of_a_machine_mounts_no_volume_that_it_is_not_of(host: HostUnderTest, http: httpx.Client) -> None:
    token = macaroon.decode(header.parse_tokens(_machines(host, http, "m1"))[0])
    made = [http.post("/v1/apps/mill/volumes", json={"name": n, "size_gb": 1}).json()["id"] for n in ("a", "b")]

    def denied(volume: str, *added: Caveat) -> bool:
        shown = {"Authorization": header.write([token.attenuate(*added)])}
        config = {"image": "box:1", "mounts": [{"volume": volume, "path": "/data"}]}
        answer = http.post("/v1/apps/mill/machines/m1", headers=shown, json={"config": config})
        return answer.status_code == 403

    one = caveats.Machines({"m1": 31})
    assert denied(made[0], one)
    assert not denied(made[0]), "who may change all of the app mounts what it has"
    with host.database.transaction() as tx:
        fly.change(tx, "m1", config={"image": "box:1", "mounts": [{"volume": made[0], "path": "/data"}]})
    assert (denied(made[0], one), denied(made[1], one)) == (False, True), "what it has mounted it keeps"


def test_tokens_of_others_are_as_if_there_were_none(host: HostUnderTest, http: httpx.Client) -> None:
    other = tokens.ensure_organisation(host.database, "other")
    theirs, _ = host.authority.mint(other, Wanted())
    answer = http.post("/v1/tokens/authenticate", json={"header": theirs})
    nobodys = http.post("/v1/tokens/authenticate", json={"header": "fm2_AAAA"})
    assert (answer.status_code, answer.content) == (nobodys.status_code, nobodys.content)


def test_a_macaroon_makes_no_key(http: httpx.Client) -> None:
    answer = http.post("/v1/tokens", json={}, headers={"Authorization": f"Bearer {_made(http)}"})
    assert (answer.status_code, answer.json()["error"]) == (409, "a token that is restricted makes no other")


def test_a_token_of_a_machine_is_of_no_use_here(http: httpx.Client) -> None:
    token = macaroon.decode(header.parse_tokens(_made(http))[0]).attenuate(caveats.FromMachineSource("m1"))
    for path, status in (("/v1/sprites/web", 404), ("/v1/events", 200), ("/v1/organization", 403)):
        answer = http.head(path, headers={"Authorization": header.write([token])})
        assert answer.status_code == status
    listed = http.get("/v1/sprites", headers={"Authorization": header.write([token])}).json()
    assert listed["sprites"] == []


def test_organisations_are_numbers_in_caveats() -> None:
    organisation = Organisation("0000002a", "o")
    carried = Carried((caveats.Organization(42, 31),), organisation)
    assert carried.reaches(Permission.SPRITES_WRITE, WHOLE)
    assert not Carried((caveats.Organization(43, 31),), organisation).reaches(Permission.SPRITES_WRITE, WHOLE)
