"""A report as a document: its texts and tables, written once for page, PDF, Markdown and mail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.kernel.formats import (
    UNKNOWN,
    format_date,
    format_duration,
    format_number,
    format_rate,
)
from event_stream_engine.reporting.daily import DailyReport
from event_stream_engine.reporting.key_figures import Figure, write_figures
from event_stream_engine.reporting.report import (
    DAILY,
    Change,
    Frame,
    Improvement,
    TopCampaign,
    Value,
)
from event_stream_engine.reporting.versions import Report

# Where the reasons stand of what a document shows; the answer of the API has more.
_SHOWN = ("summary.", "weekly_metrics.", "trends.", "timing_analysis")


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are (title, `text` or `number`)."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """An improvement: its sentence, the rows behind it and the page that shows them."""

    text: str
    evidence: Table
    path: str


@dataclass(frozen=True, slots=True)
class Document:
    """`subtitle`: of when it is; `state`: how far it is known; `restated`: why there is another version, and what changed."""

    kind: str
    last: date
    version: int | None
    name: str
    path: str
    title: str
    subtitle: str
    state: str
    restated: str
    changes: Table
    lead: str
    figures: tuple[Figure, ...]
    compared_with: str
    course_title: str
    course: Table
    points: tuple[DeliveryPoint, ...]
    improvements: tuple[Advice, ...]
    campaigns: Table
    failures: Table
    unknown: tuple[str, ...]
    definitions: tuple[tuple[str, str, str], ...]  # name, formula, note
    cut_off: str
    cut_off_at: datetime

    def address(self, extension: str) -> str:
        """Return where the API gives out this report: as JSON, or with an extension as a file."""
        named = "date" if self.kind == DAILY else "ending"
        version = "" if self.version is None else f"&version={self.version}"
        return f"/api/v1/reports/{self.kind}{extension}?{named}={self.last.isoformat()}{version}"


def write_document(report: Report) -> Document:
    """Write a report down as people read it."""
    frame = report.frame
    zone = ZoneInfo(frame.zone)
    is_daily = frame.kind == DAILY
    before = "the day before" if is_daily else "the week before"
    before += " up to the same time" if frame.is_so_far else ""
    points = report.hours if isinstance(report, DailyReport) else report.days
    restated = frame.restated
    return Document(
        kind=frame.kind,
        last=frame.last,
        version=frame.version,
        name=name_document(frame),
        path=find_path(frame),
        title="Daily report" if is_daily else "Weekly report",
        subtitle=word_days(frame.first, frame.last),
        state=_word_state(frame, zone),
        restated=restated.reason if restated else "",
        changes=_list_changes(restated.changes if restated else ()),
        lead=_write_lead(report),
        figures=write_figures(report),
        compared_with=before if report.before is not None else "",
        course_title="Hours of the day" if is_daily else "Days of the week",
        course=_list_course(points, zone, is_daily=is_daily),
        points=points,
        improvements=tuple(_write_advice(one) for one in report.improvements),
        campaigns=_list_campaigns(report.top_campaigns),
        failures=_list_failures(report.failures),
        unknown=_list_unknown(report, zone),
        definitions=tuple((one.name, one.formula, one.note) for one in frame.definitions),
        cut_off=f"{format_date(frame.cut_off_at, zone)} {frame.zone}",
        cut_off_at=frame.cut_off_at,
    )


def find_path(frame: Frame) -> str:
    """Return the page of a report: of this very version, where there is one."""
    version = "" if frame.version is None else f"?version={frame.version}"
    return f"/reports/{frame.kind}/{frame.last.isoformat()}{version}"


def name_document(frame: Frame) -> str:
    """Return what a file with this report is called, without its extension."""
    version = "" if frame.version is None else f"-v{frame.version}"
    return f"{frame.kind}-report-{frame.last.isoformat()}{version}"


def word_days(first: date, last: date) -> str:
    """Write a day, or from when to when: `Thursday, 26 March 2026`, `20 – 26 March 2026`."""
    if first == last:
        return f"{last:%A}, {last.day} {last:%B %Y}"
    begun = f"{first.day}"
    if first.month != last.month:
        begun += f" {first:%B}"
    if first.year != last.year:
        begun += f" {first.year}"
    return f"{begun} – {last.day} {last:%B %Y}"


def _word_state(frame: Frame, zone: ZoneInfo) -> str:
    version = "not kept as a version" if frame.version is None else f"version {frame.version}"
    known = f"as known {format_date(frame.cut_off_at, zone)} {frame.zone}"
    return f"so far, {known}" if frame.is_so_far else f"{version}, {known}"


def _write_lead(report: Report) -> str:
    counts = report.figures.counts
    if not counts.messages:
        return "No message was sent."
    sent = f"{_count(counts.sent, 'message was', 'messages were')} sent"
    arrived = f"{format_number(counts.delivered)} arrived ({format_rate(counts.delivery_rate_percent)})"
    if not counts.sent:
        return f"{sent}; {format_number(counts.failed)} failed."
    open_ones = f", {format_number(counts.in_flight)} were still on their way" if counts.in_flight else ""
    return f"{sent}: {arrived}, {format_number(counts.failed)} failed{open_ones}."


def _list_course(points: Sequence[DeliveryPoint], zone: ZoneInfo, *, is_daily: bool) -> Table:
    columns = (
        *(("Hour" if is_daily else "Day", "text"), ("Sent", "number"), ("Delivered", "number")),
        *(("In flight", "number"), ("Failed", "number"), ("Delivery rate", "number"), ("p50", "number"), ("p95", "number")),
    )  # fmt: skip
    rows = []
    for point in points:
        local = point.at.astimezone(zone)
        rows.append(
            (
                f"{local:%H:%M}" if is_daily else f"{local:%a} {local.day} {local:%b}",
                *map(format_number, (point.sent, point.delivered, point.in_flight, point.failed)),
                format_rate(point.delivery_rate_percent),
                format_duration(point.p50_seconds),
                format_duration(point.p95_seconds),
            )
        )
    return Table(columns, tuple(_tell_apart(rows, points, zone) if is_daily else rows))


def _tell_apart(
    rows: Sequence[tuple[str, ...]], points: Sequence[DeliveryPoint], zone: ZoneInfo
) -> list[tuple[str, ...]]:
    """Write the zone's abbreviation beside hours that a clock change repeats."""
    names = [row[0] for row in rows]
    return [
        (f"{row[0]} {point.at.astimezone(zone):%Z}", *row[1:]) if names.count(row[0]) > 1 else row
        for row, point in zip(rows, points, strict=True)
    ]


def _write_advice(one: Improvement) -> Advice:
    columns = tuple(
        (_word_column(name), "text" if any(isinstance(row[place], str) for row in one.rows) else "number")
        for place, name in enumerate(one.columns)
    )
    rows = tuple(
        tuple(_word_value(name, value) for name, value in zip(one.columns, row, strict=True))
        for row in one.rows
    )
    return Advice(one.text, Table(columns, rows), one.path)


def _word_column(name: str) -> str:
    words = name.removesuffix("_percent").removesuffix("_seconds").replace("_", " ")
    return words if words[1:].isdigit() else words.capitalize()  # p50 is written small


def _word_value(name: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    if name.endswith("_percent"):
        return format_rate(value)
    return format_duration(value) if name.endswith("_seconds") else format_number(value)


def _list_campaigns(campaigns: Sequence[TopCampaign]) -> Table:
    columns = (("Campaign", "text"), ("Sent", "number"), ("Delivered", "number"), ("Delivery rate", "number"), ("95 % interval", "number"))  # fmt: skip
    return Table(columns, tuple((one.name, *_word_rate(one.delivery)) for one in campaigns))


def _word_rate(rate: Rate) -> tuple[str, str, str, str]:
    low, high = rate.interval or (None, None)
    interval = UNKNOWN if low is None else f"{low:.1f} – {high:.1f} %"
    return format_number(rate.denominator), format_number(rate.numerator), format_rate(rate.percent), interval


def _list_failures(failures: Sequence[FailureRow]) -> Table:
    columns = (("Code", "text"), ("Failed", "number"), ("Share", "number"), ("What it means", "text"), ("What helps", "text"))  # fmt: skip
    rows = (
        (str(one.code or "none"), format_number(one.count), format_rate(one.percentage), one.description, one.resolution)
        for one in failures
    )  # fmt: skip
    return Table(columns, tuple(rows))


def _list_changes(changes: Sequence[Change]) -> Table:
    columns = (("Figure", "text"), ("Before", "number"), ("Now", "number"))
    return Table(columns, tuple((one.name, _plain(one.before), _plain(one.after)) for one in changes))


def _plain(value: Value) -> str:
    return value if isinstance(value, str) else format_number(value)


def _list_unknown(report: Report, zone: ZoneInfo) -> tuple[str, ...]:
    """Return why figures that the document shows are not known."""
    since = report.frame.recorded_since
    begun = (
        []
        if since is None
        else [f"Records begin {format_date(since, zone)}; what was before is not counted."]
    )
    told = [reason for place, reason in report.unknown.items() if place.startswith(_SHOWN)]
    return tuple(dict.fromkeys([*begun, *told]))


def _count(number: int, one: str, many: str) -> str:
    return f"{format_number(number)} {one if number == 1 else many}"
