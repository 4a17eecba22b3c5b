"""Secrets at rest: opened by the same key, for the same app and name, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.host.fly.vault import Vault

_VAULT = Vault(b"k" * 32)


@given(st.text())
def test_there_and_back(value: str) -> None:
    sealed = _VAULT.seal("app", "NAME", value)
    assert _VAULT.opened("app", "NAME", sealed) == value
    assert sealed != _VAULT.seal("app", "NAME", value)


def test_for_nothing_else() -> None:
    sealed = _VAULT.seal("app", "NAME", "value")
    for vault, app, name in ((Vault(b"x" * 32), "app", "NAME"), (_VAULT, "other", "NAME"), (_VAULT, "app", "OTHER")):
        with pytest.raises(errors.HostError):
            vault.opened(app, name, sealed)
    for broken in ("", "!", sealed[:-8]):
        with pytest.raises(errors.HostError):
            _VAULT.opened("app", "NAME", broken)


def test_a_digest_tells_values_apart_to_who_has_the_key() -> None:
    digest = _VAULT.digest("app", "NAME", "value")
    assert digest == _VAULT.digest("app", "NAME", "value")
    others = {
        _VAULT.digest("app", "NAME", "other"), _VAULT.digest("app", "OTHER", "value"),
        Vault(b"x" * 32).digest("app", "NAME", "value"),
    }  # fmt: skip
    assert digest not in others
