"""Spans of requests and of what they begin, as OpenTelemetry's own exporter sees them; none where none are wanted."""

from __future__ import annotations

import json
import logging
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pilot import errors
from pilot.host import logs, main, tracing
from pilot.host.fsm.documents import Document
from pilot.host.fsm.journal import Record
from pilot.host.fsm.outcome import Ending, Outcome
from pilot.host.otel import Otel
from pilot.ids import RunId
from tests.support.host import WAIT_S, HostUnderTest

REMOTE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def otel(spans: InMemorySpanExporter) -> Iterator[Otel]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    made = Otel(provider)
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: pathlib.Path, otel: Otel) -> Iterator[HostUnderTest]:
    under_test = HostUnderTest(tmp_path, tracing=otel)
    yield under_test
    under_test.close()


def _named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    [found] = [span for span in spans.get_finished_spans() if span.name == name]
    return found


def _said(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_a_request_and_the_run_that_it_begins_are_one_trace(host: HostUnderTest, spans: InMemorySpanExporter) -> None:
    headers = {"Authorization": f"Bearer {host.token}", "traceparent": REMOTE}
    made = httpx.post(f"{host.url}/v1/sprites", headers=headers, json={"name": "web"}, timeout=WAIT_S)
    assert made.status_code == 201
    request, run = _named(spans, "POST /v1/sprites"), _named(spans, "run create")
    assert f"{request.context.trace_id:032x}" == REMOTE.split("-")[1]
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == REMOTE.split("-")[2]
    assert run.parent is not None
    assert run.parent.span_id == request.context.span_id
    assert _said(request)["http.response.status_code"] == 201
    assert _said(run)["pilot.request_id"] == _said(request)["pilot.request_id"] != ""
    assert (_said(run)["pilot.ending"], run.status.status_code) == ("done", StatusCode.UNSET)


def test_a_refusal_is_told_with_the_id_that_its_client_reads(host: HostUnderTest, spans: InMemorySpanExporter) -> None:
    headers = {"Authorization": f"Bearer {host.token}", "traceparent": "nonsense"}
    refused = httpx.get(f"{host.url}/v1/sprites/nobody", headers=headers)
    span = _named(spans, "GET /v1/sprites/{name}")
    assert (refused.status_code, span.parent) == (404, None)
    assert _said(span)["http.response.status_code"] == 404
    assert _said(span)["pilot.request_id"] == refused.headers["x-request-id"]
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ()), "nothing of this host has failed"


@pytest.mark.parametrize("status", [503, None])
def test_what_fails_here_is_an_error_and_says_where(
    otel: Otel, spans: InMemorySpanExporter, status: int | None
) -> None:
    """None: an answer that had begun, and broke off."""

    def ask() -> None:
        with otel.request("GET", "/v1/sprites", None) as answered:
            if status is not None:
                answered(status)
            raise errors.PeerError("no answer")

    with pytest.raises(errors.PeerError):
        ask()
    span = _named(spans, "GET /v1/sprites")
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


def test_a_run_of_an_earlier_pilotd_has_its_time_and_no_parent(otel: Otel, spans: InMemorySpanExporter) -> None:
    run = Record(RunId("r1"), "sprite", "wake", "sprite-1", Document(1, {}), ())
    otel.ended(run, Outcome(Ending.ABORTED, "no room"), 2.0)
    span = _named(spans, "run wake")
    assert span.parent is None
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.end_time - span.start_time) / 1e9 > 1.9
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no room")


def test_a_child_is_its_parents(otel: Otel, spans: InMemorySpanExporter) -> None:
    parent = Record(RunId("r1"), "sprite", "fork_many", "sprite-1", Document(1, {}), ())
    child = Record(RunId("r2"), "sprite", "create", "sprite-2", Document(1, {}), (), parent.id)
    for run in (parent, child):
        otel.begun(run)
    for run in (child, parent):
        otel.ended(run, Outcome(Ending.DONE), 0.1)
    under = _named(spans, "run create").parent
    assert under is not None
    assert under.span_id == _named(spans, "run fork_many").context.span_id


def test_nothing_of_it_is_loaded_where_nobody_asks() -> None:
    program = "import sys, pilot.host.main, pilot.host.daemon; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"


def test_the_log_says_which_request_it_was() -> None:
    record = logging.makeLogRecord({"msg": "told", "levelno": logging.INFO, "levelname": "INFO"})
    assert "request" not in json.loads(logs.JsonFormatter().format(record))
    token = tracing.REQUEST.set(None)
    try:
        id = tracing.new_request()
        assert json.loads(logs.JsonFormatter().format(record))["request"] == id
    finally:
        tracing.REQUEST.reset(token)


@pytest.mark.parametrize("text", ["", "collector", "ftp://x/y", "http://", "127.0.0.1:4318"])
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(errors.PilotError, match="--otlp"):
        main._collector(text)
    assert main._collector(None) is None
    assert main._collector("http://127.0.0.1:4318/v1/traces") is not None
