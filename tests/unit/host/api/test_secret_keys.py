"""Secret keys of apps by the Machines API: made, brought, used, rotated, deleted; and never told."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import os
import pathlib
import secrets
import shlex
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support import machines_document
from tests.support.host import HostUnderTest

from pilot.host.services import fly_keys
from pilot.host.store import fly
from pilot.host.store import fly_keys as rows
from pilot.host.store.database import Transaction
from pilot.host.store.fly import App
from pilot.wire import faults, secret_keys

JSON = dict[str, Any]
KEY = bytes(range(32))


class Keys:
    """Of an app."""

    def __init__(self, host: HostUnderTest, client: httpx.Client, app: str) -> None:
        self.host = host
        self.client = client
        self.app = app

    @property
    def apps(self) -> tuple[str, str]:
        return self.app, f"{self.app}-other"

    @property
    def other(self) -> Keys:
        return Keys(self.host, self.client, self.apps[1])

    def ask(self, method: str, path: str = "", body: object = None, token: str | None = None) -> httpx.Response:
        whole = f"/v1/apps/{self.app}/secretkeys{path}"
        headers = {"Authorization": f"Bearer {token or self.host.token}"}
        answer = self.client.request(method, self.host.url + whole, json=body, headers=headers)
        machines_document.check(method, whole, answer.status_code, answer.json() if answer.content else None)
        return answer

    def call(self, method: str, path: str = "", body: object = None, *, status: int = 200) -> JSON:
        answer = self.ask(method, path, body)
        assert answer.status_code == status, answer.text
        said: JSON = answer.json() if answer.content else {}
        return said

    def generate(self, name: str, kind: str = "xaes256gcm") -> JSON:
        return self.call("POST", f"/{name}/generate", {"type": kind}, status=201)

    def encrypt(self, name: str, plain: bytes, **more: object) -> str:
        return str(self.call("POST", f"/{name}/encrypt", {"plaintext": _text(plain), **more})["ciphertext"])

    def decrypt(self, name: str, sealed: str, **more: object) -> bytes:
        return base64.b64decode(self.call("POST", f"/{name}/decrypt", {"ciphertext": sealed, **more})["plaintext"])

    def refused(self, name: str, sealed: str, **more: object) -> str:
        said = self.call("POST", f"/{name}/decrypt", {"ciphertext": sealed, **more}, status=400)
        return str(said["error"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def host(place: pathlib.Path) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(place)
    yield under_test
    under_test.close()


@pytest.fixture
def keys(host: HostUnderTest) -> Iterator[Keys]:
    """Of an app of this test's own; beside it there is another one."""
    with httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        made = Keys(host, client, f"shop-{secrets.token_hex(4)}")
        for name in made.apps:
            with host.database.transaction() as tx:
                fly.add_app(tx, App(name.encode().hex(), host.organisation.id, name, "default", 0))
        yield made


def test_a_key_seals_and_opens_and_is_never_told(keys: Keys, place: pathlib.Path) -> None:
    made = keys.call("POST", "/orders", {"type": "xaes256gcm", "value": _text(KEY)}, status=201)
    assert (made["name"], made["type"], made["public_key"]) == ("ordersv0", "xaes256gcm", "")
    sealed = keys.encrypt("orders", b"hello")
    assert keys.decrypt("orders", sealed) == keys.decrypt("ordersv0", sealed) == b"hello"
    assert base64.b64decode(sealed)[0] == 1, "its version, in front"
    told = (
        keys.ask("GET").content
        + keys.ask("GET", "/orders").content
        + keys.ask("GET", "/orders?show_secrets=true").content
    )
    on_disk = b"".join(each.read_bytes() for each in place.rglob("*") if each.is_file())
    for spelled in (KEY, base64.b64encode(KEY), KEY.hex().encode()):
        assert spelled not in told + on_disk, "neither answered, nor in the store"


def test_associated_data_has_to_be_said_again(keys: Keys) -> None:
    keys.generate("orders")
    sealed = keys.encrypt("orders", b"hello", associated_data=_text(b"row 1"))
    assert keys.decrypt("orders", sealed, associated_data=_text(b"row 1")) == b"hello"
    assert keys.refused("orders", sealed) == keys.refused("orders", sealed, associated_data=_text(b"row 2"))


def test_what_was_changed_or_is_of_another_key_is_refused_in_the_same_words(keys: Keys) -> None:
    keys.generate("orders")
    other = keys.other
    other.generate("orders")
    sealed = base64.b64decode(keys.encrypt("orders", b"hello"))
    flipped = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]
    wrong = [*flipped, *(sealed[:length] for length in range(len(sealed))), sealed + b"x"]
    said = {keys.refused("orders", _text(each)) for each in wrong}
    said.add(keys.refused("orders", other.encrypt("orders", b"hello")))
    assert len(said) == 1, "why, nobody is told"


def test_the_next_version_is_used_from_then_on_and_the_one_before_reads_on(keys: Keys) -> None:
    keys.generate("orders")
    old = keys.encrypt("orders", b"old")
    assert keys.generate("orders")["name"] == "ordersv1"
    new = keys.encrypt("orders", b"new")
    assert (keys.decrypt("orders", old), keys.decrypt("orders", new)) == (b"old", b"new")
    assert keys.decrypt("ordersv0", keys.encrypt("ordersv0", b"older")) == b"older"
    keys.refused("ordersv0", new)
    assert [each["name"] for each in keys.call("GET")["secret_keys"]] == ["ordersv1", "ordersv0"]
    assert keys.call("GET", "/orders")["name"] == "ordersv1"
    keys.call("DELETE", "/ordersv0")
    keys.refused("orders", old)
    assert keys.decrypt("orders", new) == b"new"
    keys.call("DELETE", "/orders")
    for status in (keys.ask("DELETE", "/orders").status_code, keys.ask("GET", "/orders").status_code):
        assert status == 404
    assert keys.ask("POST", "/orders/decrypt", {"ciphertext": new}).status_code == 404


def test_a_version_is_never_changed_and_all_are_of_one_type(keys: Keys) -> None:
    keys.generate("ordersv7")
    for path, body in (("/ordersv7/generate", {"type": "xaes256gcm"}),
                       ("/ordersv7", {"type": "xaes256gcm", "value": _text(KEY)})):  # fmt: skip
        keys.call("POST", path, body, status=422)
    assert "type" in keys.call("POST", "/orders/generate", {"type": "hs256"}, status=400)["error"]
    assert keys.generate("orders")["name"] == "ordersv8"


def test_two_at_once_make_two_versions(keys: Keys) -> None:
    """Whatever each has read: the store says which number is taken."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keys.generate("orders")["name"], range(8)))
    assert sorted(made) == [f"ordersv{number}" for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda _: keys.ask("POST", "/ordersv9/generate", {"type": "hs256"}).status_code, range(4)))
    assert set(same) == {400}, "of another type than its label"


def test_two_types_at_once_are_one(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who begin when there is no such label yet: the second one finds the first one's when it writes."""
    both, transaction = threading.Barrier(2), keys.host.database.transaction
    app = fly.app(keys.host.database, keys.host.organisation.id, keys.app)

    def at_once() -> contextlib.AbstractContextManager[Transaction]:
        both.wait(60)
        return transaction()

    def add(name: str, kind: str) -> str:
        try:
            return keys.host.fly.keys.add(app, name, kind)[0].kind
        except faults.InvalidRequest:
            return "refused"

    with monkeypatch.context() as patched, concurrent.futures.ThreadPoolExecutor(2) as pool:
        patched.setattr(keys.host.database, "transaction", at_once)
        said = list(pool.map(add, ("ordersv3", "ordersv5"), ("xaes256gcm", "hs256")))
    assert said.count("refused") == 1
    assert len(keys.call("GET")["secret_keys"]) == 1


@pytest.mark.parametrize(
    "kind", ["es256", "nacl_sign", "hs256", "hs384", "hs512", "nacl_auth", "SECRET_TYPE_KMS_HS256"]
)
def test_signatures(keys: Keys, kind: str) -> None:
    keys.generate("seal", kind)
    signed = keys.call("POST", "/seal/sign", {"plaintext": _text(b"hello")})["signature"]
    keys.generate("seal", kind)
    keys.call("POST", "/seal/verify", {"plaintext": _text(b"hello"), "signature": signed}, status=204)
    keys.call("POST", "/sealv0/verify", {"plaintext": _text(b"hello"), "signature": signed}, status=204)
    keys.call("POST", "/sealv1/verify", {"plaintext": _text(b"hello"), "signature": signed}, status=400)
    keys.call("POST", "/seal/verify", {"plaintext": _text(b"hullo"), "signature": signed}, status=400)
    keys.call("POST", "/seal/encrypt", {"plaintext": _text(b"hello")}, status=400)


def test_openssl_verifies_by_the_public_key(keys: Keys, tmp_path: pathlib.Path) -> None:
    made = keys.generate("seal", "nacl_sign")
    signed = keys.call("POST", "/seal/sign", {"plaintext": _text(b"hello")})["signature"]
    for name, data in (("public", made["public_key"]), ("signature", signed), ("message", _text(b"hello"))):
        (tmp_path / name).write_bytes(base64.b64decode(data))
    words = "openssl pkeyutl -verify -pubin -keyform DER -inkey public -rawin -in message -sigfile signature"
    done = subprocess.run(shlex.split(words), check=False, cwd=tmp_path, capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("path", "body"),
    [("/.a/generate", {"type": "hs256"}),
     ("/a/generate", {"type": "nacl_box"}),
     ("/a/generate", {}), ("/a/generate", {"type": ""}), ("/a", {"type": "hs256"}),
     ("/a", {"type": "hs256", "value": ""}),
     ("/a", {"type": "hs256", "value": "!"}), ("/a", {"type": "hs256", "value": _text(b"short")}),
     ("/a", {"type": "xaes256gcm", "value": _text(b"x" * 33)}), ("/a", {"type": "es256", "value": _text(bytes(32))}),
     ("/k/encrypt", {}), ("/k/encrypt", {"plaintext": 1}), ("/k/encrypt", {"plaintext": [1, 2]}), ("/k/decrypt", {}),
     ("/k/encrypt", {"plaintext": _text(bytes(secret_keys.MOST_BYTES + 1))}), ("/k/sign", {"plaintext": ""}),
     ("/k/encrypt", {"plaintext": "", "associated_data": _text(bytes(secret_keys.MOST_BYTES + 1))})],
)  # fmt: skip
def test_what_is_refused(keys: Keys, path: str, body: JSON) -> None:
    keys.generate("k")
    answer = keys.ask("POST", path, body)
    assert answer.status_code == 400, answer.text


def test_the_largest_text_passes_both_ways(keys: Keys) -> None:
    keys.generate("k")
    whole = os.urandom(secret_keys.MOST_BYTES)
    assert keys.decrypt("k", keys.encrypt("k", whole)) == whole
    assert keys.decrypt("k", keys.encrypt("k", b"")) == b""


def test_an_app_has_so_many(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fly_keys, "MOST", 2)
    keys.generate("a")
    keys.generate("b")
    assert keys.ask("POST", "/a/generate", {"type": "xaes256gcm"}).status_code == 429


def test_who_reads_an_app_uses_none_of_its_keys(keys: Keys) -> None:
    keys.generate("k")
    asked = {"name": f"of-{keys.app}", "role": "read"}
    headers = {"Authorization": f"Bearer {keys.host.token}"}
    made = httpx.post(f"{keys.host.url}/v1/tokens", json=asked, headers=headers, timeout=60)
    reader = made.raise_for_status().json()["token"]
    assert keys.ask("GET", token=reader).status_code == 200
    for path, body in (("/k/encrypt", {"plaintext": ""}), ("/k/generate", {"type": "xaes256gcm"})):
        assert keys.ask("POST", path, body, token=reader).status_code == 403
    assert keys.ask("DELETE", "/k", token=reader).status_code == 403


def test_with_another_seal_nothing_is_opened_and_nothing_lost(keys: Keys) -> None:
    keys.generate("k")
    sealed = keys.encrypt("k", b"hello")
    right, keys.host.seal_key = keys.host.seal_key, b"x" * 32
    keys.host.restart()
    assert keys.ask("POST", "/k/decrypt", {"ciphertext": sealed}).status_code == 503
    keys.host.seal_key = right
    keys.host.restart()
    assert keys.decrypt("k", sealed) == b"hello"


def test_a_row_of_another_app_opens_nothing(keys: Keys, place: pathlib.Path) -> None:
    """Who can write the store, and has no seal, gives no app the key of another, and no version that of another."""
    keys.generate("k")
    sealed = keys.encrypt("k", b"hello")
    keys.other.generate("k")
    (path,) = place.rglob("state.db")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE fly_keys SET sealed = (SELECT sealed FROM fly_keys WHERE app = ?) WHERE app = ?",
            (keys.apps[1].encode().hex(), keys.app.encode().hex()),
        )
    connection.close()
    assert keys.ask("POST", "/k/decrypt", {"ciphertext": sealed}).status_code == 503


def test_the_keys_go_with_their_app(keys: Keys) -> None:
    keys.generate("k")
    headers = {"Authorization": f"Bearer {keys.host.token}"}
    assert httpx.delete(f"{keys.host.url}/v1/apps/{keys.app}", headers=headers, timeout=60).status_code == 202
    assert keys.host.database.query("SELECT label FROM fly_keys WHERE app = ?", (keys.app.encode().hex(),)) == []


def test_what_dies_in_the_middle_leaves_no_key(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is written, and not yet kept."""
    with monkeypatch.context() as dying:

        def die(*given: Any) -> None:
            add(*given)
            raise SystemError("killed")

        add = rows.add
        dying.setattr(rows, "add", die)
        assert keys.ask("POST", "/k/generate", {"type": "hs256"}).status_code == 500
    assert keys.call("GET") == {"secret_keys": []}
    assert keys.generate("k", "nacl_auth")["name"] == "kv0"


def test_they_outlive_pilotd(keys: Keys) -> None:
    keys.generate("k")
    sealed = keys.encrypt("k", b"hello")
    keys.host.restart()
    assert keys.decrypt("k", sealed) == b"hello"
