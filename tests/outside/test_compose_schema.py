"""What we take of compose files, held against the specification's schema, which npm's dclint carries."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.support import outside
from tests.unit.client.compose.test_reading import ENVIRONMENT, SERVICES, WHOLE, plan

from pilot import errors
from pilot.client.machines.compose import interpolation, keys

pytestmark = pytest.mark.requires("private", "outside", "node")

PACKAGE = "dclint@3.1.0"


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = tmp_path_factory.mktemp("schema")
    command = ["nsenter", f"--net={outside.namespace()}", "npm", "install", "--ignore-scripts", "--prefix"]
    subprocess.run([*command, str(made), PACKAGE], check=True, timeout=600)
    found: dict[str, Any] = json.loads(
        pathlib.Path(made, "node_modules/dclint/schemas/compose.schema.json").read_text()
    )
    return found


def test_every_key_of_the_schema_has_its_row(schema: dict[str, Any]) -> None:
    rows = [keys.USED, keys.PASSED, set(keys.REFUSED), set(keys.NOTED) - keys.USED]
    assert set().union(*rows) == set(schema["definitions"]["service"]["properties"])
    assert keys.TOP | set(keys.TOP_REFUSED) == set(schema["properties"])


def test_the_files_of_our_tests_are_compose_files(schema: dict[str, Any]) -> None:
    document = yaml.safe_load(interpolation.interpolated(WHOLE, ENVIRONMENT))
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)] == []


@given(services=st.dictionaries(st.sampled_from(["web", "db", "job_1"]), SERVICES, min_size=1))
def test_what_is_taken_is_what_the_schema_has(schema: dict[str, Any], services: dict[str, Any]) -> None:
    document = {"services": services, "volumes": {"data": None}}
    try:
        plan(yaml.safe_dump(document))
    except errors.SpecError:
        return
    assert list(jsonschema.Draft7Validator(schema).iter_errors(document)) == []
