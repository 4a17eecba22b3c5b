"""`tracing`, told to OpenTelemetry. Imported where it is wanted alone: its packages are an extra (`otel`).

GET /v1/sprites/{name}   a server's span; it follows the client's `traceparent`
run create               of the request that began it, or of its parent run; of none when an earlier pilotd did
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import pilot

from ..ids import RunId
from .fsm.journal import Record
from .fsm.outcome import Ending, Outcome
from .tracing import REQUEST, Answered

_FAILED = 500


class Otel:
    """A `tracing.Tracing`. `close` tells what is not told yet."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("pilot", pilot.__version__)
        self._lock = threading.Lock()
        self._runs: dict[RunId, Span] = {}

    @contextlib.contextmanager
    def request(self, method: str, route: str, traceparent: str | None) -> Iterator[Answered]:
        attributes = {"http.request.method": method, "http.route": route, "pilot.request_id": REQUEST.get() or ""}
        is_refusal = False
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            _remote(traceparent),
            SpanKind.SERVER,
            attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            def answered(status: int) -> None:
                nonlocal is_refusal
                is_refusal = status < _FAILED
                span.set_attribute("http.response.status_code", status)
                if not is_refusal:
                    span.set_status(StatusCode.ERROR)

            try:
                yield answered
            except Exception as error:
                if not is_refusal:  # which is what the client did wrong, and the answer says it
                    span.record_exception(error)
                    span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
                raise

    def begun(self, run: Record) -> None:
        with self._lock:
            parent = None if run.parent is None else self._runs.get(run.parent)
            under = None if parent is None else trace.set_span_in_context(parent)
            self._runs[run.id] = self._span(run, under, time.time_ns())

    def ended(self, run: Record, outcome: Outcome, seconds: float) -> None:
        with self._lock:
            span = self._runs.pop(run.id, None)
        if span is None:  # an earlier pilotd began it
            span = self._span(run, context.Context(), time.time_ns() - round(seconds * 1e9))
        span.set_attribute("pilot.ending", outcome.ending.value)
        if outcome.ending not in (Ending.DONE, Ending.HANDED_OFF):
            span.set_status(StatusCode.ERROR, outcome.error)
        span.end()

    def _span(self, run: Record, under: context.Context | None, began_ns: int) -> Span:
        attributes = {"pilot.run": run.id, "pilot.resource": run.resource, "pilot.request_id": REQUEST.get() or ""}
        return self._tracer.start_span(f"run {run.action}", under, SpanKind.INTERNAL, attributes, start_time=began_ns)

    def close(self) -> None:
        self._provider.shutdown()


def _remote(traceparent: str | None) -> context.Context:
    """Of nobody's where the header is none."""
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return TraceContextTextMapPropagator().extract(carrier, context.Context())


def to(exporter: SpanExporter) -> Otel:
    """Spans go there, in batches, from a thread of their own."""
    provider = TracerProvider(resource=Resource.create({"service.name": "pilotd"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Otel(provider)


def by_http(url: str) -> Otel:
    """To a collector, by OTLP over HTTP; headers and more as its own environment variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return to(OTLPSpanExporter(endpoint=url))
