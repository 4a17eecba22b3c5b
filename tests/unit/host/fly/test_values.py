"""A Machine's config as values: what is acted upon, what is refused, and what pilot is asked for."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.host.api.machines import bodies
from pilot.host.fly import checks, containers
from pilot.host.fly import config as configs
from pilot.host.fly.containers import Given, ImageOf, Platform
from pilot.host.services import fly
from pilot.host.vmm import Size
from pilot.image.oci.documents import Execution
from pilot.wire import graph

_IMAGE = ImageOf("app", "docker.io/library/box:1", f"sha256:{'0' * 64}", "image-0", Execution(
    cmd=("serve",), entrypoint=("/entry",), env=("A=image", "B=image", "FLY_REGION=image"), user="app",
    working_dir="/srv", stop_signal="SIGQUIT",
))  # fmt: skip
_SECRETS = {"B": "secret", "KEY": base64.b64encode(b"key").decode(), "FLY_REGION": "moon!"}
_PLATFORM = Platform("shop", "0123", "v1", "local", "", 256)


def _plan(document: Mapping[str, object], *images: ImageOf) -> graph.GraphRequest:
    config = configs.parse(document)
    found = images or (_IMAGE,)
    given = Given(
        {each.container: f"/run/disks/{each.container}" for each in found},
        {id: f"/run/disks/{id}" for id in configs.volumes(config)},
        _SECRETS,
    )
    return containers.plan(config, found, given, _PLATFORM)


def _one(document: Mapping[str, object]) -> graph.Container:
    (found,) = _plan({"image": "box:1", **document}).containers
    return found


def test_what_the_image_says() -> None:
    found = _one({})
    assert (found.name, found.command, found.user, found.cwd) == ("app", ["/entry", "serve"], "app", "/srv")
    assert found.root == graph.Root(path="/run/disks/app")
    assert found.restart == graph.Restart(policy="on-failure", max_retries=10)
    assert found.stop == graph.Stop(signal="SIGQUIT", timeout_s=5.0)


def test_what_the_config_says_comes_over_it_and_the_platform_over_both() -> None:
    found = _one({"env": {"B": "config", "FLY_APP_NAME": "mine"}, "init": {"cmd": ["other"]}})
    assert found.command == ["/entry", "other"]
    assert (found.environment["A"], found.environment["B"]) == ("image", "secret")
    assert (found.environment["FLY_APP_NAME"], found.environment["FLY_REGION"]) == ("shop", "local")
    assert found.environment["FLY_IMAGE_REF"] == _IMAGE.reference


@pytest.mark.parametrize(
    ("document", "restart"),
    [
        ({"restart": {"policy": "no"}}, graph.Restart(policy="no")),
        ({"restart": {"policy": "always"}}, graph.Restart(policy="always")),
        ({"restart": {"policy": "on-failure", "max_retries": 0}}, graph.Restart(policy="on-failure", max_retries=0)),
        ({"auto_destroy": True}, graph.Restart(policy="no")),
        ({"auto_destroy": True, "restart": {"policy": "always"}}, graph.Restart(policy="always")),
    ],
)
def test_restarts(document: dict[str, object], restart: graph.Restart) -> None:
    assert _one(document).restart == restart


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("15s", 15.0), (2_000_000_000, 2.0), ("1m30s", 90.0), ("", 5.0), ("1h", 300.0)]
)
def test_patience(timeout: object, seconds: float) -> None:
    assert _one({"stop_config": {"signal": "SIGTERM", "timeout": timeout}}).stop == graph.Stop(
        signal="SIGTERM", timeout_s=seconds
    )


def test_files() -> None:
    content = base64.b64encode(b"x").decode()
    (found,) = _one({"files": [{"guest_path": "/etc/x", "raw_value": content, "mode": 0o600}]}).files
    assert (found.path, found.content, found.mode) == ("/etc/x", content, "0600")
    for wrong in ({"guest_path": "/x", "raw_value": "!"}, {"guest_path": "/x", "secret_name": "S"}):
        with pytest.raises(errors.SpecError):
            _one({"files": [wrong]})


def test_secrets_are_variables_of_all_containers_that_name_none() -> None:
    assert _one({}).environment["KEY"] == _SECRETS["KEY"]
    images = [msgspec.structs.replace(_IMAGE, container=name) for name in ("all", "one", "none")]
    named = {"one": [{"env_var": "MINE", "name": "KEY"}], "none": []}
    document = {"containers": [{"name": each.container, "image": "box"} for each in images]}
    for container in document["containers"]:
        if container["name"] in named:
            container["secrets"] = named[container["name"]]  # type: ignore[assignment]
    every, one, none = (each.environment for each in _plan(document, *images).containers)
    assert every["B"] == "secret"
    assert (one["MINE"], one["B"], "KEY" in one) == (_SECRETS["KEY"], "image", False)
    assert none["B"] == "image"


def test_a_secret_as_a_file() -> None:
    (found,) = _one({"files": [{"guest_path": "/key", "secret_name": "KEY"}]}).files
    assert base64.b64decode(found.content) == b"key"
    for wrong in ("ABSENT", "FLY_REGION"):  # which is no base64
        with pytest.raises(errors.SpecError) as raised:
            _one({"files": [{"guest_path": "/key", "secret_name": wrong}]})
        assert "moon!" not in str(raised.value)


def test_secrets_that_there_are_not() -> None:
    image = msgspec.structs.replace(_IMAGE, container="a")
    with pytest.raises(errors.SpecError):
        _plan({"containers": [{"name": "a", "image": "x", "secrets": [{"env_var": "ABSENT"}]}]}, image)


def test_volumes_are_mounted_where_it_is_said() -> None:
    mounts = [{"volume": "vol_1", "path": "/one"}, {"volume": "vol_2", "path": "/two", "name": "data"}]
    assert _one({"mounts": mounts}).mounts == [
        graph.Mount(path="/one", source="/run/disks/vol_1"), graph.Mount(path="/two", source="/run/disks/vol_2"),
    ]  # fmt: skip
    image = msgspec.structs.replace(_IMAGE, container="a")
    inner = [{"name": "vol_1", "path": "/x"}, {"name": "data", "path": "/y"}, {"name": "tmp", "path": "/t"}]
    document = {
        "mounts": [{"volume": "vol_1"}, {"volume": "vol_2", "name": "data"}],
        "volumes": [{"name": "tmp", "temp_dir": {}}],
        "containers": [{"name": "a", "image": "box", "mounts": inner}],
    }
    (container,) = _plan(document, image).containers
    assert container.mounts == [
        graph.Mount(path="/x", source="/run/disks/vol_1"), graph.Mount(path="/y", source="/run/disks/vol_2"),
        graph.Mount(path="/t", volume="tmp"),
    ]  # fmt: skip


_CHECKS: dict[str, object] = {
    "checks": {
        "up": {"type": "http", "port": 80, "path": "/up", "method": "head", "interval": "30s", "timeout": "1s",
               "grace_period": "5s", "headers": [{"name": "A", "values": ["1", "2"]}]},
    },
    "services": [{"internal_port": 81, "checks": [{"type": "tcp"}, {"type": "http", "port": 82, "interval": 1}]}],
}  # fmt: skip


def test_checks() -> None:
    up, tcp, http = _one(_CHECKS).checks
    assert up.http == graph.HttpProbe(port=80, path="/up", method="HEAD", headers={"A": "1, 2"})
    assert (up.interval_s, up.timeout_s, up.grace_period_s, up.unhealthy) == (30.0, 1.0, 5.0, "report")
    assert (tcp.tcp, tcp.http) == (graph.TcpProbe(port=81), None)
    assert (http.http, http.interval_s) == (graph.HttpProbe(port=82), 1.0)


def test_what_checks_have_found_is_told_of_each() -> None:
    config = configs.parse({"image": "x", **_CHECKS})
    names = ["up", "servicecheck-00-tcp-81", "servicecheck-01-http-82"]
    assert [(each.name, each.status) for each in checks.found(config, None)] == [(name, "critical") for name in names]
    own = [each.name for each in checks.plan(config)]
    told = graph.GraphStatus(generation=1, settled=True, containers=[graph.ContainerStatus(
        name="app", status="running", why="", checks=[
            graph.CheckStatus(name=own[0], kind="readiness", status="passing"),
            graph.CheckStatus(name=own[1], kind="readiness", status="failing", failures=1, message="refused"),
            graph.CheckStatus(name=own[2], kind="readiness", status="unknown"),
            graph.CheckStatus(name="up", kind="readiness", status="failing"),  # a container's own
        ],
    )])  # fmt: skip
    found = checks.found(config, told)
    assert [each.status for each in found] == ["passing", "critical", "warning"]
    assert found[1].output == "refused"


def test_checks_are_asked_where_nobody_waits_for_health() -> None:
    images = [msgspec.structs.replace(_IMAGE, container=name) for name in ("db", "web")]
    web = {"name": "web", "image": "x", "depends_on": [{"name": "db", "condition": "healthy"}]}
    db = {"name": "db", "image": "x", "healthchecks": [{"name": "own", "tcp": {"port": 1}}]}
    found = {each.name: each for each in _plan({"containers": [db, web], **_CHECKS}, *images).containers}
    assert [len(found[name].checks) for name in ("db", "web")] == [1, 3]


def test_several_containers() -> None:
    images = [msgspec.structs.replace(_IMAGE, container=name) for name in ("web", "db")]
    document = {
        "env": {"OF": "all"},
        "containers": [
            {
                "name": "web", "image": "box", "env": {"OF": "web"}, "cmd": [],
                "depends_on": [{"name": "db", "condition": "healthy"}], "mounts": [{"name": "tmp", "path": "/t"}],
            },
            {
                "name": "db", "image": "box", "exec": ["/db"], "stop": {"signal": "SIGINT", "timeout": "1s"},
                "healthchecks": [{"http": {"port": 80, "path": "/up"}, "interval": 5000, "unhealthy": "stop"}],
            },
        ],
        "volumes": [{"name": "tmp", "temp_dir": {"size_mb": 4}}],
    }  # fmt: skip
    found = _plan(document, *images)
    web, database = found.containers
    assert (web.command, web.environment["OF"]) == (["/entry"], "web")
    assert web.depends_on == [graph.Dependency(name="db", condition="healthy")]
    assert web.mounts == [graph.Mount(path="/t", volume="tmp")]
    assert (database.command, database.stop) == (["/db"], graph.Stop(signal="SIGINT", timeout_s=1.0))
    (check,) = database.checks
    assert (check.name, check.interval_s, check.unhealthy) == ("check-0", 5000.0, "stop")
    assert check.http == graph.HttpProbe(port=80, path="/up")
    assert found.volumes == [graph.Volume(name="tmp", size_bytes=4 << 20)]


@pytest.mark.parametrize(
    ("guest", "size"),
    [
        (None, Size(256 << 20, 1)),
        ({"cpus": 2, "memory_mb": 1024}, Size(1024 << 20, 2)),
        ({"cpus": 0, "memory_mb": 0}, Size(256 << 20, 1)),
        ({"memory_mb": 64}, Size(128 << 20, 1)),
    ],
)
def test_sizes(guest: object, size: Size) -> None:
    assert configs.size(configs.parse({"image": "x", "guest": guest})) == size


@pytest.mark.parametrize(
    ("document", "is_kept"),
    [
        ({}, False),
        ({"rootfs": {"persist": "never"}}, False),
        ({"rootfs": {"persist": "always"}}, True),
        ({"guest": {"persist_rootfs": "always"}}, True),
        ({"guest": {"persist_rootfs": 2}}, True),
        ({"guest": {"persist_rootfs": 1}}, False),
    ],
)
def test_roots_that_are_kept(document: dict[str, object], is_kept: bool) -> None:
    assert configs.keeps_root(configs.parse({"image": "x", **document})) is is_kept


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "config.image"),
        ({"image": 5}, "config.image"),
        ({"image": "x", "guest": {"gpus": 1}}, "config.guest.gpus"),
        ({"image": "x", "mounts": [{"path": "/d"}]}, "config.mounts[0].volume"),
        ({"image": "x", "mounts": [{"volume": "vol_1"}]}, "config.mounts[0].path"),
        ({"image": "x", "mounts": [{"volume": "vol_1", "path": "//"}]}, "config.mounts[0].path"),
        ({"image": "x", "mounts": [{"path": f"/{n}", "volume": "v"} for n in "ab"]}, "config.mounts[1].volume"),
        ({"image": "x", "mounts": [{"path": "/d", "volume": v} for v in "ab"]}, "config.mounts[1].path"),
        ({"mounts": [{"volume": "v", "path": "/d"}], "containers": [{"name": "a", "image": "x"}]}, "config.mounts[0]"),
        ({"image": "x", "processes": [{"cmd": 5}]}, "config.processes[0].cmd"),
        ({"image": "x", "processes": [{}] * 65}, "config.processes"),
        ({"processes": [{}], "containers": [{"name": "a", "image": "x"}]}, "config.processes"),
        (
            {"image": "x", "processes": [{"env_from": [{"env_var": "A", "field_ref": "b"}]}]},
            "config.processes[0].env_from[0].field_ref",
        ),
        ({"image": "x", "checks": {"up": {"type": "exec"}}}, "config.checks[...].type"),
        ({"image": "x", "checks": {"up": {"type": "tcp", "port": 0}}}, "config.checks[...].port"),
        ({"image": "x", "schedule": "yearly"}, "config.schedule"),
        ({"containers": [{"name": "world", "image": "x"}]}, "config.containers[0].name"),
        ({"containers": [{"name": "a", "image": "x"}] * 2}, "config.containers[0].name"),
        ({"containers": [{"name": "a", "image": "x", "secrets": [{}]}]}, "config.containers[0].secrets[0]"),
        ({"image": "x", "restart": {"policy": "sometimes"}}, "config.restart.policy"),
        ({"image": "x", "volumes": [{"name": "v", "image": "y"}]}, "config.volumes[0]"),
    ],
)
def test_what_is_refused(document: dict[str, object], place: str) -> None:
    with pytest.raises(errors.SpecError) as raised:
        configs.parse(document)
    assert raised.value.path == place or raised.value.path == place.replace("[0]", "[1]")


def test_what_is_not_acted_upon_is_no_reason_to_refuse() -> None:
    document = {"image": "x", "services": [{"internal_port": 80}], "auto_start_machines": True, "metrics": {"port": 1}}
    assert configs.parse(document).image == "x"


_KEYS = st.sampled_from(["image", "containers", "name", "env", "guest", "files", "init", "exec", "restart"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner)))
def test_whatever_is_sent_is_refused_or_read(value: object) -> None:
    document: dict[str, object] = value if isinstance(value, dict) else {"image": value}
    try:
        config = configs.parse(document)
    except errors.SpecError:
        return
    assert configs.images(config)


def test_versions_sort_by_time() -> None:
    first, second = fly.new_version(), fly.new_version()
    assert (len(first), len(second)) == (26, 26)
    assert first[:10] <= second[:10]
    assert first != second


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"command": ["a", "b c"]}, ("a", "b c")),
        ({"cmd": "a 'b c'"}, ("a", "b c")),
        ({"cmd": "x", "command": ["a"]}, ("a",)),
    ],
)
def test_command_lines(body: dict[str, object], words: tuple[str, ...]) -> None:
    assert bodies.words(msgspec.convert(body, type=bodies.Exec)) == words


@pytest.mark.parametrize("body", [{}, {"cmd": ""}, {"cmd": "'"}, {"command": []}])
def test_no_command(body: dict[str, object]) -> None:
    with pytest.raises(errors.PilotError):
        bodies.words(msgspec.convert(body, type=bodies.Exec))


@pytest.mark.parametrize(
    ("body", "signal", "timeout_s"),
    [
        (bodies.StopMachine(), None, None),
        (bodies.StopMachine("SIGINT", "10s"), "SIGINT", 10.0),
        (bodies.StopMachine(9, 1_000_000_000), "9", 1.0),
        (bodies.StopMachine("", ""), None, None),
    ],
)
def test_how_to_stop(body: bodies.StopMachine, signal: str | None, timeout_s: float | None) -> None:
    found = bodies.halt(body)
    assert (found.signal, found.timeout_s) == (signal, timeout_s)


def test_processes_share_the_image_s_root() -> None:
    """Each has its own command, user, variables and secrets; what it does not say, the Machine says."""
    asked: dict[str, object] = {
        "env": {"A": "config"}, "init": {"entrypoint": ["/init"]}, "stop_config": {"signal": "SIGTERM"},
        "processes": [
            {"cmd": ["web"], "env": {"B": "own"}, "env_from": [{"env_var": "WHO", "field_ref": "id"}]},
            {"exec": ["work"], "user": "1000", "ignore_app_secrets": True},
            {"cmd": ["other"], "secrets": [{"env_var": "K", "name": "KEY"}]},
        ],
    }  # fmt: skip
    first, second, third = _plan({"image": "box:1", **asked}).containers
    assert [each.name for each in (first, second, third)] == ["app", "app-1", "app-2"]
    assert {each.root for each in (first, second, third)} == {graph.Root(path="/run/disks/app")}
    assert {each.stop.signal for each in (first, second, third)} == {"SIGTERM"}
    assert (first.command, second.command, third.command) == (["/init", "web"], ["work"], ["/init", "other"])
    assert (first.environment["WHO"], first.environment["B"], first.user) == ("0123", "secret", "app")
    assert (second.user, second.environment["B"], "KEY" in second.environment) == ("1000", "image", False)
    assert (third.environment["K"], "KEY" in third.environment) == (_SECRETS["KEY"], False)
