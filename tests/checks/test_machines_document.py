"""The document of the Machines API has every call of its table, once, and is one."""

from __future__ import annotations

from collections import Counter

import openapi_spec_validator
from tests.support import machines_document

from pilot.host.api.machines import calls, document


def test_every_call_is_told() -> None:
    table = {(row.method, row.path) for row in calls.CALLS if row.permission is not None}
    assert table == set(document.SAID)


def test_operations_have_names_of_their_own() -> None:
    assert [name for name, count in Counter(said.name for said in document.SAID.values()).items() if count > 1] == []


def test_it_is_a_document_of_openapi() -> None:
    """Every reference leads somewhere, too."""
    openapi_spec_validator.validate(machines_document.served())
