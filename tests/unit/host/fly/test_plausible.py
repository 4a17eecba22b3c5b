"""What a Machine's config can never begin with is refused at once; what is let through, the machine's agent takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot import errors
from pilot.agent.graph import checking
from pilot.host.fly import checks, containers, plausible
from pilot.host.fly import config as configs
from pilot.host.fly.containers import Given, ImageOf, Platform
from pilot.image.oci.documents import Execution

_PLATFORM = Platform("shop", "0123", "v1", "local", "", 256)


def _is_let_through(document: Mapping[str, object]) -> bool:
    try:
        config = configs.parse(document)
        checks.plan(config)
        plausible.check(config)
    except errors.SpecError:
        return False
    return True


def _ask_the_agent(document: Mapping[str, object]) -> None:
    config = configs.parse(document)
    images = [ImageOf(name, "box:1", "", "", Execution(cmd=("x",))) for name in configs.images(config)]
    roots = {image.container: f"/run/disks/{image.container}" for image in images}
    volumes = {id: f"/run/disks/{id}" for id in configs.volumes(config)}
    planned = containers.plan(config, images, Given(roots, volumes), _PLATFORM)
    checking.check_graph(planned.containers, planned.volumes, "/run")


def _containers(*more: Mapping[str, object]) -> dict[str, object]:
    return {"containers": [{"name": name, "image": "b", **each} for name, each in zip("abcd", more, strict=False)]}


def _needs(*others: str, condition: str = "started") -> dict[str, object]:
    return {"depends_on": [{"name": other, "condition": condition} for other in others]}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"env": {"A=B": "x"}}, "env"), ({"env": {"": "x"}}, "env"), ({"env": {"A": "x\0"}}, "env"),
        ({"files": [{"guest_path": "relative", "raw_value": ""}]}, "files[0].guest_path"),
        ({"files": [{"guest_path": "/x\0", "raw_value": ""}]}, "files[0].guest_path"),
        ({"files": [{"guest_path": "/x", "raw_value": "!!!"}]}, "files[0].raw_value"),
        ({"files": [{"guest_path": "/x"}]}, "files[0]"),
        ({"files": [{"guest_path": "/x", "raw_value": "", "mode": 99999999}]}, "files[0].mode"),
        ({"files": [{"guest_path": "/x", "raw_value": "", "mode": -1}]}, "files[0].mode"),
        ({"init": {"exec": ["x\0"]}}, "exec"), ({"init": {"exec": [""]}}, "exec"),
        ({"stop_config": {"timeout": "-5s"}}, "timeout"), ({"stop_config": {"signal": "SIGWAT"}}, "signal"),
        (_containers(_needs("a")), "a → a"), (_containers(_needs("b"), _needs("a")), "none of them could be started"),
        (_containers(_needs("nobody")), "depends_on[0]"),
        (_containers(_needs("b", condition="healthy"), {}), "no check"),
        (_containers({"user": "a b"}), "containers[0].user"),
        (_containers({"mounts": [{"name": "nothing", "path": "/x"}]}), "mounts[0].name"),
        (_containers({"healthchecks": [{"tcp": {"port": 0}}]}), "healthchecks[0]"),
        (_containers({"healthchecks": [{"name": "a"}]}), "healthchecks[0]"),
        ({"volumes": [{"name": "A b", "temp_dir": {}}]}, "volumes[0].name"),
    ],
)  # fmt: skip
def test_what_can_never_begin(document: dict[str, object], place: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        plausible.check(configs.parse({"image": "box:1", **document}))
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("what", "one"),
    [
        ("containers", lambda n: {"name": f"c{n}", "image": "b"}),
        ("mounts", lambda n: {"volume": f"vol_{n}", "path": f"/{n}"}),
        ("volumes", lambda n: {"name": f"v{n}", "temp_dir": {}}),
        ("processes", lambda n: {"exec": ["x"]}),
    ],
)
def test_there_are_so_many_of_each(what: str, one: Callable[[int], object]) -> None:
    """What is looked through for each of another: a body of some megabytes has a hundred thousand."""
    most = configs.MOST[what]
    plausible.check(configs.parse({"image": "b", what: [one(n) for n in range(most)]}))
    with pytest.raises(errors.SpecError, match=f"config.{what}: more than {most}"):
        configs.parse({"image": "b", what: [one(n) for n in range(most + 1)]})


def test_what_is_decided_when_it_starts_is_let_through() -> None:
    """Secrets may be set between."""
    assert _is_let_through({
        "image": "box:1", "files": [{"guest_path": "/x", "secret_name": "LATER"}], "restart": {"policy": "always"},
    })  # fmt: skip
    assert _is_let_through(_containers({"secrets": [{"env_var": "LATER"}]}, _needs("a")))


_WORDS = st.sampled_from(["", "a", "b", "/x", "x y", "A=B", "\0", "../x", "/a\0", "0", "65536", "TERM", "SIGWAT", "é"])
_NUMBERS = st.sampled_from([-1, 0, 1, 80, 65536, 86_401, 1 << 40, None])
_TIMES = st.one_of(_NUMBERS, st.sampled_from(["5s", "-5s", "x", ""]))


def _some(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=fields)


def _list(of: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(of, max_size=2)


_FILES = _list(_some(guest_path=_WORDS, raw_value=_WORDS, secret_name=_WORDS, mode=_NUMBERS))
_STOP = _some(timeout=_TIMES, signal=_WORDS)
_RESTART = _some(policy=st.sampled_from(["no", "always", "on-failure"]), max_retries=_NUMBERS)
_CHECK = _some(
    name=_WORDS, interval=_NUMBERS, timeout=_NUMBERS, grace_period=_NUMBERS, success_threshold=_NUMBERS,
    failure_threshold=_NUMBERS, tcp=st.fixed_dictionaries({"port": _NUMBERS}),
    http=st.fixed_dictionaries({"port": _NUMBERS}, optional={"path": _WORDS, "method": _WORDS}),
    exec=st.fixed_dictionaries({"command": _list(_WORDS)}),
)  # fmt: skip
_OF_MACHINE = _some(
    type=st.sampled_from(["http", "tcp"]), port=_NUMBERS, interval=_TIMES, timeout=_TIMES, grace_period=_TIMES,
    method=_WORDS, path=_WORDS, headers=_list(st.fixed_dictionaries({"name": _WORDS, "values": _list(_WORDS)})),
)  # fmt: skip
_CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c"]), "image": st.just("box:1")},
    optional={
        "exec": _list(_WORDS), "cmd": _list(_WORDS), "user": _WORDS, "env": st.dictionaries(_WORDS, _WORDS, max_size=2),
        "files": _FILES, "restart": _RESTART, "stop": _STOP, "healthchecks": _list(_CHECK),
        "depends_on": _list(st.fixed_dictionaries({"name": st.sampled_from(["a", "b", "c", "d"])}, optional={
            "condition": st.sampled_from(["started", "healthy", "exited_successfully"])})),
        "mounts": _list(st.fixed_dictionaries({"name": _WORDS, "path": _WORDS})),
    },
)  # fmt: skip
_CONFIG = st.fixed_dictionaries(
    {"image": st.just("box:1")},
    optional={
        "init": _some(exec=_list(_WORDS), entrypoint=_list(_WORDS), cmd=_list(_WORDS)), "restart": _RESTART,
        "env": st.dictionaries(_WORDS, _WORDS, max_size=2), "files": _FILES, "stop_config": _STOP,
        "checks": st.dictionaries(_WORDS, _OF_MACHINE, max_size=2), "containers": _list(_CONTAINER),
        "volumes": _list(st.fixed_dictionaries({"name": _WORDS, "temp_dir": _some(size_mb=_NUMBERS)})),
        "mounts": _list(_some(volume=st.sampled_from(["vol_1", "vol_2"]), path=_WORDS, name=_WORDS)),
    },
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(_CONFIG)
def test_what_is_let_through_the_agent_takes(document: dict[str, object]) -> None:
    if _is_let_through(document):
        _ask_the_agent(document)
