"""`/metrics`: the instruments as Prometheus or OpenMetrics reads them, for API keys of the role `metrics`."""

from collections.abc import Iterable

from fastapi import APIRouter, Depends
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.totals import Distribution
from event_stream_engine.monitoring.instruments import INSTRUMENTS, Instrument, Labels, Readings, Sample
from event_stream_engine.monitoring.readings import count_up_to
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)


@router.get("/metrics", dependencies=[Depends(require_role(Role.metrics))])
async def show_instruments(request: Request) -> Response:
    """All instruments, in the format that the scraper asks for."""
    reading = await resources_of(request).readout.read()
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    if content_type not in reading.texts:
        reading.texts[content_type] = encode(_Collector(reading.readings))
    return Response(reading.texts[content_type], headers={"content-type": content_type})


class _Collector:
    """A reading in the library's terms."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        return [_make_family(INSTRUMENTS[name], samples) for name, samples in self._readings.items()]


def _make_family(instrument: Instrument, samples: dict[Labels, Sample]) -> Metric:
    name, text, labels = instrument.name, instrument.help, instrument.labels
    if instrument.kind == "histogram":
        family = HistogramMetricFamily(name, text, labels=labels, unit=instrument.unit)
        for values, sample in samples.items():
            assert isinstance(sample, Distribution)  # noqa: S101 - an instrument's kind says it, and a test checks it
            family.add_metric(values, _make_buckets(instrument, sample), sample.seconds)
        return family
    make = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
    counted = make(name, text, labels=labels, unit=instrument.unit)
    for values, sample in samples.items():
        assert not isinstance(sample, Distribution)  # noqa: S101 - as above
        counted.add_metric(values, sample)
    return counted


def _make_buckets(instrument: Instrument, sample: Distribution) -> list[tuple[str, float]]:
    counts = count_up_to(instrument.bounds, sample)
    return list(zip([*map(str, instrument.bounds), "+Inf"], counts, strict=True))
