"""A report as a mail: HTML that any mail program shows, and a short text for those that show none.

Tables and inline styles, because mail programs know little else. No picture and nothing from elsewhere: what a mail loads
tells whoever sent it that it was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.notifications.notice import CONSOLE
from event_stream_engine.reporting.documents import Document

HIGHEST_PX = 64
MOST_ROWS = 5  # of a table; the report itself has them all
_TEMPLATES = Environment(
    loader=PackageLoader("event_stream_engine.reporting", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bin of the course, its parts in pixels."""

    label: str
    failed_px: int
    in_flight_px: int
    delivered_px: int


def write_summary(document: Document) -> str:
    """Return the short text: what a chat shows, and a mail program without HTML."""
    lines = [document.state]
    if document.restated:
        lines.append(f"Restated: {document.restated}")
        lines += [f"- {name}: {before} → {now}" for name, before, now in document.changes.rows]
    lines += [document.lead, ""]
    for one in document.figures:
        change = f" ({one.change})" if one.change else ""
        lines.append(f"{one.name}: {f'{one.value} {one.unit}'.rstrip()}{change}")
    if document.compared_with:
        lines.append(f"Changes are against {document.compared_with}.")
    if document.improvements:
        lines += ["", "Areas for improvement:"]
        lines += [f"{number}. {one.text}" for number, one in enumerate(document.improvements, 1)]
    return "\n".join(lines)


def write_mail(document: Document) -> str:
    """Return a report as HTML for mail."""
    return _TEMPLATES.get_template("mail.html").render(
        document=document,
        bars=_draw_course(document.points, [row[0] for row in document.course.rows]),
        most=MOST_ROWS,
        highest=HIGHEST_PX,
        url=CONSOLE,
    )


def _draw_course(points: Sequence[DeliveryPoint], labels: Sequence[str]) -> list[Bar]:
    highest = max((point.delivered + point.in_flight + point.failed for point in points), default=0)
    scale = HIGHEST_PX / highest if highest else 0.0
    every = 6 if len(points) > 7 else 1
    return [
        Bar(
            label.partition(":")[0].partition(" ")[0] if place % every == 0 else "",
            *(_measure(count, scale) for count in (point.failed, point.in_flight, point.delivered)),
        )
        for place, (point, label) in enumerate(zip(points, labels, strict=True))
    ]


def _measure(count: int, scale: float) -> int:
    """Return the height of a part; what is there at all is seen."""
    return max(round(count * scale), 1) if count else 0
