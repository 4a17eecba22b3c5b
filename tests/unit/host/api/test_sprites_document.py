"""api/sprites.openapi.yaml allows of bodies and paths what pilotd takes, and nothing else, as a schema can say it."""

from __future__ import annotations

import pathlib
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from pilot import errors, ids
from pilot.host.api.sprites import bodies
from pilot.host.network.connectors import connector
from pilot.host.services import putting_back, sprites
from pilot.host.services.wanted import Forks

DOCUMENT = yaml.safe_load((pathlib.Path(__file__).parents[4] / "api" / "sprites.openapi.yaml").read_text())
OWN = [
    operation
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
    if isinstance(operation, dict) and not operation.get("x-relayed")
]


def _is_documented(schema: dict[str, Any], value: object) -> bool:
    validator = jsonschema.Draft202012Validator(schema | {"components": DOCUMENT["components"]})
    return bool(validator.is_valid(value))


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _path_schema(operation: str) -> dict[str, Any]:
    [found] = [each for each in OWN if each["operationId"] == operation]
    [schema] = [each["schema"] for each in found["parameters"] if each.get("name") == "path"]
    assert isinstance(schema, dict)
    return schema


PATHS: tuple[str, ...] = (
    "",
    "/",
    "//",
    "/.",
    "/./",
    "a",
    "/a",
    "/.a",
    "/...",
    "/a\0",
    "/a/../b",
    "/..a",
    "/a/..",
    "/dev",
    "/./dev/x",
    "/devs",
)
PATHS += ("//proc", "/.proc", "/.sprite", "/a/.sprite", "/.fly/api", "/run/", "/sys", "/home/a.txt")


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_put_back(path: str) -> None:
    try:
        is_taken = bool(putting_back.parse(path))
    except errors.PilotError:
        is_taken = False
    assert _is_documented(_schema("RestoreCheckpoint"), {"path": path}) is is_taken


@pytest.mark.parametrize(
    ("path", "is_one", "may_be_a_file"),
    [("/", True, False), ("//./..", True, False), ("/...", True, True), ("/a", True, True), ("a", False, False),
     ("/a\0", False, False), ("/.a/..b", True, True)],
)  # fmt: skip
def test_a_path_in_a_checkpoint(path: str, is_one: bool, may_be_a_file: bool) -> None:
    assert _is_documented(_path_schema("listCheckpointFiles"), path) is is_one
    assert _is_documented(_path_schema("readCheckpointFile"), path) is may_be_a_file


@pytest.mark.parametrize(
    "wanted",
    [
        {"names": ["web-1", "a"]}, {"names": [""]}, {"names": ["Web"]}, {"names": ["a", "a"]}, {"names": []},
        {"names": ["a" * 63]}, {"names": ["a" * 64]}, {"names": ["a-"]}, {"names": ["a"] * 51},
        {"names": ["a"], "environment": {"A": "b=c"}}, {"names": ["a"], "environment": {"": "x"}},
        {"names": ["a"], "environment": {"A=B": "x"}}, {"names": ["a"], "environment": {"A": "\0"}},
        {"names": ["a"], "environment": None},
    ],
)  # fmt: skip
def test_forks(wanted: dict[str, Any]) -> None:
    try:
        is_taken = all(ids.parse_sprite_name(name) for name in msgspec.convert(wanted, Forks).names)
    except (msgspec.ValidationError, errors.PilotError):
        is_taken = False
    assert _is_documented(_schema("Forks"), wanted) is is_taken


BEARER = {"kind": "bearer"}
HOSTS: list[list[str]] = [
    [],
    [""],
    ["api.example.com"],
    ["example"],
    ["*.example.com"],
    ["a_b.example.com"],
    ["db.internal"],
]
HOSTS += [["x.localhost"], ["10.0.0.1"], ["-a.example"], ["a..b"], ["a" * 64 + ".example"], ["a.example"] * 17]
HOSTS += [[".".join(["a" * 49] * 5 + ["example"])], ["internal.example"], ["[::1]"], ["a b.example"]]
ATTACHED = (
    BEARER,
    *({"kind": "basic", "username": name} for name in ("git", "", "a:b", "a b", "a" * 256, "a" * 257)),
    *({"kind": "header", "header": name} for name in ("X-Api-Key", "", "a b", "a" * 65, "it's`|~", "expect")),
    *({"kind": "placeholder", "placeholder": text} for text in ("12345678", "1234567", "1234 5678")),
    {"kind": "basic"},
    {"kind": "none"},
)
SECRETS = (
    None,
    "12345678",
    "1234567",
    "1234 678",
    " 2345678",
    "1234567 ",
    "1234\t678",
    "1234567é",
    "a" * 4096,
    "a" * 4097,
)
PUT = (
    *({"hosts": hosts, "attach": BEARER, "secret": "12345678"} for hosts in HOSTS),
    *({"hosts": ["a.example"], "attach": attach, "secret": "12345678"} for attach in ATTACHED),
    *({"hosts": ["a.example"], "attach": BEARER, "secret": secret} for secret in SECRETS),
)


@pytest.mark.parametrize("wanted", PUT, ids=lambda wanted: str(wanted)[:80])
def test_a_connector(wanted: dict[str, Any]) -> None:
    assert _is_documented(_schema("PutConnector"), wanted) is _is_taken(wanted)


def _is_taken(wanted: dict[str, Any]) -> bool:
    try:
        body = msgspec.convert(wanted, bodies.PutConnector)
        body.attach.check()
        connector.parse_hosts(body.hosts)
        return body.secret is None or bool(connector.check_secret(body.secret))
    except (msgspec.ValidationError, errors.SpecError):
        return False


def test_a_comment() -> None:
    assert _is_documented(_schema("CreateCheckpoint"), {"comment": "é" * sprites.MOST_COMMENT})
    assert not _is_documented(_schema("CreateCheckpoint"), {"comment": "é" * (sprites.MOST_COMMENT + 1)})


@pytest.mark.parametrize("operation", OWN, ids=lambda operation: operation["operationId"])
def test_what_any_call_may_answer_is_said(operation: dict[str, Any]) -> None:
    """A host that has no room for another connection; a body that is too long, or does not come."""
    wanted = {"503"} if operation["operationId"] != "execVersion" else set()
    wanted |= {"400", "408", "413"} if "requestBody" in operation else set()
    assert wanted - set(operation["responses"]) == set()
