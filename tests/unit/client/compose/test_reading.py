"""Compose files as Machines: what becomes of each form, and where what is refused is."""

from __future__ import annotations

import base64
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilot import errors
from pilot.client.machines import composing
from pilot.client.machines.compose import dotenv, interpolation, keys, reading
from pilot.client.machines.compose.files import Files
from pilot.client.machines.compose.reading import Plan
from pilot.host.fly import checks, plausible
from pilot.host.fly import config as configs
from pilot.host.fly import refused as refused_configs
from pilot.host.fly import services as fly_services

ENVIRONMENT = {"TAG": "1.27", "EMPTY": "", "PASSWORD": "secret"}
FILES = {"/base/one.txt": b"content", "/base/web.env": b"FROM_FILE=1\nBOTH=file\n# a comment\nexport QUOTED='a $b'\n"}


def _read(path: str) -> tuple[bytes, int]:
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path], 0o640


def plan(text: str, environment: Mapping[str, str] = ENVIRONMENT) -> Plan:
    """What it becomes; all of that is what the server takes."""
    found = reading.plan(text.encode(), "compose.yaml", Files("/base", environment, _read))
    mounts = [{"volume": f"vol_{name}", "name": name} for name in found.volumes]
    _check_at_the_server({**found.config, **({"mounts": mounts} if mounts else {})})
    return found


def _check_at_the_server(document: dict[str, Any]) -> None:
    """It takes what has been taken here: what it would refuse is refused before, with its place."""
    try:
        config = configs.parse(document)
        checks.plan(config)
        fly_services.plan(config)
        plausible.check(config)
        refused_configs.check(config)
    except errors.SpecError as error:
        raise AssertionError(f"{error}: {document}") from error


def service(text: str, **environment: str) -> dict[str, Any]:
    """The container of a service that has an image and these lines."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    found = plan(f"services:\n  web:\n    image: nginx\n{lines}", {**ENVIRONMENT, **environment})
    container: dict[str, Any] = found.config["containers"][0]
    return container


def refused(text: str) -> str:
    with pytest.raises(errors.SpecError) as caught:
        plan(text)
    return str(caught.value)


BASE = {"name": "web", "image": "nginx", "restart": {"policy": "no"}, "stop": {"timeout": "10s"}}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("command: nginx -g 'daemon off;'", {"cmd": ["nginx", "-g", "daemon off;"]}),
        ("command: [nginx, -t]", {"cmd": ["nginx", "-t"]}),
        ("entrypoint: /bin/entry --now", {"entrypoint": ["/bin/entry", "--now"]}),
        ("user: 1000:1000", {"user": "1000:1000"}),
        ("environment: {A: 1, B: 1.10, C: on, D: true, E: '', PASSWORD: }",
         {"env": {"A": "1", "B": "1.10", "C": "on", "D": "true", "E": "", "PASSWORD": "secret"}}),
        ("environment: [A=1, B=, C=a=b, PASSWORD, NOT_SET]",
         {"env": {"A": "1", "B": "", "C": "a=b", "PASSWORD": "secret"}}),
        ("env_file: web.env\nenvironment: {BOTH: said}",
         {"env": {"FROM_FILE": "1", "BOTH": "said", "QUOTED": "a $b"}}),
        ("env_file: [{path: none.env, required: false}, {path: web.env}]",
         {"env": {"FROM_FILE": "1", "BOTH": "file", "QUOTED": "a $b"}}),
        ("restart: unless-stopped", {"restart": {"policy": "always"}}),
        ("restart: on-failure:3", {"restart": {"policy": "on-failure", "max_retries": 3}}),
        ("restart: 'no'", {}),
        ("stop_signal: SIGQUIT\nstop_grace_period: 1m30s", {"stop": {"signal": "SIGQUIT", "timeout": "90s"}}),
        ("labels: {a: b}\nexpose: [80]\ncontainer_name: x\ninit: true\nprivileged: false\ndeploy: {replicas: 1}", {}),
        ("x-mine: anything", {}),
        ("dns:", {}),
        ("volumes: [./one.txt:/etc/one.txt:ro]",
         {"files": [{"guest_path": "/etc/one.txt", "raw_value": "Y29udGVudA==", "mode": 0o640}]}),
        ("volumes: [/scratch]\ntmpfs: /run:size=64m,mode=755",
         {"mounts": [{"name": "0-0-web", "path": "/scratch"}, {"name": "0-1-web", "path": "/run"}]}),
    ],
)  # fmt: skip
def test_of_a_service(text: str, wanted: dict[str, Any]) -> None:
    assert service(text) == {**BASE, **wanted}


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("test: curl -f http://localhost/", ["/bin/sh", "-c", "curl -f http://localhost/"]),
        ("test: [CMD-SHELL, 'a || exit 1']", ["/bin/sh", "-c", "a || exit 1"]),
        ("test: [CMD, curl, -f, 'http://localhost/']", ["curl", "-f", "http://localhost/"]),
        ("test: [NONE]", None),
        ("disable: true", None),
    ],
)
def test_of_a_healthcheck(text: str, command: list[str] | None) -> None:
    """What is meant for a shell is given to one, and times are what they say."""
    found = service(f"healthcheck: {{{text}, interval: 1m30s, timeout: 500ms, retries: 5, start_period: 40s}}")
    if command is None:
        assert "healthchecks" not in found
        return
    assert found["healthchecks"] == [
        {"name": "healthcheck", "exec": {"command": command}, "kind": "readiness", "interval": 90, "timeout": 1,
         "failure_threshold": 5, "grace_period": 40}
    ]  # fmt: skip


def _ports(text: str) -> list[tuple[object, ...]]:
    found = plan(f"services: {{web: {{image: nginx, ports: {text}}}}}").config.get("services", [])
    return [
        (port["port"], row["internal_port"], row["protocol"], *port.get("handlers", []))
        for row in found
        for port in row["ports"]
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[80]", [(80, 80, "tcp")]),
        ("['8080:80']", [(8080, 80, "tcp")]),
        ("[22:22]", [(22, 22, "tcp")]),  # no number of base 60
        ("['127.0.0.1:8080:80/tcp', '53:53/udp']", [(8080, 80, "tcp"), (53, 53, "udp")]),
        ("['[::1]:8080:80']", [(8080, 80, "tcp")]),
        ("['3000-3002:4000-4002']", [(3000, 4000, "tcp"), (3001, 4001, "tcp"), (3002, 4002, "tcp")]),
        ("['3000-3002']", [(3000, 3000, "tcp"), (3001, 3001, "tcp"), (3002, 3002, "tcp")]),
        ("['8000-8002:80']", [(8000, 80, "tcp")]),
        ("[{target: 80, published: '8080', app_protocol: http, mode: host}]", [(8080, 80, "tcp", "http")]),
        ("[{target: 53, protocol: udp}]", [(53, 53, "udp")]),
        ("['8080:80', '8081:80']", [(8080, 80, "tcp"), (8081, 80, "tcp")]),
    ],
)
def test_of_ports(text: str, wanted: list[tuple[object, ...]]) -> None:
    assert _ports(text) == wanted


WHOLE = """
name: shop
x-common: &common
  restart: always
  environment: &env { LEVEL: info }
services:
  App_1:
    <<: *common
    image: app:${TAG}
    environment: { <<: *env, OWN: "1", PASSWORD_FILE: /run/secrets/password }
    depends_on:
      db: { condition: service_healthy, restart: true }
      migrate: { condition: service_completed_successfully }
      gone: { condition: service_started, required: false }
    secrets: [password, { source: token, target: /etc/token, mode: "0400" }]
    configs: [{ source: settings, target: /etc/settings.ini }]
    volumes: ["shared:/run/shared", { type: volume, source: data, target: /data }]
    networks: { default: { aliases: [shop] } }
  migrate:
    image: app:${TAG}
    command: migrate
    depends_on: [db]
  db:
    image: postgres:${UNSET:-16}
    healthcheck: { test: "pg_isready -U $$USER" }
    volumes: ["data:/var/lib/postgresql/data", "shared:/run/shared"]
  debug: { image: debug, profiles: [debug], privileged: true }
volumes:
  data: { name: shop-data }
  shared: { driver_opts: { type: tmpfs, device: tmpfs, o: "size=64m,uid=1000" } }
secrets:
  password: { environment: PASSWORD }
  token: { external: true, name: THE_TOKEN }
configs:
  settings: { content: "level = ${TAG}" }
"""


def test_of_a_whole_file() -> None:
    found = plan(WHOLE.replace("privileged: true", "privileged: false"))
    app, migrate, db = found.config["containers"]
    assert [each["name"] for each in (app, migrate, db)] == ["app-1", "migrate", "db"]
    assert (app["image"], db["image"], app["restart"]) == ("app:1.27", "postgres:16", {"policy": "always"})
    assert app["env"] == {"LEVEL": "info", "OWN": "1", "PASSWORD_FILE": "/run/secrets/password"}
    assert app["depends_on"] == [
        {"name": "db", "condition": "healthy"}, {"name": "migrate", "condition": "exited_successfully"},
    ]  # fmt: skip
    assert migrate["depends_on"] == [{"name": "db", "condition": "started"}]
    assert db["healthchecks"][0]["exec"]["command"][2] == "pg_isready -U $USER"
    assert app["mounts"] == [{"name": "shared", "path": "/run/shared"}, {"name": "shop-data", "path": "/data"}]
    assert found.config["volumes"] == [{"name": "shared", "temp_dir": {"storage_type": "memory", "size_mb": 64}}]
    assert found.volumes == {"shop-data": False}
    assert found.secrets == {"password": base64.b64encode(b"secret").decode()}
    assert [each["secrets"] for each in (app, migrate, db)] == [[], [], []]
    settings, password, token, hosts = app["files"]
    assert (settings["guest_path"], base64.b64decode(settings["raw_value"])) == ("/etc/settings.ini", b"level = 1.27")
    assert password == {"guest_path": "/run/secrets/password", "mode": 0o444, "secret_name": "password"}
    assert token == {"guest_path": "/etc/token", "mode": 0o400, "secret_name": "THE_TOKEN"}
    names = base64.b64decode(hosts["raw_value"]).decode().splitlines()[-1]
    assert names == "127.0.0.1\tApp_1 app-1 shop migrate db"
    assert found.notes == ["compose.yaml:18: services.App_1.networks: the containers of a Machine share one network"]


ONE = "services:\n  web:\n    image: nginx\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ONE}    privileged: true", "compose.yaml:4: services.web.privileged: only false is possible"),
        (f"{ONE}    mem_limit: 1g", "compose.yaml:4: services.web.mem_limit: a container of a Machine has none"),
        (f"{ONE}    deploy:\n      resources: {{}}\n", "compose.yaml:5: services.web.deploy.resources:"),
        (f"{ONE}    volums: []", "compose.yaml:4: services.web.volums: there is no such key"),
        (f"{ONE}    ports: [80:80, x]", "compose.yaml:4: services.web.ports[1]: 'x' is no"),
        (f"{ONE}    ports: ['80:80/sctp']", "services.web.ports[0]: 'sctp' is neither tcp nor udp"),
        (f"{ONE}    ports: ['99999:80']", "services.web.ports[0]: ports are from 1 to 65535"),
        (f"{ONE}    ports: ['192.168.1.1:80:80']", "192.168.1.1 is no address"),
        (f"{ONE}  two:\n    image: b\n    ports: [81:80]\n" .replace("nginx\n", "nginx\n    ports: ['80:80']\n", 1),
         "services.two.ports[0]: port 80 is that of web, too"),
        (f"{ONE}    depends_on: [db]", "services.web.depends_on[0]: there is no service 'db'"),
        (f"{ONE}    depends_on: {{web: {{condition: healthy}}}}", "condition: 'healthy' is none of service_started"),
        (f"{ONE}    depends_on: [web]", "services.web: web → web: none of them could be started"),
        (f"{ONE}    depends_on: {{web: {{condition: service_healthy}}}}", "web has no healthcheck here"),
        (f"{ONE}    user: app:staff", "compose.yaml:4: services.web.user: 'app:staff' is no user"),
        (f"{ONE}secrets: {{a b: {{external: true}}, a_b: {{environment: TAG}}, a.b: {{environment: TAG}}}}",
         "two secrets would be the app's a_b"),
        (f"{ONE}secrets: {{a: {{external: true, name: a-b}}}}", "'a-b' is no name of a secret"),
        (f"{ONE}volumes: {{data: {{name: a.b}}}}", "'a.b' is no name of a volume"),
        (f"{ONE}    volumes: [data:/data]", "services.web.volumes[0]: there is no volume 'data'"),
        (f"{ONE}    volumes: [data:/data:ro]\nvolumes: {{data: }}", "mounted to be written to"),
        (f"{ONE}    volumes: ['/etc:/etc']", "services.web.volumes[0]: /etc is a directory of this host"),
        (f"{ONE}    volumes: ['./none:/x']", "services.web.volumes[0]: /base/none: no such file or directory"),
        (f"{ONE}volumes: {{data: {{driver: nfs}}}}", "compose.yaml:4: volumes.data.driver: only local is possible"),
        (f"{ONE}    stop_signal: SIGFOO", "compose.yaml:4: services.web.stop_signal: 'SIGFOO' is no signal"),
        (f"{ONE}    tmpfs: run", "compose.yaml:4: services.web.tmpfs: 'run' is no absolute path"),
        (f"{ONE}    tmpfs: /x:size=100000000g", "services.web.tmpfs: '100000000g' is more than"),
        (f"{ONE}    environment: {{'A=B': x}}", "compose.yaml:4: services.web.environment: 'A=B': a name has no ="),
        (f"{ONE}    command: ['']", "compose.yaml:4: services.web.command: the name of its program is empty"),
        (f"{ONE}    healthcheck: {{test: [CMD, '']}}", "services.web.healthcheck.test: a test is a line"),
        (f"{ONE}    command: [\"a\\0\"]", "services.web.command[0]: it has a NUL in it"),
        (f"{ONE}    image: a b".replace("image: nginx\n", "", 1), "services.web.image: 'a b' is no image"),
        (f"{ONE}volumes: {{machine: {{driver_opts: {{type: tmpfs}}}}}}", "'machine' is no name of a volume"),
        (f"{ONE}    secrets: [key]", "there is no secret of that name"),
        (f"{ONE}    image: two", "compose.yaml:4: services.web.image: is said twice"),
        (f"{ONE}    image: ${{NONE:?say it}}".replace("image: nginx\n", "", 1), "variable NONE is not set: say it"),
        (f"{ONE}    command: 'open \"quote'", "services.web.command: no closing quotation"),
        (f"{ONE}    command: [a, [b]]", "compose.yaml:4: services.web.command[1]: a text is wanted"),
        (f"{ONE}    command: !reset []", "the tag !reset is not there"),
        (f"{ONE}    healthcheck: {{interval: 5s}}", "services.web.healthcheck: its test is that of the image"),
        (f"{ONE}    healthcheck: {{test: a, interval: 5}}", "'5' is no duration"),
        ("services:\n  web:\n    build: .\n", "compose.yaml:3: services.web.build: it has no image"),
        ("services: {a_b: {image: x}, a-b: {image: y}}", "a-b and a_b would be one container, a-b"),
        ("services: {machine: {image: x}}", "'machine' is no name of a container"),
        ("services: [a", "it is no YAML"),
        ("include: [other.yaml]", "compose.yaml:1: include: is not there"),
        ("a: &a [*a]", "compose.yaml:"),
        ("", "there is nothing in it"),
        ("services: {}", "there is no service"),
        ("- 1", "a mapping is wanted"),
    ],
)  # fmt: skip
def test_what_is_refused_is_said_with_its_place(text: str, said: str) -> None:
    assert said in refused(text)


def test_what_is_written_once_and_meant_a_thousand_times_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 20000 values" in refused("\n".join(lines))
    assert "within each other" in refused("[" * 40 + "]" * 40)
    assert "it is no YAML" in refused("[" * 5000)


def test_every_key_has_one_row() -> None:
    """That each key of the specification has one: tests/outside/test_compose_schema.py."""
    rows = [keys.USED, keys.PASSED, set(keys.REFUSED), set(keys.NOTED) - keys.USED]
    assert sum(len(each) for each in rows) == len(set().union(*rows))
    assert not keys.TOP & set(keys.TOP_REFUSED)
    assert set(keys.ONLY) <= keys.USED


def test_the_example_of_the_documentation() -> None:
    page = (pathlib.Path(__file__).parents[4] / "docs/reference/machines-command.md").read_text()
    found = plan(page.partition("```yaml\n")[2].partition("```")[0])
    assert [each["name"] for each in found.config["containers"]] == ["web", "app"]
    assert (found.notes, found.volumes, list(found.secrets)) == ([], {"data": False}, ["password"])


SERVICES = st.fixed_dictionaries(
    {"image": st.sampled_from(["nginx", "a/b:1"])},
    optional={
        "command": st.one_of(st.sampled_from(["a b", "a 'b c'"]), st.lists(st.sampled_from(["a", "b c", ""]))),
        "entrypoint": st.lists(st.sampled_from(["a", ""])),
        "environment": st.one_of(
            st.dictionaries(
                st.sampled_from(["A", "B", "C=D", "", "E\0"]),
                st.one_of(st.integers(), st.booleans(), st.text("ab$\0", max_size=3)),
            ),
            st.lists(st.sampled_from(["A=1", "B=x y", "C="]), unique=True),
        ),
        "restart": st.sampled_from(["no", "always", "on-failure:2", "unless-stopped"]),
        "ports": st.lists(st.sampled_from(["80:80", "81", "90-91:90-91/udp"]), unique=True, max_size=3),
        "volumes": st.lists(st.sampled_from(["data:/data", "/tmp/x", "./one.txt:/one"]), unique=True),
        "tmpfs": st.sampled_from(["/run", ["/run", "/tmp:size=1m"], "run", "/x:size=100000000g", "/x:size=1", ""]),
        "healthcheck": st.one_of(
            st.sampled_from([{"disable": True}, {"test": ["NONE"]}, {"test": ["CMD", ""]}, {"test": ["CMD", "a\0"]}]),
            st.fixed_dictionaries(
                {"test": st.just("x")},
                optional=dict.fromkeys(
                    ("interval", "timeout", "start_period"), st.sampled_from(["0", "1s", "10ms", "24h", "25h"])
                )
                | {"retries": st.sampled_from([0, 1, 1000, 1001])},
            ),
        ),
        "stop_signal": st.sampled_from(["SIGQUIT", "term", "9", "0", "65", "999", "SIGFOO", "", "RTMIN"]),
        "depends_on": st.one_of(
            st.lists(st.sampled_from(["web", "db", "job_1"]), unique=True, max_size=2),
            st.dictionaries(
                st.sampled_from(["web", "db", "job_1"]),
                st.fixed_dictionaries(
                    {
                        "condition": st.sampled_from(
                            ["service_started", "service_healthy", "service_completed_successfully"]
                        )
                    }
                ),
            ),
        ),
        "user": st.sampled_from(["app", "1000:1000", "app:app", "1000"]),
        "secrets": st.lists(
            st.sampled_from(
                ["db-password", {"source": "db-password", "mode": "7"}, {"source": "db-password", "target": ""}]
            ),
            max_size=1,
        ),
        "mem_limit": st.just("1g"),
        "unknown": st.just(1),
        "stop_grace_period": st.sampled_from(["1s", "1m", "soon", "24h", "25h"]),
    },
)


@given(st.dictionaries(st.sampled_from(["web", "db", "job_1"]), SERVICES, min_size=1))
def test_what_is_taken_is_what_the_server_takes(services: dict[str, Any]) -> None:
    """Whatever else it is, is refused, and nothing but refused."""
    try:
        plan(
            yaml.safe_dump(
                {
                    "services": services,
                    "volumes": {"data": None},
                    "secrets": {"db-password": {"environment": "PASSWORD"}},
                }
            )
        )
    except errors.SpecError:
        return


@given(st.text(st.sampled_from("abcs:[]{}-&*!|>'\"\n #$,?<%@`\t\0\x85é")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        plan("services:\n  web: " + text)
    except errors.SpecError:
        return


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$A", "1"), ("${A}b", "1b"), ("$$A", "$A"), ("$A$B", "1"), ("${E:-x}", "x"), ("${E-x}", ""), ("${N-x}", "x"),
        ("${N:-${A}}", "1"), ("${A:+y}", "y"), ("${E:+y}", ""), ("${E+y}", "y"), ("${N+y}", ""), ("a${N}b", "ab"),
        ("${N:-a:b-c}", "a:b-c"), ("${A:?no}", "1"), ("${N:-$$}", "$"), ("${N:-{x}}", "{x}"),
    ],
)  # fmt: skip
def test_variables(text: str, wanted: str) -> None:
    """As the specification's page on interpolation has them."""
    assert interpolation.interpolated(text, {"A": "1", "E": ""}) == wanted


@pytest.mark.parametrize("text", ["$", "$1", "${", "${A", "${}", "${A!b}", "${E:?no}", "${N?no}"])
def test_variables_that_are_none(text: str) -> None:
    with pytest.raises(interpolation.Wrong):
        interpolation.interpolated(text, {"A": "1", "E": ""})


def test_a_file_of_variables() -> None:
    text = (
        "# first\nA=1\nexport B = two # told\nC='a $A # no'\nD=\"a\\n$A \\$A\"\nE=\nF\nG=x#y\nH: colon\n"
        'I="two\nlines"\nJ=${Z:-$A}\n'
    )
    assert dotenv.parse(text, {"F": "f"}, ".env") == {
        "A": "1", "B": "two", "C": "a $A # no", "D": "a\n1 $A", "E": "", "F": "f", "G": "x#y", "H": "colon",
        "I": "two\nlines", "J": "1",
    }  # fmt: skip
    for wrong in ("=x", "A B", "A='x", "A='x' y"):
        with pytest.raises(errors.SpecError, match=r"\.env:1: "):
            dotenv.parse(wrong, {}, ".env")


def test_files_of_this_host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAG", raising=False)
    (tmp_path / ".env").write_text("TAG=3\nHOME=never\n")
    (tmp_path / "compose.yaml").write_text("services: {web: {image: 'nginx:$TAG', volumes: ['./pipe:/pipe']}}")
    (tmp_path / "pipe").write_text("x")
    assert composing.read(str(tmp_path / "compose.yaml")).config["containers"][0]["image"] == "nginx:3"
    (tmp_path / "pipe").unlink()
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to: it is not waited for
    with pytest.raises(errors.SpecError, match="no regular file"):
        composing.read(str(tmp_path / "compose.yaml"))
