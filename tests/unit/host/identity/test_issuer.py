"""Tokens of OpenID Connect, as another library verifies them by the published keys; and how often one may ask."""

from __future__ import annotations

import base64
import json
import pathlib
import time

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from pilot import errors
from pilot.host.identity.issuer import Issuer, Subject
from pilot.host.identity.oidc import ALGORITHMS, LIFE_S, PUBLISHED_S, ROTATE_S, Signer
from pilot.host.identity.rates import Rates
from pilot.wire import faults

SEAL = bytes(range(32))
SUBJECT = Subject("acme", "1f", "shop", "2a", "web", "m1", "v7", "local", "debian:12", "sha256:0f")


class Clock:
    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


def _key_set(published: list[dict[str, str]]) -> KeySet:
    keys: list[dict[str, str | list[str]]] = [{**key} for key in published]
    return KeySet.import_key_set({"keys": keys})


def _verified(token: str, signer: Signer) -> dict[str, object]:
    """By joserfc, which knows nothing of ours but the published keys."""
    keys = _key_set(signer.published())
    found = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
    jwt.JWTClaimsRegistry(now=lambda: int(time.time()), exp={"essential": True}).validate(found.claims)
    return found.claims


def _kid(token: str) -> str:
    head = token.split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_library_verifies_it_and_nothing_that_was_changed(tmp_path: pathlib.Path, algorithm: str) -> None:
    signer = Signer(str(tmp_path), SEAL)
    token = signer.sign({"sub": "x", "exp": int(time.time()) + 60}, algorithm)
    assert _verified(token, signer)["sub"] == "x"
    head, body, signature = token.split(".")
    other = base64.urlsafe_b64encode(b'{"sub":"y","exp":9999999999}').decode().rstrip("=")
    for changed in (f"{head}.{other}.{signature}", f"{head}.{body}.{'A' * len(signature)}"):
        with pytest.raises(BadSignatureError):
            _verified(changed, signer)
    with pytest.raises(BadSignatureError):
        jwt.decode(token, _relabelled(token, Signer(str(tmp_path / "other"), SEAL)), algorithms=list(ALGORITHMS))


def _relabelled(token: str, stranger: Signer) -> KeySet:
    """Keys of another issuer, under the names of ours."""
    algorithm = "RS256" if len(token.split(".")[2]) > 100 else "ES256"
    (key,) = [each for each in stranger.published() if each["alg"] == algorithm]
    return _key_set([key | {"kid": _kid(token)}])


def test_keys_are_loaded_once_whoever_asks(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Signer(str(tmp_path), SEAL).rotate()
    signer = Signer(str(tmp_path), SEAL)
    known = signer.published()

    def load(*_: object) -> None:
        raise AssertionError("a key is loaded anew")

    monkeypatch.setattr(serialization, "load_pem_private_key", load)
    for algorithm in ALGORITHMS:
        assert _kid(signer.sign({"sub": "x"}, algorithm)) in {each["kid"] for each in known}
    assert signer.published() == known


def test_the_claims(tmp_path: pathlib.Path) -> None:
    signer = Signer(str(tmp_path), SEAL)
    issuer = Issuer("https://pilot.test/oidc", signer)
    issued = issuer.issue(SUBJECT, "sts.amazonaws.com")
    claims = _verified(issued.token, signer)
    assert claims["iss"] == "https://pilot.test/oidc/acme"
    assert (claims["sub"], claims["aud"]) == ("acme:shop:web", "sts.amazonaws.com")
    assert claims["nbf"] == claims["iat"]
    assert claims["exp"] == int(str(claims["iat"])) + LIFE_S
    said = {name: claims[name] for name in ("app_id", "app_name", "org_id", "org_name", "machine_id", "machine_name",
                                            "machine_version", "region", "image", "image_digest")}  # fmt: skip
    assert list(said.values()) == ["2a", "shop", "1f", "acme", "m1", "web", "v7", "local", "debian:12", "sha256:0f"]
    assert (claims["iat"], claims["exp"]) == (issued.issued_s, issued.expires_s)
    again = _verified(issuer.issue(SUBJECT, None, aws_principal_tags=True).token, signer)
    assert again["aud"] == again["iss"]
    assert again["jti"] != claims["jti"]
    assert "https://aws.amazon.com/tags" in again
    assert "https://aws.amazon.com/tags" not in claims


def test_what_is_discovered_is_what_is_issued(tmp_path: pathlib.Path) -> None:
    issuer = Issuer("https://pilot.test/oidc", Signer(str(tmp_path), SEAL))
    found = issuer.discovery("acme")
    claims = issuer.claims(SUBJECT, None, 0)
    assert found["issuer"] == claims["iss"]
    assert found["jwks_uri"] == f"{claims['iss']}/.well-known/jwks.json"
    assert found["claims_supported"] == sorted(claims)
    assert {key["alg"] for key in issuer.signer.published()} == set(ALGORITHMS)


def test_keys_are_followed_and_published_as_long_as_a_token_of_theirs_may_be_shown(tmp_path: pathlib.Path) -> None:
    clock = Clock()
    signer = Signer(str(tmp_path), SEAL, clock)
    first = signer.sign({"sub": "x"})
    clock.now_s += ROTATE_S + 1
    second = signer.sign({"sub": "x"})
    assert _kid(first) != _kid(second)
    assert {_kid(first), _kid(second)} <= {key["kid"] for key in signer.published()}
    assert "x" in str(_verified_without_claims(first, signer)), "signed with the one before"
    clock.now_s += LIFE_S + PUBLISHED_S + 1
    signer.rotate()
    assert _kid(first) not in {key["kid"] for key in signer.published()}
    assert _kid(second) in {key["kid"] for key in signer.published()}


def _verified_without_claims(token: str, signer: Signer) -> dict[str, object]:
    keys = _key_set(signer.published())
    return jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims


def test_private_keys_are_sealed_and_outlive_pilotd(tmp_path: pathlib.Path) -> None:
    signer = Signer(str(tmp_path), SEAL)
    token = signer.sign({"sub": "x"})
    assert _verified_without_claims(token, Signer(str(tmp_path), SEAL))["sub"] == "x"
    assert b"PRIVATE" not in (tmp_path / "oidc").read_bytes()
    assert (tmp_path / "oidc").stat().st_mode & 0o777 == 0o600
    assert all(key.keys().isdisjoint({"d", "p", "q"}) for key in signer.published())
    with pytest.raises(errors.HostError, match="sealed with another key"):
        Signer(str(tmp_path), bytes(32))


def test_who_asks_too_often_waits_and_holds_up_nobody_else() -> None:
    clock = Clock()
    rates = Rates(3, 1.0, clock)
    for _ in range(3):
        rates.take("m1")
    for _ in range(2):
        with pytest.raises(faults.Exhausted):
            rates.take("m1")
    rates.take("m2")
    clock.now_s += 1
    rates.take("m1")
    with pytest.raises(faults.Exhausted):
        rates.take("m1")
