"""What is written down of a request, and what never is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.host.audit import asked, records
from pilot.host.audit.records import Decision, Record
from pilot.wire.audit import Kind


@pytest.mark.parametrize(
    "secret",
    [
        "fm2_lJPEEKnzy2k6ZWhvYW5ub3Rlcw==", "local/0123456789abcdef/0123456789ab/c2VjcmV0c2VjcmV0c2VjcmV0",
        "ghp_0123456789abcdefghijABCDEFGHIJ", "AKIAIOSFODNN7EXAMPLE", "sk-0123456789abcdef0123", "hunter2hunter2",
    ],
)  # fmt: skip
def test_what_is_known_to_be_a_secret_is_hidden(secret: str) -> None:
    for given_words in (
        ["curl", "-H", f"Authorization: Bearer {secret}"],
        ["git", "clone", f"https://me:{secret}@example.com/x"],
        ["psql", "--password", secret],
        ["env", f"PASSWORD={secret}"],
    ):
        assert secret not in " ".join(records.words(given_words))


def test_a_token_is_found_in_whatever_it_stands() -> None:
    jwt = "eyJhbGciOiJFUzI1NiIsImp3ayI6eyJrdHkiOiJFQyJ9fQ.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
    for before in ("", "x", "TOKEN_", "eyJ" * 100, "a/b/"):
        assert jwt[60:] not in records.text(before + jwt)
    token = "local/0123456789abcdef/0123456789ab/c2VjcmV0c2VjcmV0c2VjcmV0"
    for before in ("", "a/", "https://host/", "x-y.z/"):
        assert "c2VjcmV0" not in records.text(before + token)


def test_a_command_is_bounded() -> None:
    found = records.words(["x" * 10_000] * 1000)
    assert len(found) == records.MOST_WORDS + 1
    assert all(len(word) <= records.MOST_WORD + 1 for word in found)
    assert records.words(["sh", "-c", "echo hello"]) == ("sh", "-c", "echo hello")


@given(st.text(st.characters(codec=None), max_size=3000), st.lists(st.text(max_size=600), max_size=50))
def test_whatever_is_asked_can_be_written_on_a_line_that_is_bounded(text: str, words: list[str]) -> None:
    detail: records.Detail = {"path": records.text(text), "cmd": records.words(words)}
    line = records.encode(Record(Kind.EXEC, "x", Decision.DENIED, 0, detail=detail, why=text), "now")
    assert b"\n" not in line
    assert len(line) < 200_000
    json.loads(line)


def test_fields_that_nobody_has_named_are_not_looked_at() -> None:
    query = b"cmd=ls&cmd=-l&env=PASSWORD%3Dhunter2&dir=%2Ftmp"
    found = asked.detail(Kind.EXEC, {"name": "web"}, query, b'{"env": {"A": "hunter2"}, "command": ["id"]}')
    assert found == {"sprite": "web", "cmd": ("ls", "-l"), "dir": "/tmp", "command": ("id",)}
    secret = asked.detail(
        Kind.SECRET, {"app": "a"}, b"", b'{"values": {"B": "hunter2", "A": null}, "value": "hunter2"}'
    )
    assert secret == {"app": "a", "values": ("A", "B")}
    change = asked.detail(Kind.CHANGE, {}, b"", b'{"config": {"image": "nginx", "env": {"A": "hunter2"}}}')
    assert change == {"config.image": "nginx"}


def test_of_a_parameter_that_is_said_twice_the_one_that_is_done_is_told() -> None:
    assert asked.detail(Kind.FILE, {}, b"path=/etc/shadow&path=/tmp/x") == {"path": "/etc/shadow"}
    assert asked.detail(Kind.FILE, {}, b"p%61th=%2Fa+b") == {"path": "/a b"}


def test_a_command_of_very_many_words_is_told() -> None:
    """Also what nobody would look at: it is said that it was not."""
    found = asked.detail(Kind.EXEC, {}, b"&".join([b"cmd=ls", *[b"cmd=x"] * 20_000, b"dir=/tmp"]))
    assert found["cmd"] == ("ls", *["x"] * (records.MOST_WORDS - 1), "…")
    assert (found["query"], "dir" in found) == ("longer than 65536 bytes: its end is not looked at", False)


@pytest.mark.parametrize("unread", [b"1e999", b"1" * 5000, b'"\xff"', b"[" * 900 + b"]" * 900])
def test_what_nobody_reads_of_a_body_hides_nothing(unread: bytes) -> None:
    """Whoever carries it out does not look at it, either (msgspec passes over fields that a struct has not)."""
    body = b'{"x": %s, "source": "/a", "config": {"y": %s}, "dest": "/b"}' % (unread, unread)
    assert asked.detail(Kind.FILE, {}, b"", body) == {"source": "/a", "dest": "/b"}
    body = b'{"config": {"y": %s, "image": "nginx"}}' % unread
    assert asked.detail(Kind.CHANGE, {}, b"", body) == {"config.image": "nginx"}


@pytest.mark.parametrize("body", [b"[]", b'{"\xff": 1, "source": "/a"}', b'{"source": "/a"'])
def test_a_body_that_cannot_be_read_is_told_as_such(body: bytes) -> None:
    assert asked.detail(Kind.FILE, {}, b"", body) == {"body": "no object of JSON"}


@given(
    st.binary(max_size=300),
    st.binary(max_size=300)
    | st.sampled_from([b'{"name": "\xff"}', b'{"rules": ' + b"[" * 20_000, b'{"name": "\\ud800"}', b"[]", b"{}"]),
)
def test_a_request_may_say_anything(query: bytes, body: bytes) -> None:
    for kind in Kind:
        asked.detail(kind, {"name": "x"}, query, body)
