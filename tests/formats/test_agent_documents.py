"""What agents of earlier builds have left in init's store is understood by this one, and the other way round: an agent
of another build is met whenever one takes over from another while the machine runs.

`agent-<version>.jsonl`: lines of [name in the store, document], or for a journal [name, lines], as it wrote them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilot.agent import machine_api, requests, session, world
from pilot.agent.containers import exits, registry
from pilot.agent.graph import state, wanted
from pilot.wire import events

KINDS: dict[str, type[msgspec.Struct]] = {
    r"agent/state": machine_api.AgentState,
    r"agent/events": events.Event,
    r"agent/requests": requests.Answered,
    r"graph/wanted": wanted.Wanted,
    r"container/[^/]+/node": state.Node,
    r"container/[^/]+/exits": exits._Kept,
    r"container/[^/]+/process": registry._Process,
    r"container/[^/]+/session/[^/]+/meta": session.SessionMeta,
    r"container/world/settings": world.Settings,
}
SAMPLES = [
    (path.stem, *json.loads(line))
    for path in sorted(Path(__file__).parent.glob("agent-*.jsonl"))
    for line in path.read_text().splitlines()
]


def _kind(name: str) -> type[msgspec.Struct]:
    (kind,) = (kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, name))
    return kind


def _each(document: Any) -> list[Any]:
    return document if isinstance(document, list) else [document]


@pytest.mark.parametrize(("build", "name", "document"), SAMPLES, ids=[f"{build}-{name}" for build, name, _ in SAMPLES])
def test_a_document_of_another_build_says_the_same_to_this_one(build: str, name: str, document: Any) -> None:
    """And what this one writes of it has all that was there: that build would find what it knew."""
    for each in _each(document):
        read = msgspec.json.decode(json.dumps(each), type=_kind(name))
        assert _lost(each, json.loads(msgspec.json.encode(read))) == []


def _lost(before: Any, after: Any, path: str = "$") -> list[str]:
    """What is not there any more, or is something else."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in before for line in _lost(before[key], after.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for number, pair in pairs for line in _lost(*pair, f"{path}[{number}]")]
    return [] if before == after else [f"{path}: {before!r} was, {after!r} is"]


def test_every_kind_of_document_has_a_sample() -> None:
    assert set(KINDS.values()) == {_kind(name) for _, name, _ in SAMPLES}


def test_what_an_older_agent_leaves_out_has_a_default() -> None:
    """Fields that a sample has not are those that came later."""
    for _, name, document in SAMPLES:
        required = {field.encode_name for field in msgspec.structs.fields(_kind(name)) if field.required}
        for each in _each(document):
            assert required <= set(each), name
