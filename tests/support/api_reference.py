"""docs/reference/pilot-api.md: every operation of the pilot API, what it is, and on which isolation; made, not written.

    .venv/bin/python -m tests.support.api_reference      writes it; tests/checks/test_api_reference.py holds it to that

From the table (`wire/operations.py`), the document (summaries) and the kit's own table of what an isolation cannot
(`conformance/expect.BEYOND`), so it says what is asked and tested, and nothing else.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from pilot.conformance import expect, promises, report
from pilot.wire import operations
from pilot.wire.operations import AnyOperation
from pilot.wire.permissions import Permission
from tests.support import contract

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "pilot-api.md"
_HEAD = """# The pilot API, operation by operation

Made from `src/pilot/wire/operations.py`, `api/pilot.openapi.yaml` and the conformance kit; do not edit
(`python -m tests.support.api_reference`). Bodies are in the OpenAPI document, what they mean in `joints.md` 5 and
`graph.md`.

*Isolation*: + can, – answers 412 `failed_precondition`, as the kit expects of it. *Who*: `host` is whoever holds the
machine; everything else may be granted to a principal. *Once*: may carry a `Pilot-Request-Id`. *Promises*: how many the
kit asks for, beside those that it derives from the table.
"""
_ISOLATIONS = ("container", "vm")


def page() -> str:
    """All of it."""
    return "\n".join([_HEAD, f"{len(operations.OPERATIONS)} operations, {len(promises.ALL)} promises.\n", *_groups()])


def _groups() -> Iterator[str]:
    names = dict.fromkeys(report.group_of(row.id) for row in operations.OPERATIONS)
    for name in names:
        rows = [row for row in operations.OPERATIONS if report.group_of(row.id) == name]
        yield f"## {name}\n"
        yield f"| operation | | who | once | {' | '.join(_ISOLATIONS)} | promises | what |"
        yield f"|---|---|---|---|{'---|' * len(_ISOLATIONS)}---|---|"
        yield from (_line(row) for row in rows)
        yield ""


def _line(row: AnyOperation) -> str:
    method = f"{row.method} (WS)" if row.websocket else row.method
    who = "host" if row.permission is Permission.HOST else row.permission.value
    can = " | ".join("–" if row.id in expect.BEYOND[isolation] else "+" for isolation in _ISOLATIONS)
    asked = sum(promise.operation == row.id for promise in promises.ALL)
    derived = sum(promise.operation == row.id for promise in (*promises.derived.methods(), *promises.derived.bodies()))
    once = "+" if _can_repeat(row) else ""
    return f"| `{row.id}` | {method} `{row.path}` | {who} | {once} | {can} | {asked - derived} | {_summary(row)} |"


def _can_repeat(row: AnyOperation) -> bool:
    return not (row.method == "GET" or row.websocket or row.lines or row.asked is bytes)


def _summary(row: AnyOperation) -> str:
    """The first sentence."""
    for item in contract.document()["paths"].values():
        for each in item.values():
            if isinstance(each, dict) and each.get("operationId") == row.id:
                return str(each["summary"]).partition(". ")[0].rstrip(".").replace("|", "\\|")
            if isinstance(each, dict) and each.get("x-websocket", {}).get("operationId") == row.id:
                return str(each["x-websocket"].get("summary", each["summary"])).rstrip(".").replace("|", "\\|")
    raise KeyError(row.id)


if __name__ == "__main__":
    PAGE.write_text(page())
