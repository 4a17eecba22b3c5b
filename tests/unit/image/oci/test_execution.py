"""What is run of an image, and as whom."""

from __future__ import annotations

import pytest

from pilot import errors
from pilot.image.oci import execution, people
from pilot.image.oci.documents import Execution
from pilot.image.oci.execution import Wanted
from pilot.image.oci.people import Person

_IMAGE = Execution(
    user="app", env=("COLOUR=red", "PATH=/opt/bin", "EMPTY="), entrypoint=("/entry",), cmd=("serve", "-v"),
    working_dir="/srv",
)  # fmt: skip
_PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken:x:one:2::/:/bin/sh\n"
_GROUP = "root:x:0:\nown:x:1001:\nmore:x:50:other,app\nstaff:x:60:\n"


@pytest.mark.parametrize(
    ("wanted", "arguments"),
    [
        (Wanted(), ("/entry", "serve", "-v")),
        (Wanted(command=["other"]), ("/entry", "other")),
        (Wanted(command=[]), ("/entry",)),
        (Wanted(entrypoint=["/mine"]), ("/mine",)),
        (Wanted(entrypoint=["/mine"], command=["a", "b"]), ("/mine", "a", "b")),
        (Wanted(exec=["/bin/true", "x"]), ("/bin/true", "x")),
        (Wanted(exec=["/bin/true"], entrypoint=["/mine"], command=["a"]), ("/bin/true",)),
    ],
)
def test_what_is_executed(wanted: Wanted, arguments: tuple[str, ...]) -> None:
    assert execution.plan(_IMAGE, wanted).arguments == arguments


def test_the_rest_of_it() -> None:
    planned = execution.plan(_IMAGE, Wanted(environment={"COLOUR": "blue", "MORE": "1"}))
    assert planned.environment == {"PATH": "/opt/bin", "COLOUR": "blue", "EMPTY": "", "MORE": "1"}
    assert (planned.user, planned.cwd) == ("app", "/srv")
    other = execution.plan(_IMAGE, Wanted(user="7:8", cwd="/elsewhere"))
    assert (other.user, other.cwd) == ("7:8", "/elsewhere")


def test_an_image_that_says_nothing() -> None:
    planned = execution.plan(None, Wanted(command=["true"]))
    assert (planned.arguments, planned.user, planned.cwd) == (("true",), None, "/")
    assert planned.environment == {"PATH": execution.PATH}
    with pytest.raises(errors.SpecError, match="no command"):
        execution.plan(Execution(), Wanted())
    with pytest.raises(errors.SpecError, match="not NAME=value"):
        execution.plan(Execution(env=("novalue",)), Wanted(command=["true"]))


@pytest.mark.parametrize(
    ("user", "person"),
    [
        (None, Person(0, 0, (), "/root")),
        ("root", Person(0, 0, (), "/root")),
        ("app", Person(1000, 1001, (50,), "/home/app")),
        ("1000", Person(1000, 1001, (50,), "/home/app")),
        ("app:staff", Person(1000, 60, (), "/home/app")),
        ("app:70", Person(1000, 70, (), "/home/app")),
        ("4242", Person(4242, 0, (), "/")),
        ("4242:4243", Person(4242, 4243, (), "/")),
    ],
)
def test_who_that_is(user: str | None, person: Person) -> None:
    assert people.find(user, _PASSWD, _GROUP) == person


@pytest.mark.parametrize("user", ["nobody", "broken", "app:nobody", "-1", "99999999999", "¹"])
def test_who_is_not_known(user: str) -> None:
    with pytest.raises(errors.SpecError):
        people.find(user, _PASSWD, _GROUP)


def test_without_those_files_numbers_are_known() -> None:
    assert people.find("0", "", "") == Person(0, 0, (), "/root")
    assert people.find("5:6", "", "") == Person(5, 6, (), "/")
