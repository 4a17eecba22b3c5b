"""docs/reference/conformance.md is complete and true: a row for every property, and every test that it names exists."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import full_config
from tests.support.compare.cases import CASES
from tests.support.compare.differences import MEANT

from pilot.cli.main import GLOBAL_OPTIONS, VERBS, load_verb
from pilot.plan import numbers
from pilot.plan import seccomp as seccomp_plan
from pilot.spec import features
from pilot.spec.config import Spec
from pilot.spec.linux import NamespaceType
from pilot.spec.state import ContainerProcessState, State

_TESTS = Path(__file__).parent.parent
_PAGE = _TESTS.parent / "docs/reference/conformance.md"
_ROW = re.compile(r"\| `(?P<property>[^`]+)` \|[^|]*\| (?P<proof>[^|]+) \|")
# Of earlier versions, and not in a document of 1.3.
_GONE = {"linux.intelRdt.enableCMT", "linux.intelRdt.enableMBM"}
_STATES: dict[str, type[msgspec.Struct]] = {"state": State, "containerProcessState": ContainerProcessState}


@functools.cache
def _rows() -> dict[str, list[str]]:
    found = [_ROW.match(line) for line in _PAGE.read_text().splitlines()]
    return {row["property"]: re.findall(r"`([^`]+)`", row["proof"]) for row in found if row is not None}


def _members(kind: Any, at: str = "") -> set[str]:
    """Paths of all members of a document's type, as the specification spells them."""
    if isinstance(kind, msgspec.inspect.StructType):
        names = {f"{at}.{field.encode_name}".lstrip("."): field.type for field in kind.fields}
        return set(names).union(*(_members(inner, name) for name, inner in names.items()))
    if isinstance(kind, msgspec.inspect.UnionType):
        return set().union(*(_members(inner, at) for inner in kind.types))
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return _members(kind.item_type, f"{at}[]")
    if isinstance(kind, msgspec.inspect.DictType):
        return _members(kind.value_type, f"{at}.*")
    return set()


def _paths(value: Any, at: str = "", maps: frozenset[str] = frozenset()) -> set[str]:
    """Paths of all members of a document."""
    if isinstance(value, list):
        return set().union(*(_paths(item, f"{at}[]", maps) for item in value))
    if not isinstance(value, dict):
        return set()
    if at in maps:
        return set().union(*(_paths(item, f"{at}.*", maps) for item in value.values()))
    names = {f"{at}.{name}".lstrip("."): item for name, item in value.items()}
    return set(names).union(*(_paths(item, name, maps) for name, item in names.items()))


_CONFIG = _members(msgspec.inspect.type_info(Spec))
_MAPS = frozenset(
    {"linux.timeOffsets", "linux.netDevices", "linux.sysctl", "linux.resources.rdma", "linux.resources.unified"}
    | {"annotations"}
)


def test_the_full_document_has_every_member_of_our_types() -> None:
    """The document was written from the specification, the types from the code."""
    assert _paths(full_config.full_config(), maps=_MAPS) == _CONFIG - _GONE


def test_every_property_has_a_row() -> None:
    idmappings = {name for name in _CONFIG if re.match(r"mounts\[\]\.[ug]idMappings\[\]", name)}
    states = {
        f"{label}.{field.encode_name}" for label, kind in _STATES.items() for field in msgspec.structs.fields(kind)
    }
    verbs = {f"operation.{verb}" for verb in VERBS}
    leaves = _paths(features.features_document())
    offered = {f"features.{name}" for name in leaves if not any(other.startswith(f"{name}.") for other in leaves)}
    wanted = (_CONFIG - idmappings) | states | verbs | offered
    assert wanted - set(_rows()) == set()
    other = {name for name in _rows() if not name.startswith("runtime.")}
    assert other - wanted == set()


@functools.cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((_TESTS / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("name", sorted(_rows()))
def test_every_proof_is_a_test(name: str) -> None:
    proofs = [proof.partition("::") for proof in _rows()[name]]
    assert proofs
    assert [f"{path}::{test}" for path, _, test in proofs if test not in _functions(path)] == []


def test_every_test_on_the_page_exists() -> None:
    """Also of what is no property."""
    named = set(re.findall(r"`([a-z0-9_/]+\.py)::(\w+)`", _PAGE.read_text()))
    assert {f"{path}::{test}" for path, test in named if test not in _functions(path)} == set()


def _asks_for_another_runtime(node: ast.AST) -> bool:
    """Whether there is a `requires(...)` with runc or crun below the node."""
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "requires"]
    names = {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}
    return bool(names & {"runc", "crun"})


@functools.cache
def _comparisons(path: str) -> frozenset[str]:
    """Tests of a file that run another runtime, by their own marks or the file's."""
    tree = ast.parse((_TESTS / path).read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    marks = [node for node in assigned if getattr(node.targets[0], "id", "") == "pytestmark"]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if any(map(_asks_for_another_runtime, marks)):
        return frozenset(node.name for node in functions)
    return frozenset(node.name for node in functions if any(map(_asks_for_another_runtime, node.decorator_list)))


def _notes() -> dict[str, str]:
    rows = {row["property"]: row.string for row in map(_ROW.match, _PAGE.read_text().splitlines()) if row is not None}
    return {name: line.rstrip(" |").rpartition("|")[2].rpartition(";")[2].strip() for name, line in rows.items()}


def test_every_row_says_whether_another_runtime_was_asked() -> None:
    silent = {name for name, note in _notes().items() if note != "compared" and not note.startswith("alone: ")}
    assert silent == set()


def test_cases_confirm_rows_that_there_are() -> None:
    assert {row for case in CASES.values() for row in case.rows} - set(_rows()) == set()


def test_differences_that_are_meant_are_on_the_page() -> None:
    wanted = {(case, name, why) for case, by_name in MEANT.items() for name, why in by_name.items()}
    lines = re.findall(r"^\| (.+?) \| `(.+?)` \| (.+?) \|$", _PAGE.read_text(), re.MULTILINE)
    shown = {(case, name.replace("\\|", "|"), why) for case, name, why in lines if case in MEANT}
    assert shown == wanted
    assert set(MEANT) - set(CASES) == set()


def test_what_is_called_compared_is_compared() -> None:
    """And nothing that is compared goes without saying so."""
    rows = {row["property"]: row for row in map(_ROW.match, _PAGE.read_text().splitlines()) if row is not None}
    compared = {
        name
        for name, row in rows.items()
        if any(test in _comparisons(path) for path, test in re.findall(r"`([^`]+)::([^`]+)`", row["proof"]))
    }
    compared |= {row for case in CASES.values() for row in case.rows}
    assert {name for name, row in rows.items() if row.string.endswith("compared |")} == compared


def test_features_are_what_is_implemented() -> None:
    """Each list is the table that the code goes by."""
    document: Any = features.features_document()
    linux = document["linux"]
    assert set(document["hooks"]) == set(full_config.full_config()["hooks"])
    assert set(linux["namespaces"]) == {kind.value for kind in NamespaceType} == {k.value for k in numbers.NAMESPACES}
    assert set(linux["seccomp"]["actions"]) == set(seccomp_plan.ACTIONS)
    assert set(linux["seccomp"]["operators"]) == set(seccomp_plan.OPERATORS)
    assert set(linux["seccomp"]["archs"]) == set(seccomp_plan.ARCHITECTURES)
    assert set(linux["seccomp"]["knownFlags"]) == set(seccomp_plan.FLAGS)
    assert set(linux["memoryPolicy"]["modes"]) == set(numbers.MEMORY_POLICIES)
    assert set(linux["memoryPolicy"]["flags"]) == set(numbers.MEMORY_POLICY_FLAGS)
    assert document["potentiallyUnsafeConfigAnnotations"] == [features.SYSTEMD_ANNOTATION]


@pytest.mark.requires("runc")
def test_features_have_all_that_runcs_have() -> None:
    text = subprocess.run(["runc", "features"], capture_output=True, text=True, check=True, timeout=60).stdout
    theirs, ours = json.loads(text), json.loads(json.dumps(features.features_document()))
    assert _paths({**theirs, "annotations": {}}) - _paths(ours) == set()
    for names in (("hooks",), ("mountOptions",), ("linux", "namespaces"), ("linux", "seccomp", "actions")):
        lists = [functools.reduce(lambda value, name: value[name], names, document) for document in (theirs, ours)]
        assert set(lists[0]) - set(lists[1]) == set()


# Of criu beyond what checkpoint and restore are for, and of crun what is of nobody's need; the page says so.
_OPTIONS_LEFT_OUT = {
    ("runc", "restore"): {"console-socket"},
    ("crun", "create"): {"no-subreaper"},
    ("crun", "kill"): {"regex"},
    ("crun", "spec"): {"file"},
}  # fmt: skip


def _offered(runtime: str, *verb: str) -> set[str]:
    """Long options that a runtime's help names, but for those of the help itself."""
    text = subprocess.run([runtime, *verb, "--help"], capture_output=True, text=True, check=False, timeout=60).stdout
    listed = text.rpartition("OPTIONS:")[2]  # what stands before is prose and examples
    return set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", listed)) - {"help", "usage"}


@pytest.mark.requires("runc", "crun")
@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_every_option_of_the_others_is_known(runtime: str) -> None:
    missing = {(runtime, ""): _offered(runtime) - {name for option in GLOBAL_OPTIONS for name in option.names}}
    for verb in set(VERBS) - {"features"}:  # newer than this crun
        missing[runtime, verb] = _offered(runtime, verb) - {
            n for option in load_verb(verb).OPTIONS for n in option.names
        }
    wanted = {place: names for place, names in _OPTIONS_LEFT_OUT.items() if place[0] == runtime}
    assert {place: names for place, names in missing.items() if names} == wanted
