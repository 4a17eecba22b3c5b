"""Network policy of a sprite: rules of names, as the Sprites API has them. Pure.

    {"rules": [{"domain": "github.com", "action": "allow"}, {"domain": "*.github.com", "action": "deny"},
               {"include": "defaults"}]}

The most exact rule decides: a name beats `*.a.b`, which beats `*.b`, which beats `*`. `*.b` speaks of everything below
b, not of b itself. At the same exactness a rule beats one that was included. A name that no rule speaks of is denied.
No rules at all are no policy, and nothing is restricted by it.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import re
from collections.abc import Mapping, Sequence

from ... import errors

MOST_RULES = 10_000
DEFAULTS = "defaults"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_KEYS = ({"domain", "action"}, {"include"})


class Action(enum.Enum):
    ALLOW = "allow"
    DENY = "deny"


class Egress(enum.Enum):
    """What a host lets its sprites do at most."""

    NONE = "none"
    POLICY = "policy"
    OPEN = "open"


@dataclasses.dataclass(frozen=True)
class Rule:
    """`domain` is in lower case, without a dot at its end: a name, `*.name` or `*`."""

    domain: str
    action: Action


@dataclasses.dataclass(frozen=True)
class Policy:
    """As it was given. `entries`: rules, and None where the operator's list is included."""

    entries: tuple[Rule | None, ...] = ()

    def as_json(self) -> dict[str, list[dict[str, str]]]:
        """What `parse` takes."""
        return {"rules": [_entry(entry) for entry in self.entries]}


@dataclasses.dataclass(frozen=True)
class Decision:
    """`rule` is the domain of the rule that decided; None: none spoke of the name."""

    action: Action
    rule: str | None


@dataclasses.dataclass(frozen=True)
class Effective:
    """What is in force. `rules` None: whatever is not forbidden to all; {}: nothing."""

    rules: Mapping[str, Action] | None

    def decide(self, name: str) -> Decision:
        """Of a question for `name`; capitals and a dot at the end make no difference."""
        if self.rules is None:
            return Decision(Action.ALLOW, None)
        for domain in _candidates(name.rstrip(".").lower()):
            if domain in self.rules:
                return Decision(self.rules[domain], domain)
        return Decision(Action.DENY, None)


CLOSED = Effective({})


def effective(policy: Policy, egress: Egress, defaults: Sequence[Rule]) -> Effective:
    """`egress` is a ceiling: under `policy` a sprite without rules has the operator's list."""
    if egress is Egress.NONE:
        return CLOSED
    if policy.entries:
        included = defaults if None in policy.entries else ()
        return _compiled((*included, *(entry for entry in policy.entries if entry is not None)))
    return Effective(None) if egress is Egress.OPEN else _compiled(defaults)


def _compiled(rules: Sequence[Rule]) -> Effective:
    return Effective({rule.domain: rule.action for rule in rules})


def _candidates(name: str) -> list[str]:
    labels = name.split(".")
    return [name, *("*." + ".".join(labels[start:]) for start in range(1, len(labels))), "*"]


def _entry(entry: Rule | None) -> dict[str, str]:
    return {"include": DEFAULTS} if entry is None else {"domain": entry.domain, "action": entry.action.value}


# ---- parsing --------------------------------------------------------------------------------------------------------


def parse(document: object) -> Policy:
    """`SpecError` with the place for what is no policy."""
    if not isinstance(document, dict):
        raise errors.SpecError("$", "policy must be an object")
    unknown = sorted(set(document) - {"rules"})
    if unknown:
        raise errors.SpecError(f"$.{unknown[0]}", "unknown field")
    rules = document.get("rules")
    if not isinstance(rules, list):
        raise errors.SpecError("$.rules", "must be a list")
    if len(rules) > MOST_RULES:
        raise errors.SpecError("$.rules", f"{len(rules)} rules are too many: {MOST_RULES} are the most")
    entries = tuple(_parse_entry(entry, f"$.rules[{index}]") for index, entry in enumerate(rules))
    _refuse_contradictions(entries)
    return Policy(entries)


def _parse_entry(entry: object, path: str) -> Rule | None:
    if not isinstance(entry, dict):
        raise errors.SpecError(path, "must be an object")
    if set(entry) not in _KEYS:
        raise errors.SpecError(path, "must have either domain and action, or include")
    if "include" in entry:
        if entry["include"] != DEFAULTS:
            raise errors.SpecError(f"{path}.include", f"there is no list {entry['include']!r}", hint="defaults")
        return None
    actions = {action.value: action for action in Action}
    action = entry["action"]
    if not isinstance(action, str) or action not in actions:
        raise errors.SpecError(f"{path}.action", "must be allow or deny")
    return Rule(parse_domain(entry["domain"], f"{path}.domain"), actions[action])


def parse_domain(domain: object, path: str) -> str:
    """A rule's domain as it is compared; `SpecError` for what cannot be one."""
    if not isinstance(domain, str):
        raise errors.SpecError(path, "must be a text")
    bare = domain.lower().removesuffix(".").removeprefix("*.")
    if domain.strip() == "*":
        return "*"
    if _is_address(bare):
        raise errors.SpecError(path, f"{domain!r} is an address: rules are of names")
    try:
        name = bare if bare.isascii() else bare.encode("idna").decode()
    except UnicodeError as error:
        raise errors.SpecError(path, f"{domain!r} is not a domain") from error
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise errors.SpecError(path, f"{domain[:80]!r} is not a domain", hint="a name, *.name or *")
    return f"*.{name}" if domain.startswith("*.") else name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _refuse_contradictions(entries: Sequence[Rule | None]) -> None:
    seen: dict[str, Action] = {}
    for index, entry in enumerate(entries):
        if entry is not None and seen.setdefault(entry.domain, entry.action) is not entry.action:
            raise errors.SpecError(f"$.rules[{index}]", f"{entry.domain} was said to be {seen[entry.domain].value}")


def parse_defaults(text: str) -> tuple[Rule, ...]:
    """The operator's list: a domain a line, allowed; `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(
        Rule(parse_domain(line, f"line {number}"), Action.ALLOW) for number, line in enumerate(lines, 1) if line
    )
