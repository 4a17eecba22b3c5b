"""What an image of a sprite goes without: caches, which are made again, and what lets somebody in as its owner.

PATTERN     an absolute path; `*` is any part of a name, `**` any number of directories
            what it names is left out with all that is below it

As the base has it stays what the base has: a rule takes a change away, and leaves no hole. The page
docs/reference/shipping.md has the same table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ... import errors
from ...wire import faults

Kind = str  # "machine": its machine's own; "cache"; "secret"; "yours": what the caller adds


class Rule(msgspec.Struct, frozen=True):
    kind: Kind
    pattern: str


_MACHINES = ("/.sprite/*", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/*", "/proc/*", "/sys/*", "/dev/*")
_CACHES = (
    "/tmp/*", "/var/tmp/*", "/var/lib/apt/lists/*", "/var/cache/apt/*", "/var/cache/debconf/*-old",
    "/root/.cache", "/home/*/.cache", "/root/.npm/_cacache", "/home/*/.npm/_cacache", "/root/.npm/_logs",
    "/home/*/.npm/_logs", "/root/.cargo/registry", "/home/*/.cargo/registry", "/root/go/pkg/mod/cache",
    "/home/*/go/pkg/mod/cache", "/var/log/journal/*",
)  # fmt: skip
_AT_HOME = (
    ".ssh", ".gnupg", ".netrc", ".git-credentials", ".config/git/credentials", ".config/gh/hosts.yml", ".aws",
    ".azure", ".config/gcloud", ".kube", ".docker/config.json", ".config/containers/auth.json", ".npmrc",
    ".yarnrc.yml", ".pypirc", ".config/pip/pip.conf", ".cargo/credentials", ".cargo/credentials.toml",
    ".gem/credentials", ".m2/settings.xml", ".terraform.d/credentials.tfrc.json", ".vault-token", ".fly", ".sprites",
    ".config/sprites", ".config/pilot", ".pgpass", ".my.cnf", ".claude", ".claude.json", ".codex", ".gemini",
    ".config/github-copilot", ".password-store", ".*_history", ".lesshst", ".viminfo", ".local/share/keyrings",
)  # fmt: skip
_SECRETS = ("/etc/ssh/ssh_host_*_key", "/**/.env", "/**/.env.local", "/**/.env.*.local")

BUILT_IN: tuple[Rule, ...] = (
    *(Rule("machine", pattern) for pattern in _MACHINES),
    *(Rule("cache", pattern) for pattern in _CACHES),
    *(Rule("secret", f"{home}/{name}") for home in ("/root", "/home/*") for name in _AT_HOME),
    *(Rule("secret", pattern) for pattern in _SECRETS),
)

MOST_EXTRA = 100
_MOST_CHARACTERS = 1000


def chosen(leave_out: Sequence[str], keep: Sequence[str]) -> tuple[Rule, ...]:
    """The built-in rules but those whose pattern is to be kept, and the caller's. `InvalidRequest`."""
    if len(leave_out) + len(keep) > MOST_EXTRA:
        raise faults.InvalidRequest(f"leave_out, keep: more than {MOST_EXTRA} patterns")
    for pattern in leave_out:
        _check(pattern)
    known = {rule.pattern for rule in BUILT_IN}
    if unknown := sorted(set(keep) - known):
        raise faults.InvalidRequest(f"keep: {unknown[0][:200]!r} is none of the patterns of what is left out")
    return (*(rule for rule in BUILT_IN if rule.pattern not in keep), *(Rule("yours", each) for each in leave_out))


def _check(pattern: str) -> None:
    parts = pattern.split("/")
    if parts[0] or len(parts) < 2 or not all(parts[1:]) or {".", ".."} & set(parts) or "\0" in pattern:
        raise faults.InvalidRequest(f"leave_out: {pattern[:200]!r} is no absolute path")
    if len(pattern) > _MOST_CHARACTERS:
        raise faults.InvalidRequest(f"leave_out: a pattern has more than {_MOST_CHARACTERS} characters")


class Matcher:
    """Asked for each path from the root down, it names the first rule that a path falls under."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        by_kind: dict[Kind, list[str]] = {}
        for rule in rules:
            by_kind.setdefault(rule.kind, []).append(_expression(rule.pattern))
        self._kinds: Mapping[Kind, re.Pattern[str]] = {
            kind: re.compile("|".join(found), re.DOTALL) for kind, found in by_kind.items()
        }

    def kind(self, path: str) -> Kind | None:
        """None for what stays."""
        return next((kind for kind, pattern in self._kinds.items() if pattern.fullmatch(path)), None)


def _expression(pattern: str) -> str:
    """Each run of parts between two `**` is taken where it is met first, and that is not gone back on: a later place
    for it leaves less for the rest. So however many there are, it takes no more than a few looks at each character."""
    first, *rest = _runs(pattern)
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>{_ANY_PARTS}?{run})" for run in middle) + _ANY_PARTS + last


_ANY_PARTS = "(?:/[^/]+)*"


def _runs(pattern: str) -> list[str]:
    """What lies between `**`, of which several at once are one; perhaps nothing at both ends."""
    runs = [""]
    parts = pattern.split("/")[1:]
    for before, part in zip(["", *parts], parts, strict=False):
        if part != "**":
            runs[-1] += f"/{_part(part)}"
        elif before != "**":
            runs.append("")
    return runs


@functools.cache
def _part(part: str) -> str:
    """One whole name; what lies between two stars is taken where it is met first."""
    first, *rest = map(re.escape, part.split("*"))
    if not rest:
        return f"{first}{_END}"
    *middle, last = rest
    return f"(?>{first}{''.join(f'(?>[^/]*?{each})' for each in middle if each)}[^/]*{last}{_END})"


_END = r"(?=/|\Z)"


# Variables


_TELLING = frozenset(
    {"SECRET", "SECRETS", "TOKEN", "TOKENS", "PASSWORD", "PASSWD", "PASS", "CREDENTIAL", "CREDENTIALS", "KEY", "KEYS",
     "APIKEY", "AUTH", "AUTHORIZATION", "COOKIE", "DSN", "PASSPHRASE", "PAT"}
)  # fmt: skip
# PGPASSWORD, AUTHTOKEN, SSHPASS, …: words that are written as one. KEY alone would be MONKEY's. And PWD alone is the
# directory, MYSQL_PWD is not.
_ENDINGS = ("SECRET", "TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "SSHPASS", "APIKEY",
            "ACCESSKEY", "AUTHKEY", "PRIVATEKEY", "SECRETKEY", "SIGNINGKEY", "ENCRYPTIONKEY")  # fmt: skip
_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s]*:[^/@\s]+@.*", re.DOTALL)


def is_secret_variable(name: str, value: str) -> bool:
    """By a part of its name (`API_KEY`, `githubToken`, `TOKEN1`), or an address with a password in its value."""
    words = [word.rstrip("0123456789") for word in re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).upper().split("_")]
    return any(map(_tells, words)) or "PWD" in words[1:] or _WITH_PASSWORD.fullmatch(value) is not None


def _tells(word: str) -> bool:
    return word in _TELLING or word.endswith(_ENDINGS)


def parse(text: bytes) -> tuple[Rule, ...]:
    """As `layer` is given them."""
    try:
        return msgspec.json.decode(text, type=tuple[Rule, ...])
    except errors.UNREADABLE as error:
        raise errors.SpecError("$", f"no rules: {error}", file="stdin") from error
