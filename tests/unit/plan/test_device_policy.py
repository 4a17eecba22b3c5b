"""Ordered device rules, what they amount to, and the program that says the same (run here by a small interpreter)."""

from __future__ import annotations

import struct
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.plan import devices
from pilot.plan.devices import Device
from pilot.spec.resources import DeviceRule


def _rule(
    allow: bool, kind: str, major: int | None = None, minor: int | None = None, access: str = "rwm"
) -> DeviceRule:
    return DeviceRule(allow, kind, major, minor, access)


def test_nothing_is_allowed_at_first() -> None:
    assert devices.plan_policy([]) == devices.DevicePolicy(False, ())


def test_later_rules_over_earlier_ones() -> None:
    policy = devices.plan_policy(
        [
            _rule(True, "c", 1, 3),
            _rule(False, "c", 1, 3, "w"),
            _rule(True, "b", 8, None, "r"),
            _rule(True, "b", 8, None, "m"),
        ]
    )
    assert policy.exceptions == ((Device("c", 1, 3), "rm"), (Device("b", 8, None), "rm"))


def test_a_rule_for_all_forgets_the_others() -> None:
    policy = devices.plan_policy([_rule(True, "c", 1, 3), _rule(True, "a"), _rule(False, "c", 5, 1, "w")])
    assert policy == devices.DevicePolicy(True, ((Device("c", 5, 1), "w"),))


def test_negative_numbers_are_every_number() -> None:
    assert devices.plan_policy([_rule(True, "c", -1, -1)]).exceptions == ((Device("c", None, None), "rwm"),)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([_rule(True, "c", 1, None), _rule(False, "c", 1, 3)], "cannot be expressed"),
        ([_rule(True, "x")], "unknown device type"),
        ([_rule(True, "c", 1, 3, "")], "access cannot be empty"),
        ([_rule(True, "c", 1, 3, "rx")], "unknown access"),
        ([_rule(False, "a", None, None, "w")], "all access"),
        ([_rule(False, "a", 1, None)], "all devices"),
        ([_rule(False, "a", 0, 0)], "all devices"),
    ],
)
def test_what_cannot_be_said_is_refused(rules: list[DeviceRule], problem: str) -> None:
    with pytest.raises(errors.SpecError, match=problem):
        devices.plan_policy(rules)


def test_a_hole_in_other_access_is_none() -> None:
    policy = devices.plan_policy([_rule(True, "c", 1, None, "m"), _rule(False, "c", 1, 3, "rw")])
    assert policy.exceptions == ((Device("c", 1, None), "m"),)


# ---- the program ------------------------------------------------------------------------------------------------


def _run(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """The few instructions that a policy compiles to."""
    memory = struct.pack("<III", access << 16 | kind, major, minor)
    registers = [0] * 11
    at = 0
    while True:
        opcode, both, offset, immediate = struct.unpack_from("<BBhI", program, at * 8)
        target, source = both & 15, both >> 4
        at += 1
        if opcode == 0x61:
            registers[target] = struct.unpack_from("<I", memory, offset)[0]
        elif opcode == 0xB7:
            registers[target] = immediate
        elif opcode == 0xBF:
            registers[target] = registers[source]
        elif opcode == 0x57:
            registers[target] &= immediate
        elif opcode == 0x77:
            registers[target] >>= immediate
        elif opcode == 0x55:
            at += offset if registers[target] != immediate else 0
        elif opcode == 0x5D:
            at += offset if registers[target] != registers[source] else 0
        elif opcode == 0x15:
            at += offset if registers[target] == immediate else 0
        elif opcode == 0x95:
            return registers[0]
        else:
            raise AssertionError(f"opcode {opcode:#x}")


def _allows(policy: devices.DevicePolicy, kind: str, wanted: frozenset[str], major: int, minor: int) -> bool:
    """What a policy means, said another way."""
    for device, access in policy.exceptions:
        same = device.type == kind and device.major in {None, major} and device.minor in {None, minor}
        if same and (wanted & set(access) if policy.allow else wanted <= set(access)):
            return not policy.allow
    return policy.allow


_RULES = st.lists(
    st.builds(
        DeviceRule,
        allow=st.booleans(),
        type=st.sampled_from("bc"),
        major=st.sampled_from([None, 1, 2]),
        minor=st.sampled_from([None, 1, 2]),
        access=st.sampled_from(["r", "w", "m", "rw", "rwm"]),
    ),
    max_size=5,
)


@given(start=st.booleans(), rules=_RULES)
def test_the_program_answers_as_the_policy(start: bool, rules: list[DeviceRule]) -> None:
    try:
        policy = devices.plan_policy([DeviceRule(allow=start, access="rwm"), *rules])
    except errors.SpecError:
        return
    program = devices.compile_policy(policy)
    bits = {"m": 1, "r": 2, "w": 4}
    for kind, access, major, minor in product("bc", ["m", "r", "w", "rw"], (1, 2, 3), (1, 2, 3)):
        word = sum(bits[c] for c in access)
        expected = _allows(policy, kind, frozenset(access), major, minor)
        assert _run(program, {"b": 1, "c": 2}[kind], word, major, minor) == expected
