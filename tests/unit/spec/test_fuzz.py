"""A config.json that somebody damaged: whatever is in it, there is a SpecError that names the place, or a Spec.

A valid document that has everything is changed at one or two places, to a value of another kind or of the same kind
and out of range; what is still accepted must also be planned, or refused by a PilotError.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support import full_config

from pilot import errors
from pilot.plan import cgroup, create, seccomp
from pilot.plan.facts import CgroupLayout, CgroupMount, HostFacts
from pilot.plan.identity import Ending
from pilot.spec import parse
from pilot.spec.config import Spec

T = TypeVar("T")
Place = tuple[str | int, ...]

_PATH = re.compile(r"\$[^\s]*")
_CONTROLLERS = frozenset(
    {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "rdma", "net_cls", "net_prio", "devices"}
)
_FACTS = HostFacts(
    lsms=frozenset({"apparmor", "selinux"}),
    cgroup_layout=CgroupLayout.HYBRID,
    cgroup_controllers=_CONTROLLERS,
    cgroup_mounts=(
        CgroupMount("/sys/fs/cgroup/all", tuple(sorted(_CONTROLLERS - {"hugetlb"})), 1),
        CgroupMount("/sys/fs/cgroup/unified", ("hugetlb",), 2),  # whose file the document sets in `unified`
    ),
)
# What is most likely to be taken for something else.
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**200, -(2**63), -(2**200),
    0.5, 1.0, 1e300, "", "0", "-", "/", ".", "..", "../..", "a\0b", "\ud800", "a" * 5000, "é", "0-99999999999", "1-",
    "=", "x=", "SCMP_ACT_NOTIFY", "rbind", "idmap", "remount", "proc", "/proc", "/proc/self/x", "/sys", "/dev",
    "cgroup", "bind", "tmpfs", [], {}, [[]], [{}], [None], {"": ""}, {"a": None}, {"type": "user", "path": "/x"},
    ["a\0b"], ["\udfff"],
)  # fmt: skip
_ODDITIES = st.one_of(
    st.sampled_from(_ODD), st.integers(), st.text(max_size=12), st.lists(st.sampled_from(_ODD), max_size=3)
)


def _places(value: Any, at: Place = ()) -> list[Place]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, child in children for place in _places(child, (*at, name)))]


_BASE = full_config.full_config()
_PLACES = _places(_BASE)


def _change(document: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    target = document
    try:
        for name in place[:-1]:
            target = target[name]
        target[place[-1]] = copy.deepcopy(value)
    except (KeyError, IndexError, TypeError):
        pass  # an earlier change took this place away
    return document


def _attempt(decide: Callable[[], T]) -> tuple[T | None, errors.PilotError | None]:
    """What was decided, or how it was refused; any other exception is a bug."""
    try:
        return decide(), None
    except errors.PilotError as error:
        return None, error


def _plan(spec: Spec) -> None:
    """All that is decided before anything is done."""
    spec = msgspec.structs.replace(spec, linux=msgspec.structs.replace(spec.linux, intel_rdt=None))
    where = cgroup.plan_placement(spec.linux.cgroups_path, "web")
    cgroup.plan_limits(spec.linux.resources, _FACTS)
    if spec.linux.seccomp is not None:
        seccomp.plan_filter(spec.linux.seccomp).digest()
    options = create.CreateOptions(
        id="web",
        bundle="/bundle",
        rootfs="/bundle/rootfs",
        ending=Ending(("PATH=/bin",)),
        cgroup_paths=tuple((mount, f"{mount.mount_point}/{where.path}") for mount in _FACTS.cgroup_mounts),
    )
    plan = create.plan_create(spec, _FACTS, options)
    plan.describe()
    plan.program.encode()


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(_PLACES), _ODDITIES), min_size=1, max_size=2))
@example([(("process", "args", 0), "a\0b")])
@example([(("linux", "memoryPolicy", "nodes"), "0-99999999999")])
@example([(("process", "user", "additionalGids", 0), 2**40)])
def test_a_damaged_config(changes: list[tuple[Place, Any]]) -> None:
    document: Any = full_config.full_config()
    for place, value in changes:
        document = _change(document, place, value)
    spec, refusal = _attempt(lambda: parse.parse_spec(json.dumps(document)))
    if spec is None:
        assert isinstance(refusal, errors.SpecError)
        assert _PATH.match(refusal.path)
    else:
        _, refusal = _attempt(lambda: _plan(spec))
    assert "\n" not in str(refusal)


def test_the_document_that_is_damaged_is_whole() -> None:
    spec = parse.parse_spec(json.dumps(_BASE))
    _plan(spec)
    assert parse.parse_spec(parse.format_spec(spec)) == spec


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=64) | st.text(max_size=64))
@example("[" * 20000)
@example('{"ociVersion": NaN}')
@example(b'"\xff"')
def test_what_is_no_document(text: str | bytes) -> None:
    spec, refusal = _attempt(lambda: parse.parse_spec(text))
    assert spec is None
    assert isinstance(refusal, errors.SpecError)
