"""What hosts and processes use, as `/performance` shows it: four charts and the rows of a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import (
    UNKNOWN,
    format_bytes,
    format_moment,
    format_number,
    format_rate,
)
from event_stream_engine.monitoring.resources import ResourcePoint, Resources, ResourceUse
from event_stream_engine.web.charts import Chart, Spec, TimeAxis, lay_over_time, make_time_axis, name_tip
from event_stream_engine.web.periods import Period

NOTHING = "Nobody measured in this period."
Write = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class UseRow:
    """A host or a process in the table. Each cell is a text and what to sort by."""

    host: str
    name: str
    is_host: bool
    limits: str
    cells: list[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class ResourceCharts:
    cpu: Chart
    memory: Chart
    disk: Chart
    network: Chart
    rows: list[UseRow]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a chart. Hosts are added up, or the busiest counts."""

    title: str
    metric: str
    colour: str
    is_sum: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the four charts share: what was measured of hosts, and the axis it is drawn on."""

    points: Sequence[ResourcePoint]
    bins: Sequence[datetime]
    axis: TimeAxis
    period: Period
    zone: ZoneInfo


def draw_resources(found: Resources, period: Period, zone: ZoneInfo) -> ResourceCharts:
    """Draw what was used in a period: of several hosts the busiest one's shares, and the traffic of all."""
    hosts = [point for point in found.points if point.kind == "host"]
    axis = make_time_axis(found.bins, period.step, zone)
    frame = _Frame(hosts, found.bins, axis, period, zone)
    percent: Spec = {
        "scale": {"domain": [0, 100], "nice": False},
        "axis": {"values": [0, 50, 100], "labelExpr": "datum.label + ' %'"},
    }
    amount: Spec = {"axis": {"tickCount": 3, "format": "~s"}}
    reads, writes = ("disk_reads_per_second", "disk_writes_per_second")
    received, sent = ("network_received_bytes_per_second", "network_sent_bytes_per_second")
    return ResourceCharts(
        cpu=_draw(frame, "Processor", [_Line("In use", "cpu_percent", "accent")], format_rate, percent),
        memory=_draw(frame, "Memory", [_Line("In use", "memory_percent", "accent")], format_rate, percent),
        disk=_draw(
            frame,
            "Disk operations",
            [_Line("Writes", writes, "accent", True), _Line("Reads", reads, "muted", True)],
            _per_second,
            amount,
        ),
        network=_draw(
            frame,
            "Network",
            [_Line("Received", received, "accent", True), _Line("Sent", sent, "muted", True)],
            _bytes_per_second,
            amount,
        ),
        rows=[_describe(use) for use in sorted(found.uses, key=_rank)],
        unknown=sorted({text for use in found.uses for text in _list_unknown(use)}),
    )


def _list_unknown(use: ResourceUse) -> list[str]:
    unknown: dict[str, str] = (use.limits or {}).get("unknown", {})
    return [f"{name} of {use.host}: {reason}" for name, reason in unknown.items()]


def _draw(frame: _Frame, name: str, lines: Sequence[_Line], write: Write, scale: Spec) -> Chart:
    titles = [title for line in lines for title in (line.title, f"{line.title}, peak")]
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    for slot, at in zip(frame.axis.slots, frame.bins, strict=True):
        here = [point for point in frame.points if point.bin == at]
        values = [value for line in lines for value in _read(here, line)]
        when, texts = format_moment(at, frame.zone), [write(value) for value in values]
        tips = {f"tip_{name_tip(title)}": text for title, text in zip(titles, texts, strict=True)}
        fields = {name_tip(title): value for title, value in zip(titles, values, strict=True)}
        rows.append({"slot": slot, "tip_when": when, **fields, **tips})
        table.append([(when, format_instant(at)), *zip(texts, values, strict=True)])
    found = [row[name_tip(title)] for row in rows for title in titles if row[name_tip(title)] is not None]
    if not found or max(found) < 4:
        scale = {"scale": {"domain": [0, 4]}} | scale
    return Chart(
        spec=lay_over_time(
            frame.axis, [layer for line in lines for layer in _layers(frame.axis, line, scale)], titles
        ),
        rows=rows,
        summary=f"{name}, {frame.period.label}" + (f": at most {write(max(found))}" if found else ""),
        columns=[("From", "text"), *((title, "number") for title in titles)],
        table=table,
        nothing="" if found else NOTHING,
    )


def _read(here: Sequence[ResourcePoint], line: _Line) -> tuple[float | None, float | None]:
    """Return mean and peak of one step."""
    found = [point for point in here if point.metric == line.metric]
    if not found:
        return None, None
    if line.is_sum:
        return sum(point.mean for point in found), sum(point.peak for point in found)
    return max(point.mean for point in found), max(point.peak for point in found)


def _layers(axis: TimeAxis, line: _Line, scale: Spec) -> list[Spec]:
    """Draw the mean as a line and the peak as an area behind it; a step by itself is a point."""
    colour, x = {"expr": line.colour}, axis.encode()
    y = {"type": "quantitative", **scale}
    return [
        {
            "mark": {"type": "area", "color": colour, "opacity": 0.09, "interpolate": "step"},
            "encoding": {"x": x, "y": {**y, "field": name_tip(f"{line.title}, peak")}},
        },
        {
            "mark": {
                "type": "line",
                "color": colour,
                "strokeWidth": 1.75,
                "strokeJoin": "round",
                "point": {"color": colour, "size": 12},
            },
            "encoding": {"x": x, "y": {**y, "field": name_tip(line.title)}},
        },
    ]


def _rank(use: ResourceUse) -> tuple[Any, ...]:
    """Hosts by name, each followed by its processes, the newest first."""
    return use.host, use.kind != "host", -use.seen_at.timestamp(), use.kind, use.pid


def _describe(use: ResourceUse) -> UseRow:
    is_host = use.kind == "host"
    memory = "memory_used_bytes" if is_host else "memory_bytes"
    metrics: tuple[tuple[str, Write], ...] = (
        ("cpu_percent", format_rate),
        (memory, _bytes),
        ("disk_percent", format_rate),
        ("open_files", format_number),
        ("threads", format_number),
    )
    cells = []
    for metric, write in metrics:
        mean, peak = use.means.get(metric), use.peaks.get(metric)
        cells += [(write(_whole(metric, mean)), mean), (write(_whole(metric, peak)), peak)]
    name = "host" if is_host else f"{use.kind} {use.pid}"
    return UseRow(use.host, name, is_host, _describe_limits(use), cells)


def _whole(metric: str, value: float | None) -> float | None:
    return round(value) if value is not None and metric in ("open_files", "threads") else value


def _describe_limits(use: ResourceUse) -> str:
    """Say of what a share is one: the host's, or what a control group leaves of it."""
    limits = use.limits or {}
    if use.kind != "host":
        files = limits.get("open_files")
        return f"{format_number(files)} files" if files else ""
    if "cpu_cores" not in limits or "memory_bytes" not in limits:
        return ""
    sources = {limits["cpu_limit"], limits["memory_limit"]} - {"host"}
    text = f"{format_number(limits['cpu_cores'])} cores, {format_bytes(int(limits['memory_bytes']))}"
    return f"{text}, by {' and '.join(sorted(sources))}" if sources else text


def _bytes(value: float | None) -> str:
    return UNKNOWN if value is None else format_bytes(int(value))


def _bytes_per_second(value: float | None) -> str:
    return UNKNOWN if value is None else f"{format_bytes(int(value))}/s"


def _per_second(value: float | None) -> str:
    return UNKNOWN if value is None else f"{format_number(round(value, 1))}/s"
