"""Notices as one message for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from event_stream_engine.notifications.notice import CONSOLE, SEVERITIES, Notice

_TONES = {
    "critical": "failure",
    "high": "failure",
    "medium": "warning",
    "low": "warning",
    "warning": "warning",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A title, a text, and a tone: failure, warning, info or success. `html`: what a mail shows in place of the text."""

    title: str
    body: str
    tone: str
    html: str = ""


def compose_message(notices: Sequence[Notice], public_url: str) -> Message:
    """Put notices, in their order, into one message."""
    open_ones = [notice for notice in notices if not notice.is_resolved]
    gravest = min(open_ones or notices, key=lambda notice: SEVERITIES.index(notice.severity))
    parts = [_compose(notice, public_url, with_title=len(notices) > 1) for notice in notices]
    title = gravest.title if len(notices) == 1 else f"{len(notices)} notices: {gravest.title}"
    tone = _TONES.get(gravest.severity, "info") if open_ones else "success"
    html = notices[0].html.replace(f'href="{CONSOLE}', f'href="{public_url}') if len(notices) == 1 else ""
    return Message(title, "\n\n".join(parts), tone, html)


def _compose(notice: Notice, public_url: str, *, with_title: bool) -> str:
    lines = [f"{notice.at:%Y-%m-%d %H:%M:%S} UTC · {notice.kind.replace('.', ' ')} · {notice.severity}"]
    if with_title:
        lines.insert(0, notice.title)
    if notice.text:
        lines.append(notice.text)
    lines += [f"{name}: {value}" for name, value in notice.facts]
    lines.append(public_url + notice.path)
    return "\n".join(lines)
