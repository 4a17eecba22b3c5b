"""What a record says. Bounded, without contents of files, and without what is known to be a secret. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

import msgspec

from ...wire.audit import Kind

Value = str | int | bool | tuple[str, ...]
Detail = Mapping[str, Value]
MOST_TEXT = 1024
MOST_WORDS = 32
MOST_WORD = 512
_HIDDEN = "[hidden]"
# Tokens of ours, and of others who have made theirs easy to tell. Whoever asks decides what is looked at: nothing of
# this goes over the same text again and again (possessive, or from the beginning of a run alone).
_SECRETS = re.compile(
    r"""fm[12][ra]?_[A-Za-z0-9+/=_-]{8,}
      | (?<![\w.-])[\w.-]++/[0-9a-f]{16,}+/[\w-]++/[\w-]{20,}
      | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{16,}
      | sk-[\w-]{16,} | xox[abprs]-[\w-]{10,} | (?:AKIA|ASIA)[0-9A-Z]{16}
      | eyJ(?:(?!eyJ)[\w-]){7,}+\.[\w-]{10,}+\.[\w-]+
      | (?<=://)[^/@\s:]*+:[^/@\s]++(?=@)
      | (?i:(?<=bearer\ )|(?<=basic\ )|(?<=password=)|(?<=passwd=)|(?<=token=)|(?<=secret=)|(?<=api_key=))[^\s&"']+""",
    re.VERBOSE,
)


class Decision(enum.Enum):
    """`FAILED`: it was allowed, and what came of it is an error."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FAILED = "failed"
    NOTED = "noted"  # nobody was asked


class Who(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key of an organisation, or a machine itself. `restricted`: it may not do all that its organisation may."""

    organisation: str = ""
    key: str = ""
    restricted: bool = False
    machine: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """`at_us`: by the wall clock, told and never relied upon; what came first the numbers of the chain say.

    `request` is the same in all records of one request.
    """

    kind: Kind
    what: str
    decision: Decision
    at_us: int
    who: Who | None = None
    source: str = ""
    request: str = ""
    detail: Detail = msgspec.field(default_factory=dict)
    why: str = ""
    status: int = 0


class _Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """In the order and with the names that it is read with. `at` is always first: a chain's line begins so."""

    at: str
    kind: str
    what: str
    decision: str
    who: Who | None = None
    source: str = msgspec.field(default="", name="from")
    request: str = ""
    detail: Detail = msgspec.field(default_factory=dict)
    why: str = ""
    status: int = 0


def encode(record: Record, at: str) -> bytes:
    """One line of JSON."""
    detail = {key: value for key, value in record.detail.items() if value not in ("", ())}
    said = (record.kind.value, record.what, record.decision.value, record.who, record.source, record.request)
    return msgspec.json.encode(_Written(at, *said, detail, text(record.why), record.status))


def text(given: str, most: int = MOST_TEXT) -> str:
    """Cut where it is longer, and without secrets; a surrogate, which no JSON has, is a question mark."""
    found = given[: most + MOST_TEXT].encode(errors="replace").decode()
    found = _SECRETS.sub(_HIDDEN, found)
    return found if len(found) <= most and len(given) <= most + MOST_TEXT else f"{found[:most]}…"


def words(given: Sequence[str]) -> tuple[str, ...]:
    """A command line: so many of its words, each so long. The word after `--password` and the like is a secret."""
    found: list[str] = []
    is_secret = False
    for word in given[:MOST_WORDS]:
        found.append(_HIDDEN if is_secret else text(word, MOST_WORD))
        is_secret = word in _BEFORE_A_SECRET
    return (*found, *(["…"] if len(given) > MOST_WORDS else []))


_BEFORE_A_SECRET = frozenset({"--password", "--token", "--secret", "--api-key", "-p", "--passphrase"})
