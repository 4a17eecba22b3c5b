"""Files of Machines' containers that are secrets: another value is there at once, whole, and nothing begins anew."""

from __future__ import annotations

import base64
import contextlib
import functools
import threading
from collections.abc import Iterator

import pytest
from tests.support import flyapi, images
from tests.support import internet as nets
from tests.support.flyapi import JSON, Fly
from tests.support.pilotd import Pilotd

from pilot.host.fly.vault import Vault
from pilot.host.store import fly_secrets
from pilot.host.store.sqlite import SqliteDatabase

pytestmark = pytest.mark.requires("root", "private", "busybox", "fuse", "loop", "userns", "space")

_FILE = "/run/secrets/key"
# Its first process reads the file again and again, and says what is none of the values, whole.
_READS = [
    "sh", "-c",
    "trap 'exit 0' INT TERM; echo begun >>/dev/shm/begun; while :; do "
    f"v=$(cat {_FILE}); case \"$v\" in "
    "value-*-$(echo \"$v\" | cut -d- -f2)) ;; *) echo \"$v\" >>/dev/shm/torn;; esac; done",
]  # fmt: skip


def _value(number: int) -> str:
    """Of several pages, which end as they begin."""
    return f"value-{number}-" + "x" * 20000 + f"-{number}"


def _file(number: int) -> str:
    return base64.b64encode(_value(number).encode()).decode()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with images.serve(images.busybox(tmp_path_factory.mktemp("image"), {"Cmd": _READS})) as served:
        yield f"{served.domain}/box:1"


@pytest.fixture(scope="module")
def pilotd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilotd]:
    with Pilotd(tmp_path_factory.mktemp("files") / "state").running() as daemon:
        yield daemon


@pytest.fixture
def fly(pilotd: Pilotd, request: pytest.FixtureRequest) -> Iterator[Fly]:
    with flyapi.app(pilotd, request.node.originalname.replace("_", "-")[:60].strip("-")) as app:
        yield app


def _set(fly: Fly, number: int) -> int:
    """Set anew; the version that this is."""
    answer = fly.raw("POST", f"/v1/apps/{fly.app}/secrets", {"values": {"KEY": _file(number)}})
    assert answer.status_code == 200, answer.text
    version: int = answer.json()["version"]
    return version


def _made(fly: Fly, image: str) -> str:
    _set(fly, 1)
    config = {"image": image, "files": [{"guest_path": _FILE, "secret_name": "KEY", "mode": 0o400}]}
    made: JSON = fly.create(config)
    return str(made["id"])


def _says(fly: Fly, id: str) -> str:
    return fly.run(id, "cut", "-c1-20", _FILE)[1].partition("-x")[0]


def _until(fly: Fly, id: str, number: int) -> None:
    nets.wait_until(lambda: _says(fly, id) == f"value-{number}", f"the file says {number}", 60)


def _went_on(fly: Fly, id: str, *, begun: int = 1) -> None:
    """It was started so often, and has never read half of anything."""
    assert fly.run(id, "cat", "/dev/shm/begun") == (0, "begun\n" * begun)
    assert fly.run(id, "sh", "-c", "head -c 300 /dev/shm/torn 2>/dev/null; true") == (0, "")


def test_another_value_is_there_whole_and_the_container_goes_on(fly: Fly, image: str) -> None:
    id = _made(fly, image)
    for number in range(2, 6):
        _set(fly, number)
        _until(fly, id, number)
    _went_on(fly, id)
    code, said = fly.run(id, "sh", "-c", f"grep -c ' {_FILE} ' /proc/self/mountinfo; stat -c %a {_FILE}")
    assert (code, said) == (0, "1\n400\n"), "what it said before is nowhere any more"
    tried = f"mount -o remount,rw,bind {_FILE}; chmod 600 {_FILE}; echo mine >{_FILE}; true"
    fly.run(id, "sh", "-c", tried)
    assert _says(fly, id) == "value-5", "its root cannot write to it"
    assert fly.run(id, "sh", "-c", 'test "$(echo $KEY)" = "$0"', _file(1))[0] == 0, "the variable is what it was"
    fly.call("POST", f"/{id}/restart")
    fly.wait(id, "started")
    assert _says(fly, id) == "value-5"
    assert fly.run(id, "sh", "-c", 'test "$(echo $KEY)" = "$0"', _file(5))[0] == 0, "with its next start it is not"


def test_what_the_container_has_put_at_the_path_is_let_alone_and_the_next_file_is_renewed(fly: Fly, image: str) -> None:
    """As a user may who owns the directory: it moves away with the file in it, and a link is in its place."""
    _set(fly, 1)
    paths = (_FILE, "/run/other/key")
    config = {"image": image, "files": [{"guest_path": path, "secret_name": "KEY"} for path in paths]}
    id = str(fly.create(config)["id"])
    looks = "ls -l /dev/null | cut -c1; grep -c /dev/ /proc/self/mountinfo; cut -c1-7 /run/moved/key"
    moved = "mv /run/secrets /run/moved; mkdir /run/secrets; ln -s /dev/null /run/secrets/key"
    before = fly.run(id, "sh", "-c", f"{moved}; {looks}")
    assert before[1].startswith("c\n")

    def says(text: str) -> bool:
        return fly.run(id, "cut", "-c1-7", paths[1])[1] == text

    for number in (2, 3):
        _set(fly, number)
        nets.wait_until(functools.partial(says, f"value-{number}\n"), f"the other file says {number}", 60)
    assert fly.run(id, "sh", "-c", looks) == before
    assert before[1].endswith("value-1\n")


def test_one_that_rests_meanwhile_has_it_when_it_goes_on(fly: Fly, image: str) -> None:
    """Suspended it goes on with the memory and variables that it had, stopped it begins with the present ones."""
    id = _made(fly, image)
    for rests, begun in (("suspend", 1), ("stop", 1)):
        number = 2 if rests == "suspend" else 3
        fly.call("POST", f"/{id}/{rests}")
        fly.wait(id, "suspended" if rests == "suspend" else "stopped")
        _set(fly, number)
        fly.call("POST", f"/{id}/start")
        fly.wait(id, "started")
        assert _says(fly, id) == f"value-{number}", "already when it is said to be started"
        _went_on(fly, id, begun=begun)


def test_of_two_at_once_all_machines_have_the_later_one(fly: Fly, image: str) -> None:
    machines = [_made(fly, image), _made(fly, image)]
    versions: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda number=number: versions.update({_set(fly, number): number}))
        for number in range(10, 16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(versions) == len(threads)
    for id in machines:
        _until(fly, id, versions[max(versions)])
        _went_on(fly, id)


def test_what_a_killed_pilotd_has_not_told_the_next_one_tells(fly: Fly, image: str, pilotd: Pilotd) -> None:
    id = _made(fly, image)
    _set(fly, 2)
    pilotd.kill()  # whether or not it has told it
    with contextlib.closing(SqliteDatabase(str(pilotd.state / "state.db"))) as database:
        [app] = [row["id"] for row in database.query("SELECT id FROM apps WHERE name = ?", (fly.app,))]
        vault = Vault((pilotd.state / "secrets.key").read_bytes())
        sealed = {"KEY": (vault.seal(app, "KEY", _file(3)), vault.digest(app, "KEY", _file(3)))}
        with database.transaction() as tx:
            fly_secrets.change(tx, app, sealed)  # as one that was killed right after it
    pilotd.start()
    _until(fly, id, 3)
    _went_on(fly, id)
