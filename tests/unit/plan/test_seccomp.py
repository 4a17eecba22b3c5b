"""Profiles as numbers."""

from __future__ import annotations

import errno

import pytest

from pilot import errors
from pilot.plan import seccomp
from pilot.spec.seccomp import Seccomp, SyscallArgument, SyscallRule


def _profile(*rules: SyscallRule, **more: object) -> Seccomp:
    return Seccomp(**{"default_action": "SCMP_ACT_ERRNO", "syscalls": rules, **more})  # type: ignore[arg-type]


def test_errno_is_part_of_the_action() -> None:
    plan = seccomp.plan_filter(_profile(SyscallRule(("a", "b"), "SCMP_ACT_TRACE", 3)))
    assert plan.default == 0x00050000 | errno.EPERM
    assert plan.rules == (seccomp.Rule("a", 0x7FF00003), seccomp.Rule("b", 0x7FF00003))


def test_rules_that_say_what_the_default_says_are_left_out_but_known() -> None:
    plan = seccomp.plan_filter(
        _profile(SyscallRule(("a",), "SCMP_ACT_ERRNO"), SyscallRule(("b",), "SCMP_ACT_ERRNO", 2))
    )
    assert [rule.name for rule in plan.rules] == ["b"]
    assert plan.names == ("a", "b")


@pytest.mark.parametrize(
    ("action", "default_errno", "wanted"),
    [
        ("SCMP_ACT_ERRNO", None, True),
        ("SCMP_ACT_ERRNO", 1, True),
        ("SCMP_ACT_ERRNO", errno.ENOSYS, False),
        ("SCMP_ACT_KILL", None, True),
        ("SCMP_ACT_ALLOW", None, False),
        ("SCMP_ACT_LOG", None, False),
    ],
)
def test_when_unknown_calls_answer_enosys(action: str, default_errno: int | None, wanted: bool) -> None:
    plan = seccomp.plan_filter(Seccomp(default_action=action, default_errno_ret=default_errno))
    assert plan.unknown_is_enosys is wanted


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(None, 4), ((), 0), (("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"), 2)],
)
def test_flags(flags: tuple[str, ...] | None, expected: int) -> None:
    assert seccomp.plan_filter(_profile(flags=flags)).flags == expected


def test_a_listener_changes_the_flags() -> None:
    notify = SyscallRule(("mount",), "SCMP_ACT_NOTIFY")
    plan = seccomp.plan_filter(_profile(notify, flags=("SECCOMP_FILTER_FLAG_LOG",), listener_path="/l"))
    assert plan.flags == 2 | 8
    assert plan.notifies


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        (_profile(default_action="SCMP_ACT_MAYBE"), "$.linux.seccomp.defaultAction"),
        (_profile(default_action="SCMP_ACT_NOTIFY", listener_path="/l"), "$.linux.seccomp.defaultAction"),
        (_profile(default_action="SCMP_ACT_ALLOW", default_errno_ret=1), "$.linux.seccomp.defaultErrnoRet"),
        (_profile(default_errno_ret=70000), "$.linux.seccomp.defaultErrnoRet"),
        (_profile(architectures=("SCMP_ARCH_VAX",)), "$.linux.seccomp.architectures"),
        (_profile(flags=("NEVER",)), "$.linux.seccomp.flags"),
        (_profile(SyscallRule(("a",), "x")), "$.linux.seccomp.syscalls[0].action"),
        (_profile(SyscallRule(("a",), "SCMP_ACT_KILL", 1)), "$.linux.seccomp.syscalls[0].errnoRet"),
        (
            _profile(SyscallRule(("a",), "SCMP_ACT_ALLOW", None, (SyscallArgument(6, 0, "SCMP_CMP_EQ"),))),
            "$.linux.seccomp.syscalls[0].args.index",
        ),
        (
            _profile(SyscallRule(("a",), "SCMP_ACT_ALLOW", None, (SyscallArgument(0, 0, "=="),))),
            "$.linux.seccomp.syscalls[0].args.op",
        ),
        (
            _profile(SyscallRule(("a",), "SCMP_ACT_ALLOW", None, (SyscallArgument(0, -1, "SCMP_CMP_EQ"),))),
            "$.linux.seccomp.syscalls[0].args.value",
        ),
        (_profile(SyscallRule(("a",), "SCMP_ACT_NOTIFY")), "$.linux.seccomp.listenerPath"),
        (_profile(SyscallRule(("write",), "SCMP_ACT_NOTIFY"), listener_path="/l"), "$.linux.seccomp.syscalls"),
        (_profile(listener_metadata="m"), "$.linux.seccomp.listenerMetadata"),
    ],
)
def test_what_is_wrong_is_named(profile: Seccomp, path: str) -> None:
    with pytest.raises(errors.SpecError) as raised:
        seccomp.plan_filter(profile)
    assert raised.value.path == path


def test_the_digest_tells_plans_apart() -> None:
    plans = [
        seccomp.plan_filter(_profile(SyscallRule((name,), "SCMP_ACT_ALLOW"), flags=flags))
        for name in ("a", "b")
        for flags in ((), ("SECCOMP_FILTER_FLAG_LOG",))
    ]
    assert len({plan.digest() for plan in plans}) == 4
    assert plans[0].digest() == seccomp.plan_filter(_profile(SyscallRule(("a",), "SCMP_ACT_ALLOW"), flags=())).digest()
