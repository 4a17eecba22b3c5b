"""What `sprite network` says: rules from words, and a report as lines. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


def rules(allow: Sequence[str], deny: Sequence[str], defaults: bool) -> dict[str, list[dict[str, str]]]:
    """The policy that these words ask for."""
    listed = [{"domain": domain, "action": "allow"} for domain in allow]
    listed += [{"domain": domain, "action": "deny"} for domain in deny]
    return {"rules": listed + ([{"include": "defaults"}] if defaults else [])}


def rule_rows(policy: dict[str, Any]) -> list[tuple[str, str]]:
    """(action, domain) of each."""
    return [
        ("include", rule["include"]) if "include" in rule else (rule["action"], rule["domain"])
        for rule in policy["rules"]
    ]


def log_lines(report: dict[str, Any]) -> Iterator[str]:
    """The latest questions, oldest first, then refused addresses, then sums."""
    for line in report["decisions"]:
        words = [line["at"], line["decision"], line["type"], line["name"], *line.get("addresses", ())]
        yield "  ".join(words) + (f"  (rule {line['rule']})" if line.get("rule") else "")
    for refused in report["refused"]:
        yield f"refused  {refused['protocol']}  {refused['address']} port {refused['port']}"
    yield "packets: " + ", ".join(f"{count} {name}" for name, count in sorted(report["packets"].items()))
    yield "questions: " + (
        ", ".join(f"{count} {name}" for name, count in sorted(report["questions"].items())) or "none"
    )
