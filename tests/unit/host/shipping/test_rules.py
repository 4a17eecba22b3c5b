"""Which paths and variables an image goes without, by rule; the page says the same."""

from __future__ import annotations

import fnmatch
import pathlib
import random

import pytest

from pilot.host.shipping import rules
from pilot.host.shipping.rules import Rule
from pilot.wire import faults

PAGE = pathlib.Path(__file__).parents[4] / "docs/reference/shipping.md"
MATCHER = rules.Matcher(rules.BUILT_IN)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/resolv.conf", "machine"),
        ("/.sprite/init", "machine"),
        ("/tmp", None),
        ("/tmp/x", "cache"),
        ("/home/sprite/.cache", "cache"),
        ("/home/.cache", None),
        ("/home/sprite/app/.cache", None),
        ("/root/.ssh", "secret"),
        ("/home/sprite/.ssh", "secret"),
        ("/home/sprite/.sshx", None),
        ("/home/sprite/x.ssh", None),
        ("/home/sprite/.bash_history", "secret"),
        ("/home/sprite/.python_history", "secret"),
        ("/etc/ssh/ssh_host_ed25519_key", "secret"),
        ("/etc/ssh/ssh_host_ed25519_key.pub", None),
        ("/.env", "secret"),
        ("/home/sprite/app/.env", "secret"),
        ("/srv/a/b/.env.production.local", "secret"),
        ("/home/sprite/app/.env.example", None),
        ("/home/sprite/app/.environment", None),
        ("/home/sprite/.docker", None),
        ("/home/sprite/.docker/config.json", "secret"),
        ("/home/a\nb/.netrc", "secret"),
    ],
)
def test_paths(path: str, kind: str | None) -> None:
    assert MATCHER.kind(path) == kind


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("API_KEY", "x", True),
        ("githubToken", "x", True),
        ("DB_PASSWORD", "", True),
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("DATABASE_URL", "postgres://me:secret@db/app", True),
        ("DATABASE_URL", "postgres://db/app", False),
        ("KEYBOARD", "us", False),
        ("MONKEY", "x", False),
        ("PORT", "8080", False),
        ("PWD", "/", False),
        ("AUTHOR", "me", False),
        ("MODE", "a:b@c", False),
        ("PGPASSWORD", "x", True),
        ("MYSQL_PWD", "x", True),
        ("SSHPASS", "x", True),
        ("AWS_ACCESSKEY", "x", True),
        ("MINIO_SECRETKEY", "x", True),
        ("NPM_AUTHTOKEN", "x", True),
        ("TOKEN1", "x", True),
        ("DEPLOY_KEY2", "x", True),
        ("OLDPWD", "/", False),
        ("COMPASS", "north", False),
        ("MONKEY2", "x", False),
    ],
)
def test_variables(name: str, value: str, is_secret: bool) -> None:
    assert rules.is_secret_variable(name, value) is is_secret


def test_what_the_caller_adds_and_keeps() -> None:
    matcher = rules.Matcher(rules.chosen(["/srv/data", "/home/*/big-*"], ["/home/*/.npmrc"]))
    assert [matcher.kind(path) for path in ("/srv/data", "/srv/data2", "/home/me/big-1", "/home/me/.npmrc")] == [
        "yours", None, "yours", None,
    ]  # fmt: skip
    assert matcher.kind("/root/.npmrc") == "secret"


def _names(pattern: list[str], path: list[str]) -> bool:
    """What a pattern is, slowly."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_names(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _names(pattern[1:], path[1:])


def test_patterns_are_what_they_are_by_definition() -> None:
    drawn = random.Random(7)
    parts = ("a", "b", "ab", "*", "a*", "*b", "*a*", "a*b*a", "**", "**", "a**b", "***")
    names = ("a", "b", "ab", "ba", "aba", "abba", "a\n")
    for _ in range(3000):
        pattern = drawn.choices(parts, k=drawn.randint(1, 5))
        path = drawn.choices(names, k=drawn.randint(1, 6))
        matcher = rules.Matcher([Rule("yours", "/" + "/".join(pattern))])
        found = matcher.kind("/" + "/".join(path)) is not None
        assert found == _names(pattern, path), (pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/home/" + "a*" * 200 + "b", "/home/" + "a" * 255),
        ("/**/a" * 100 + "/**/b", "/a" * 1000),
        ("/**" * 300 + "/b", "/a" * 1000),
        ("/" + "*" * 900 + "b", "/" + "a" * 255),
    ],
)
def test_many_stars_come_to_an_end(pattern: str, path: str) -> None:
    """Trying each way in which they may fall takes longer than there is time."""
    assert rules.Matcher(rules.chosen([pattern], [])).kind(path) is None


@pytest.mark.parametrize("pattern", ["", "relative", "/", "/a/", "//a", "/a/../b", "/a/./b", "/a\0", "/" + "a" * 1000])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(faults.InvalidRequest):
        rules.chosen([pattern], [])


def test_only_what_is_left_out_can_be_kept() -> None:
    with pytest.raises(faults.InvalidRequest, match="/etc/passwd"):
        rules.chosen([], ["/etc/passwd"])
    with pytest.raises(faults.InvalidRequest, match="more than 100"):
        rules.chosen(["/a"] * 101, [])


def test_the_page_has_every_pattern() -> None:
    page = PAGE.read_text()
    missing = [rule.pattern for rule in rules.BUILT_IN if f"`{rule.pattern.removeprefix('/root/')}`" not in page]
    missing = [pattern for pattern in missing if f"`{pattern.removeprefix('/home/*/')}`" not in page]
    assert missing == []
