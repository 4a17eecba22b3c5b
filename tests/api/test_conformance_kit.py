"""`pilot conformance` says of a good machine that it is good, and of each broken one what is broken."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from pilot.conformance import main, running
from pilot.conformance.promise import Promise
from pilot.conformance.promises import ALL
from pilot.conformance.report import Outcome, Report
from pilot.conformance.subject import Subject
from pilot.machine import exchange
from pilot.wire.operations import Operation
from tests.support import broken_machine, contract
from tests.support.broken_machine import Break
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

TIMEOUT_S = 20.0


class Documented(Subject):
    """A machine of which every answer is one that api/pilot.openapi.yaml has, by status and schema."""

    def ask(self, operation: Operation[Any, Any], **request: Any) -> exchange.Answer:
        answer = super().ask(operation, **request)
        if answer.status == 409 and request.get("headers"):
            return answer  # of a Pilot-Request-Id: said once for all operations
        documented = contract.operations()[operation.id]
        contract.check_body(documented, answer.status, answer.body, answer.headers.get("content-type", ""))
        return answer


def _run(
    path: str, timeout_s: float = TIMEOUT_S, promises: Sequence[Promise] = ALL, kind: type[Subject] = Subject
) -> Report:
    return running.Run(kind(path, timeout_s, "pilot-conformance-test"), keep=False).all(promises)


def _unmet(report: Report) -> dict[str, str]:
    return {f"{row.operation}: {row.promise}": row.why for row in report.results if row.outcome is Outcome.UNMET}


def _of(
    machine: FakeMachine, broken: Break | None = None, timeout_s: float = TIMEOUT_S, promises: Sequence[Promise] = ALL
) -> Report:
    async def test() -> Report:
        async with machine.agent() as app:
            if broken is None:
                report = await asyncio.to_thread(_run, machine.dial_path, timeout_s, promises, Documented)
            else:
                async with broken_machine.between(machine.dial_path, broken) as path:
                    report = await asyncio.to_thread(_run, path, timeout_s, promises)
            await app.sessions.end_all()
            return report

    return asyncio.run(test())


def test_a_good_machine_with_a_world_scores_all_of_it(machine: FakeMachine) -> None:
    report = _of(machine)
    assert _unmet(report) == {}
    assert report.holds(complete=True)
    beyond = [row.operation for row in report.results if row.outcome is Outcome.PRECLUDED]
    assert beyond == ["freezeWorld", "thawWorld"]


def test_a_bare_machine_scores_all_but_what_needs_a_world(tmp_path: pathlib.Path) -> None:
    bare = FakeMachine(str(tmp_path / "run"))
    report = _of(bare)
    bare.close()
    assert _unmet(report) == {}
    assert (report.holds(complete=False), report.holds(complete=True)) == (True, False)
    assert {row.why for row in report.results if row.outcome is Outcome.NOT_TRIED} == {
        "the world would have to be running"
    }


def _replaced(old: bytes, new: bytes) -> broken_machine.Spoil:
    def spoil(answer: bytes) -> bytes:
        return answer.replace(old, new)

    return spoil


BROKEN = {
    "another status": (Break("/v1/containers", _replaced(b" 200 ", b" 201 "), "GET"), "listContainers"),
    "a field less": (Break("/v1/world", _replaced(b'"status"', b'"stadus"'), "DELETE"), "stopWorld"),
    "a field of another type": (Break("/v1/exec", _replaced(b'"count":0', b'"count":"0"'), "GET"), "listSessions"),
    "another content type": (Break("/v1/version", _replaced(b"application/json", b"text/html"), "GET"), "getVersion"),
    "no fault header": (Break("/v1/proxy", _replaced(b"Pilot-Fault", b"Pilot-Other"), "PATCH"), "proxy"),
    "a 405 without Allow": (Break("/v1/adopt", _replaced(b"Allow", b"Allot"), "PATCH"), "adopt"),
    "an error without its path": (Break("/v1/world/freeze", _replaced(b"$.", b"in ")), "freezeWorld"),
    "an answer that is cut": (Break("/v1/fs/list", lambda answer: answer[:-3], "GET"), "listFiles"),
    "a close": (Break("/v1/containers", lambda _: b"", "GET"), "listContainers"),
    "garbage": (Break("/v1/containers", lambda _: b"\x00\x01 what?\r\n\r\n", "GET"), "listContainers"),
    "another's content": (Break("/v1/fs/read", _replaced(b"0123456789", b"9876543210"), "GET"), "readFile"),
    "an exit status lost": (Break("/v1/exec", _replaced(b"\x03\x03", b"\x03\x00"), "POST"), "execute"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_broken_is_found_and_named(machine: FakeMachine, how: str) -> None:
    broken, operation = BROKEN[how]
    asked = [promise for promise in ALL if promise.operation == operation]
    unmet = _unmet(_of(machine, broken, promises=asked))
    assert unmet
    assert all(unmet.values()), "each says why"


def test_only_what_is_broken_is_named(machine: FakeMachine) -> None:
    unmet = _unmet(_of(machine, Break("/v1/containers", _replaced(b" 200 ", b" 201 "), "GET")))
    asked_by_it = {"pauseContainer", "resumeContainer", "listProcesses"}  # what they have done is seen in the list
    assert {each.partition(":")[0] for each in unmet} == {"listContainers", *asked_by_it}


def test_a_call_that_hangs_costs_its_deadline_and_is_named(machine: FakeMachine) -> None:
    unmet = _unmet(_of(machine, Break("/v1/shutdown", lambda _: None, "POST"), timeout_s=5))
    assert {each.partition(":")[0] for each in unmet} == {"shutdown"}
    assert "timed out" in " ".join(unmet.values())


_BEYOND = b'{"error":"not here","code":"failed_precondition"}'
ANSWERS = {
    "garbage": b"\x00\xff\x00\xff\r\n\r\n",
    "a close": b"",
    "an empty 200": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "beyond my isolation": b"HTTP/1.1 412 No\r\nContent-Type: application/json\r\nPilot-Fault: failed_precondition\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BEYOND), _BEYOND),
    "an endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20),
    "an endless body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b" " * (2 << 20),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_machine_that_says_one_thing_scores_low(answer: str) -> None:
    async def test() -> Report:
        async with broken_machine.answering(ANSWERS[answer]) as path:
            return await asyncio.to_thread(_run, path)

    report = asyncio.run(test())
    total = report.total()
    assert total.met * 100 <= total.tried * 5, [row for row in report.results if row.outcome is not Outcome.UNMET]
    assert not report.holds(complete=False)


def test_a_machine_that_says_nothing_is_given_up() -> None:
    async def test() -> tuple[Report, int]:
        async with broken_machine.answering(None) as path:
            report = await asyncio.to_thread(_run, path, 0.2)
            return report, await asyncio.to_thread(main.main, ["--dial", path, "--timeout", "0.2"])

    report, status = asyncio.run(test())
    assert (report.total().met, report.total().not_tried) == (0, 0)
    assert [row.why for row in report.results].count(running.GIVEN_UP) == len(ALL) - running.MOST_SILENT
    assert status == 2


def _main(machine: FakeMachine, *arguments: str) -> int:
    async def test() -> int:
        async with machine.agent() as app:
            status = await asyncio.to_thread(main.main, ["--dial", machine.dial_path, *arguments])
            await app.sessions.end_all()
            return status

    return asyncio.run(test())


def test_the_command_prints_a_score_and_writes_junit(
    machine: FakeMachine, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _main(machine, "--json", "--junit", str(tmp_path / "junit.xml")) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["score"], document["isolation"], len(document["results"])) == (100, "container", len(ALL))
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot().findall("testsuite")
    assert sum(int(suite.attrib["tests"]) for suite in suites) == len(ALL)
    assert {suite.attrib["failures"] for suite in suites} == {"0"}


def test_what_is_to_be_kept_is_kept(machine: FakeMachine, capfd: pytest.CaptureFixture[str]) -> None:
    assert _main(machine, "--keep") == 0
    assert "score       100 %" in capfd.readouterr().out
    assert machine.runtime.container is not None
    assert (machine.runtime.container.status(), machine.link.shut_down) == ("running", None)
    assert _main(machine, "--keep", "--complete") == 1


def test_a_machine_with_a_name_is_let_alone(machine: FakeMachine, capfd: pytest.CaptureFixture[str]) -> None:
    async def test() -> tuple[int, int]:
        from pilot.machine.pilot_api import PilotApi
        from pilot.wire import operations, schema

        async with machine.agent():
            api = PilotApi(machine.dial_path)
            await asyncio.to_thread(api.call, operations.ADOPT, schema.AdoptRequest(name="web"))
            refused = await asyncio.to_thread(main.main, ["--dial", machine.dial_path])
            named = await asyncio.to_thread(main.main, ["--dial", machine.dial_path, "--name", "web", "--keep"])
            return refused, named

    assert asyncio.run(test()) == (2, 0)
    assert "is called web" in capfd.readouterr().err


def test_nobody_to_ask(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--dial", str(tmp_path / "none.sock")]) == 2
    assert "no such file" in capfd.readouterr().err.lower()
