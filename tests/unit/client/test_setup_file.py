"""What a sprite.toml says, and what is no such file."""

from __future__ import annotations

import msgspec
import pytest

from pilot import errors
from pilot.client import setup_file
from pilot.host.services.wanted import LifecycleChanges
from pilot.host.store.sprites import Config, Spawn, UrlSettings

WHOLE = """
name = "shop"
from = "base:ready"
environment = { STAGE = "test" }
labels = ["demo"]
setup = ["true"]
checkpoint = "ready"
[config]
cpus = 2
[lifecycle]
expires_in_s = 3600
[url]
auth = "public"
[network]
allow = ["*.pypi.org"]
defaults = true
[spawn]
children = 2
[files]
"/home/sprite/a" = "a"
[services.web]
cmd = "python3"
needs = ["db", "elsewhere"]
[services.db]
cmd = "sleep"
"""


def test_all_that_there_may_be() -> None:
    said = setup_file.parse(WHOLE)
    assert (said.name, said.setup, said.checkpoint, said.files) == ("shop", ["true"], "ready", {"/home/sprite/a": "a"})
    assert said.new == {"environment": {"STAGE": "test"}, "template": "base:ready"}
    sized = {"config": {"cpus": 2}, "lifecycle": {"expires_in_s": 3600}, "url_settings": {"auth": "public"}}
    assert said.changes == {"labels": ["demo"]} | sized
    assert said.policy == {"rules": [{"domain": "*.pypi.org", "action": "allow"}, {"include": "defaults"}]}
    assert said.spawn == {"children": 2}
    assert list(said.services) == ["db", "web"], "what is needed comes first; what is elsewhere is the sprite's to know"


def test_nothing_is_said_of_what_is_not_there() -> None:
    said = setup_file.parse("")
    assert (said.name, said.new, said.changes, said.policy, said.spawn, said.services) == (None, {}, {}, None, None, {})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x", "$: no TOML"),
        ("nam = 'a'", "$.nam: unknown; there are name"),
        ("name = 1", "$.name: not a text"),
        ("setup = 'one'", "$.setup: not a list"),
        ("setup = [1]", "$.setup: not a list of texts"),
        ("config = 1", "$.config: not a table"),
        ("[network]\nrules = []", "$.network.rules: unknown; there are allow, deny, defaults"),
        ("[network]\ndeny = 'intranet'", "$.network.deny: not a list of texts"),
        ("[network]\nallow = [1]", "$.network.allow: not a list of texts"),
        ("[network]\ndefaults = 'no'", "$.network.defaults: neither true nor false"),
        ("[network]", '$.network: no rule; deny = ["*"] closes it'),
        ("[network]\nallow = []\ndefaults = false", '$.network: no rule; deny = ["*"] closes it'),
        ("[lifecycle]\nexpires_at = 2026-11-29", "$.lifecycle.expires_at: a date"),
        ("[services.web]\ncmd = 'x'\nargs = ['a', 07:00:00]", "$.services.web.args[1]: a date or a time"),
        ("[config]\ncpus = nan", "$.config.cpus: no number"),
        ("labels = " + "[" * 5000, "$: no TOML"),
        ("[files]\n'there' = 'here'", "$.files.there"),
        ("[files]\n'/there' = 1", "$.files./there"),
        ("[services]\nweb = 'x'", "$.services.web"),
        ("[services.web]\nargs = []", "$.services.web: no table with a cmd"),
        ("[services.web]\ncmd = 'x'\nport = 1", "$.services.web.port: unknown"),
        ("[services.web]\ncmd = 'x'\nneeds = 'db'", "$.services.web.needs: not a list"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        setup_file.parse(text)
    assert str(caught.value).startswith(place)


def test_services_in_a_circle() -> None:
    text = "[services.a]\ncmd='x'\nneeds=['b']\n[services.b]\ncmd='x'\nneeds=['a']"
    with pytest.raises(errors.SpecError, match="these need each other: a, b"):
        setup_file.parse(text)


@pytest.mark.parametrize(
    ("table", "struct"),
    [("config", Config), ("lifecycle", LifecycleChanges), ("url", UrlSettings), ("spawn", Spawn)],
)
def test_a_table_may_say_what_the_server_knows_and_nothing_that_it_would_pass_over(
    table: str, struct: type[msgspec.Struct]
) -> None:
    assert set(setup_file.KEYS[table]) == set(struct.__struct_encode_fields__)
    with pytest.raises(errors.SpecError) as caught:
        setup_file.parse(f"[{table}]\nexpire_in_s = 60")
    assert str(caught.value).startswith(f"$.{table}.expire_in_s: unknown; there are")
