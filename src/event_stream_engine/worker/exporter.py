"""The exporter: hands the readings of /metrics to a collector of OpenTelemetry. Of several workers one does."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any, cast

import psycopg
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from event_stream_engine.analytics.totals import Distribution
from event_stream_engine.infra.database import connect, snapshot
from event_stream_engine.infra.settings import Settings
from event_stream_engine.infra.telemetry import SCOPE, describe_engine, start_aside
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.instruments import INSTRUMENTS, Instrument, Labels, Readings, Sample
from event_stream_engine.monitoring.readings import count_up_to, read_instruments, try_hold_export
from event_stream_engine.worker.projector import pause

STANDBY_SECONDS = 5.0
READ_MS = 10_000
# Counters are older than any process: one that claimed to have begun at its own start would be taken for a leap.
_UNKNOWN = 0
_LEFT_OUT = cast(float, None)  # what the protocol lets one leave out and the library's types do not
_UNITS = {"seconds": "s", "bytes": "By", "ratio": "1"}
_logger = logging.getLogger(__name__)


async def run_exporter(settings: Settings, url: str, clock: Clock, stopping: asyncio.Event) -> None:
    """Export until told to stop; a lost database or collector is waited for."""
    exporter, resource = OTLPMetricExporter(), describe_engine()
    told_to_stop: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
    try:
        while not stopping.is_set():
            try:
                async with await connect(url, "ese-exporter", statement_timeout_ms=READ_MS) as conn:
                    while not stopping.is_set() and not await try_hold_export(conn):
                        await pause(stopping, STANDBY_SECONDS)
                    while not stopping.is_set():
                        now = clock.now()
                        async with snapshot(conn):
                            readings = await read_instruments(conn, now)
                        # What a collector refuses the library logs by itself.
                        exported: asyncio.Future[Any] = start_aside(
                            partial(exporter.export, translate(readings, resource, now))
                        )
                        await asyncio.wait({exported, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
                        await pause(stopping, settings.telemetry.interval_seconds)
            except psycopg.Error as error:
                _logger.warning("the exporter waits for the database: %s", type(error).__name__)
                await pause(stopping, 1)
    finally:
        told_to_stop.cancel()
        exporter.shutdown()


def translate(readings: Readings, resource: Resource, now: datetime) -> MetricsData:
    """Return a reading in OpenTelemetry's terms."""
    now_ns = int(now.timestamp() * 1e9)
    metrics = [
        Metric(
            name=name.removesuffix("_total"),
            description=INSTRUMENTS[name].help,
            unit=_UNITS.get(INSTRUMENTS[name].unit, "1"),
            data=_translate(INSTRUMENTS[name], samples, now_ns),
        )
        for name, samples in readings.items()
        if samples
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _translate(instrument: Instrument, samples: dict[Labels, Sample], now_ns: int) -> Sum | Gauge | Histogram:
    named = [
        (dict(zip(instrument.labels, values, strict=True)), sample) for values, sample in samples.items()
    ]
    if instrument.kind == "histogram":
        points = [
            HistogramDataPoint(
                attributes=attributes,
                start_time_unix_nano=_UNKNOWN,
                time_unix_nano=now_ns,
                count=count_up_to((), sample)[0],
                sum=sample.seconds,
                bucket_counts=_list_buckets(instrument.bounds, sample),
                explicit_bounds=list(instrument.bounds),
                min=_LEFT_OUT,
                max=_LEFT_OUT,
            )
            for attributes, sample in named
            if isinstance(sample, Distribution)
        ]
        return Histogram(points, AggregationTemporality.CUMULATIVE)
    numbers = [
        NumberDataPoint(attributes, _UNKNOWN, now_ns, sample)
        for attributes, sample in named
        if not isinstance(sample, Distribution)
    ]
    if instrument.kind == "counter":
        return Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return Gauge(numbers)


def _list_buckets(bounds: Sequence[float], sample: Distribution) -> list[int]:
    counts = count_up_to(bounds, sample)
    return [up_to - before for before, up_to in pairwise([0, *counts])]
