"""What becomes of a campaign's segment on the way to an answer, step by step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from event_stream_engine.analytics.campaign_progress import Progress
from event_stream_engine.web.wording import word_reason


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the waterfall: what is left (`is_rest`), or what went on the way to it. `asks` finds its messages."""

    name: str
    count: int
    mark: str
    is_rest: bool = False
    note: str = ""
    asks: Mapping[str, str] | None = None


def list_steps(progress: Progress, replied: int, *, segment: str, is_cancelled: bool) -> list[Step]:
    """Return the steps from the segment to an answer; losses of nobody are left out."""
    sent, delivered = progress.sent, progress.delivered
    steps = [Step(f"Segment {segment}", progress.recipients, "", is_rest=True, asks={})]
    steps += _list_denied(progress.denied, lambda reason: reason.startswith("consent_"))
    steps += [
        Step(word_reason(reason), count, "in-flight", note="deferred now", asks=_ask("PENDING", reason))
        for reason, count in _largest_first(progress.deferred)
    ]
    steps += _list_denied(progress.denied, lambda reason: not reason.startswith("consent_"))
    steps += [
        Step(
            "Never handed over" if is_cancelled else "Wait their turn",
            progress.turn,
            "",
            asks=_ask("PENDING"),
        ),
        Step(
            "Outcome not known yet",
            progress.unsure,
            "warning",
            note="being reconciled",
            asks=_ask("UNKNOWN"),
        ),
        Step("Attempted", progress.handed_over, "", is_rest=True),
        Step("Refused by the provider", max(0, progress.handed_over - sent), "failed", asks=_ask("FAILED")),
        Step("Sent", sent, "", is_rest=True),
        Step("In flight", progress.in_flight, "in-flight", asks=_ask("SENT")),
        Step(
            "Failed or undelivered",
            max(0, sent - progress.in_flight - delivered),
            "failed",
            asks=_ask("UNDELIVERED"),
        ),
        Step("Delivered", delivered, "delivered", is_rest=True, asks=_ask("DELIVERED")),
        Step("Read", progress.read, "delivered", is_rest=True, asks=_ask("READ")),
        Step("Replied", replied, "delivered", is_rest=True, note="within 72 h"),
    ]
    return [step for step in steps if step.is_rest or step.count]


def _list_denied(denied: Mapping[str, int], is_meant: Callable[[str], bool]) -> Iterator[Step]:
    for reason, count in _largest_first(denied):
        if is_meant(reason):
            yield Step(word_reason(reason), count, "warning", note="denied", asks=_ask("SKIPPED", reason))


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _ask(status: str, reason: str | None = None) -> dict[str, str]:
    return {"status": status} | ({"reason": reason} if reason else {})
