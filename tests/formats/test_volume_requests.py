"""What processes of volumes asked one another in earlier builds is understood by this one, and the other way round:
a process of another build is met whenever volumed or its workers are replaced while disks are in use.

`requests-<version>.jsonl`: lines of [who was asked, request, answer], as they went over the sockets of that version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilot import errors
from pilot.volume.requests import base, to_errand, to_volumed, to_worker, to_zygote

ASKED = {
    "volumed": to_volumed.KINDS,
    "worker": to_worker.KINDS,
    "zygote": to_zygote.KINDS,
    "guard": to_zygote.OF_A_GUARD,
}
Line = tuple[str, Mapping[str, Any], Mapping[str, Any]]


def _samples(version: str = "*") -> list[Line]:
    files = sorted(Path(__file__).parent.glob(f"requests-{version}.jsonl"))
    return [tuple(json.loads(line)) for path in files for line in path.read_text().splitlines()]


def _name(line: Line) -> str:
    to, request, answer = line
    return f"{to}-{request['op']}-{request.get('name', '')}-{answer['ok']}"


def _of(line: Line) -> tuple[base.AnyRequest, type[base.Answer]]:
    """The request, and its answer's type; an errand's is the errand's own."""
    request = ASKED[line[0]].parse(line[1])
    asked = request.errand() if isinstance(request, to_zygote.RunErrand) else request
    return request, base.answer_of(asked)


@pytest.mark.parametrize("line", _samples(), ids=_name)
def test_a_request_is_understood(line: Line) -> None:
    """…and means what it did: nothing of it is lost."""
    request, _ = _of(line)
    assert dict(line[1]).items() <= msgspec.to_builtins(request, str_keys=True).items()


@pytest.mark.parametrize("line", _samples("1"), ids=_name)
def test_who_is_of_the_first_build_is_asked_as_it_knows_it(line: Line) -> None:
    """Its workers refuse a request with a field that they do not know, or without one that they do."""
    request, _ = _of(line)
    assert msgspec.to_builtins(request, str_keys=True) == line[1]


# What answers tell since the first of these samples was made; it has a default.
ADDED = {"quota_bytes", "read_only", "free_bytes"}


def _added(sent: Any, told: Any) -> set[str]:
    """The fields that are in `told` alone. Whatever else differs is an AssertionError."""
    if isinstance(told, dict):
        both: set[str] = set(told) & set(sent)
        return set(told) - both | {name for each in both for name in _added(sent[each], told[each])}
    if isinstance(told, list):
        return {name for one, other in zip(sent, told, strict=True) for name in _added(one, other)}
    assert sent == told
    return set()


@pytest.mark.parametrize("line", [line for line in _samples() if line[2]["ok"]], ids=_name)
def test_an_answer_is_understood(line: Line) -> None:
    _, kind = _of(line)
    answer = base.parse_answer(line[2], kind)
    told = msgspec.to_builtins(answer, str_keys=True)
    assert _added(line[2], told) <= ADDED
    assert line[2].keys() - told.keys() <= {"error"}  # a guard's reason, which goes without saying


@pytest.mark.parametrize("line", [line for line in _samples() if not line[2]["ok"]], ids=_name)
def test_a_failure_is_the_error_that_it_was(line: Line) -> None:
    _, kind = _of(line)
    with pytest.raises((errors.PilotError, OSError)) as raised:
        base.parse_answer(line[2], kind)
    wanted = OSError if "errno" in line[2] else getattr(errors, line[2].get("kind", "PilotError"))
    assert type(raised.value) is wanted
    assert str(raised.value).endswith(line[2]["error"])


@pytest.mark.parametrize("line", _samples(), ids=_name)
def test_what_a_later_build_adds_is_left_out(line: Line) -> None:
    later = {"of_a_later_build": [1]}
    request, kind = _of(line)
    assert ASKED[line[0]].parse({**line[1], **later}) == request
    if line[2]["ok"]:
        assert base.parse_answer({**line[2], **later}, kind) == base.parse_answer(line[2], kind)


def test_each_request_has_a_sample() -> None:
    asked = {(to, request["op"]) for to, request, _ in _samples()}
    assert {(to, base.op_of(kind)) for to, kinds in ASKED.items() for kind in kinds} == asked
    errands = {request["name"] for _, request, _ in _samples() if request["op"] == "errand"}
    assert {base.op_of(kind) for kind in to_errand.KINDS} == errands
