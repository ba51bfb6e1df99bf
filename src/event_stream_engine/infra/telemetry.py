"""OpenTelemetry, when its extra is installed and its environment names a collector. Only then is this module imported.

Where to, how often, which headers and what share of traces: the OTEL_… variables, which the SDK reads itself.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.metadata import version
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from event_stream_engine.infra import tracing

FAREWELL_SECONDS = 2.0  # for the last spans
SCOPE = "event_stream_engine"
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, attributes: tracing.Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        self._span.set_status(StatusCode.ERROR, reason)


@asynccontextmanager
async def traced(kind: str) -> AsyncIterator[None]:
    """Export the spans of this process, a `web` or `worker`, until the block ends; those that wait are sent then."""
    process = {"service.instance.id": str(uuid4()), "ese.process.kind": kind}
    provider = TracerProvider(resource=describe_engine(**process), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer(SCOPE, version("event-stream-engine"))
    propagator = TraceContextTextMapPropagator()

    @contextmanager
    def begin(
        name: str, attributes: tracing.Attributes, span_kind: str, carrier: Mapping[str, str] | None
    ) -> Iterator[_Span]:
        with tracer.start_as_current_span(
            name,
            context=None if carrier is None else propagator.extract(carrier),
            kind=_KINDS[span_kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            begun = _Span(span)
            try:
                yield begun
            except BaseException as error:
                begun.fail(type(error).__name__)
                raise

    tracing.use(begin, _find_ids)
    try:
        yield
    finally:
        tracing.use(None, None)
        await asyncio.wait({start_aside(provider.shutdown)}, timeout=FAREWELL_SECONDS)


def start_aside(work: Callable[[], object]) -> "asyncio.Future[None]":
    """Do what blocks in a thread that the end of the process does not wait for, and return when it is done as a future.

    The library asks a collector that does not answer for ten seconds, longer than an ending process has.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell)

    threading.Thread(target=run, daemon=True).start()
    return done


def describe_engine(**more: str) -> Resource:
    """Return what tells this engine from others, and `more`; the environment has the last word."""
    ours = {"service.name": "event-stream-engine", "service.version": version("event-stream-engine")}
    return Resource(ours | more).merge(OTELResourceDetector().detect())


def _find_ids() -> tuple[str, str] | None:
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)
