"""Who a machine is, as it says to others: a sprite, and a Machine's container, with pilotd as a process; joserfc, which
looks the issuer up as its discovery document says, is who believes them."""

from __future__ import annotations

import base64
import json
import pathlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.support import flyapi, images, lookfor, pythonimage
from tests.support import internet as nets
from tests.support.pilotd import Pilotd

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_SLEEPING = ["sh", "-c", "trap 'exit 0' INT TERM; while :; do sleep 0.1; done"]
_ASK = """\
import http.client, json, socket, sys
place, method, path, body = sys.argv[1:]
connection = http.client.HTTPConnection("flaps")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(place)
connection.request(method, path, body)
answer = connection.getresponse()
print(answer.status, answer.getheader("content-type"), answer.read().decode())
"""
_OIDC = ("POST", "/v1/tokens/oidc")
# Of one text: sealed by a file of /.fly/kms, and opened by another.
_KMS = """\
def through(path, text):
    with open(path, "r+b", buffering=0) as file:
        file.write(text)
        file.seek(0)
        return file.read()

sealed = through("/.fly/kms/orders/encr", b"hello")
print(sealed != b"hello", through("/.fly/kms/orders/decr", sealed))
"""
# What busybox copies it copies by sendfile(2), unless that is refused.
_BY_SENDFILE = """\
cd /.fly/kms/orders
cat info | grep -e label -e version
exec 3<>encr 4<>decr
printf hello >&3
cat <&3 >/tmp/sealed
cat /tmp/sealed >&4
cat <&4
"""


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    daemon = Pilotd(tmp_path_factory.mktemp("identity") / "state")
    daemon.extra = ("--oidc-issuer", f"{daemon.url}/oidc/")
    with daemon.running():
        yield daemon


def believed(token: str, issuer: str) -> dict[str, Any]:
    """Its claims, by whoever trusts that issuer and knows nothing else."""
    found = httpx.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
    assert found["issuer"] == issuer
    keys = KeySet.import_key_set(httpx.get(found["jwks_uri"]).raise_for_status().json())
    claims = jwt.decode(token, keys, algorithms=found["id_token_signing_alg_values_supported"]).claims
    required: Mapping[str, Any] = {"iss": {"essential": True, "value": issuer}, "exp": {"essential": True}}
    jwt.JWTClaimsRegistry(**required).validate(claims)
    assert set(claims) >= set(found["claims_supported"])
    return dict(claims)


def found_inside(pilotd: Pilotd, fly: flyapi.Fly, id: str, *more: str) -> list[str]:
    """Where in a Machine's container there is a macaroon, a private key, pilotd's own key, or one of `more`; and that
    something was looked at is seen by a text that is there."""
    texts = ("fm2_", lookfor.PRIVATE_KEY, pilotd.token().rpartition("/")[2], *more)
    code, said = fly.run(id, *lookfor.command(*texts, f"FLY_MACHINE_ID={id}"))
    assert code == 0, said
    return lookfor.found(said, f"FLY_MACHINE_ID={id}")


def audited(pilotd: Pilotd, machine: str) -> str:
    """The lines of its log."""
    headers = {"Authorization": f"Bearer {pilotd.token()}"}
    return httpx.get(f"{pilotd.url}/v1/apps/{machine}/audit", headers=headers, timeout=60).raise_for_status().text


def test_a_sprite_says_who_it_is(pilotd: Pilotd) -> None:
    with pilotd.client() as client:
        sprite = client.create_sprite("says")
        try:
            for place, words in (("/.sprite/api.sock", ()), ("/.fly/api", ("sudo",))):
                asked = (*words, "python3", "-c", _ASK, place, *_OIDC, '{"aud": "sts.amazonaws.com"}')
                said = sprite.run(*asked, capture_output=True, check=True).stdout.decode()
                status, kind, token = said.split()
                assert (status, kind) == ("200", "text/plain")
                claims = believed(token, f"{pilotd.url}/oidc/local")
                assert (claims["sub"], claims["aud"]) == ("local:_sprites:says", "sts.amazonaws.com")
            refused = sprite.run("python3", "-c", _ASK, "/.fly/api", *_OIDC, "{}", capture_output=True)
            assert b"PermissionError" in refused.stderr, "a person who is not root"
            assert sprite.run("sudo", "touch", "/.fly/x", capture_output=True).returncode == 1
        finally:
            sprite.destroy()


def test_a_machine_says_who_it_is(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    made = images.make_layout(tmp_path / "image", [images.busybox_layer(), pythonimage.layer()], {"Cmd": _SLEEPING})
    with images.serve(made) as served, flyapi.app(pilotd, "says") as fly:
        image = f"{served.domain}/python:1"
        id = fly.create({"image": image}, name="web")["id"]
        code, said = fly.run(id, "python3", "-c", _ASK, "/.fly/api", *_OIDC, "{}")
        assert code == 0, said
        status, kind, token = said.split()
        assert (status, kind) == ("200", "text/plain")
        claims = believed(token, f"{pilotd.url}/oidc/local")
        assert (claims["sub"], claims["machine_id"]) == ("local:says:web", id)
        assert (claims["image"], claims["image_digest"]) == (image, made.digest)
        assert claims["aud"] == claims["iss"]
        own = f"/v1/apps/says/machines/{id}/metadata"
        assert fly.run(id, "python3", "-c", _ASK, "/.fly/api", "POST", f"{own}/k", '{"value": "v"}')[1] == "204 None \n"
        assert fly.call("GET", f"/{id}/metadata") == {"k": "v"}
        key = secrets.token_hex(16)
        value = base64.b64encode(key.encode()).decode()
        wanted = {"type": "xaes256gcm", "value": value}
        assert fly.raw("POST", "/v1/apps/says/secretkeys/orders", wanted).status_code == 201
        assert fly.run(id, "python3", "-c", _KMS) == (0, "True b'hello'\n")
        assert fly.run(id, "sh", "-c", "ls /.fly/kms; echo x > /.fly/new || echo read-only")[1].split() == [
            "orders", "ordersv0", "read-only",
        ]  # fmt: skip
        assert fly.run(id, "sh", "-c", _BY_SENDFILE)[1].splitlines() == ["label=orders", "version=0", "hello"]
        nets.wait_until(lambda: '"what":"decrypt"' in audited(pilotd, f"says/machines/{id}"), "it is written down", 60)
        written = audited(pilotd, f"says/machines/{id}")
        assert '"what":"encrypt"' in written
        assert base64.b64encode(b"hello").decode() not in written
        assert found_inside(pilotd, fly, id, key, value) == [], (
            "neither the token that was added on the way nor the key"
        )
        whole = (path for path in pilotd.state.rglob("*") if path.is_file() and "volumes" not in path.parts)
        assert not [path for path in whole if key.encode() in path.read_bytes() or value.encode() in path.read_bytes()]
        fly.call("DELETE", f"/{id}?force=true")
        fly.wait(id, "destroyed")


def test_a_machine_takes_a_snapshot_of_its_volume_by_itself(pilotd: Pilotd, tmp_path: pathlib.Path) -> None:
    """Which whoever may change the app begins another volume with."""
    made = images.make_layout(tmp_path / "image", [images.busybox_layer(), pythonimage.layer()], {"Cmd": _SLEEPING})
    with images.serve(made) as served, flyapi.app(pilotd, "snaps") as fly:
        config = {"image": f"{served.domain}/python:1"}

        def volume(**more: object) -> str:
            said = fly.raw("POST", "/v1/apps/snaps/volumes", {"name": "data", "size_gb": 1, **more})
            assert said.status_code == 200, said.text
            return str(said.json()["id"])

        def machine(volume: str) -> str:
            return str(fly.create({**config, "mounts": [{"volume": volume, "path": "/data"}]})["id"])

        def own(id: str, what: str) -> Any:
            method, _, path = what.partition(" ")
            code, said = fly.run(id, "python3", "-c", _ASK, "/.fly/api", method, f"/v1/apps/snaps/{path}", "")
            assert (code, said.split()[0]) == (0, "200"), said
            return json.loads(said.split(maxsplit=2)[2])

        first = machine(volume())
        (row,) = own(first, "GET volumes")
        assert fly.run(first, "sh", "-c", "echo before > /data/file; sync") == (0, "")
        taken = own(first, f"POST volumes/{row['id']}/snapshots")
        assert fly.run(first, "sh", "-c", "echo after > /data/file; sync") == (0, "")
        assert [each["id"] for each in own(first, f"GET volumes/{row['id']}/snapshots")] == [taken["id"]]
        second = machine(volume(snapshot_id=taken["id"]))
        assert fly.run(second, "cat", "/data/file") == (0, "before\n")
        assert fly.run(first, "cat", "/data/file") == (0, "after\n")
        for id in (first, second):
            fly.call("DELETE", f"/{id}?force=true")
            fly.wait(id, "destroyed")
        for each in fly.raw("GET", "/v1/apps/snaps/volumes").json():
            assert fly.raw("DELETE", f"/v1/apps/snaps/volumes/{each['id']}").status_code == 200
