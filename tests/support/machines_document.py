"""The served document of the Machines API as what answers are held against, field by field."""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import jsonschema

from pilot.host.api.machines import answers, calls, document

JSON = dict[str, Any]


@functools.cache
def served() -> JSON:
    """As pilotd serves it, but that answers have no field that it does not tell."""
    found: JSON = copy.deepcopy(document.document(calls.CALLS))
    for name, kind in vars(answers).items():
        if isinstance(kind, type) and name in found["components"]["schemas"]:
            found["components"]["schemas"][name]["additionalProperties"] = False
    return found


@functools.cache
def _paths() -> list[tuple[re.Pattern[str], JSON]]:
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), item) for path, item in served()["paths"].items()]


def check(method: str, path: str, status: int, answer: object) -> None:
    """AssertionError when a call of that path does not answer so. `answer` None: without a body."""
    item = next((item for shape, item in _paths() if shape.fullmatch(path.partition("?")[0])), {})
    operation = item.get(method.lower())
    if operation is None:
        return  # it is refused, by whatever does that
    told = operation["responses"].get(str(status))
    assert told is not None or status >= 400, f"{method} {path}: {status} is not in the document"
    content = (told or operation["responses"]["default"]).get("content")
    assert (content is None) == (answer is None), f"{method} {path}: {status}: {answer!r}"
    if content is not None:
        schema = {**content["application/json"]["schema"], "components": served()["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer)
