"""The story of one message, as a page and in the drawer that `story.js` opens from a row."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.formats import format_duration
from event_stream_engine.monitoring.feed_kinds import BY_SOURCE
from event_stream_engine.web.decisions import describe_decision
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.stories import tell_story
from event_stream_engine.web.wording import CONSENT_STATES, INTENT_NAMES, SOURCE_NAMES, word_reason

router = APIRouter(include_in_schema=False)

# What happened: (mark, name). Callbacks are named by their status, as in the feed.
HAPPENINGS = {
    "message.queued": ("unknown", "made for the recipient"),
    "message.accepted": ("in-flight", "taken by the provider"),
    "message.refused": ("failed", "refused by the provider"),
    "message.postponed": ("warning", "put off by the provider"),
    "message.skipped": ("warning", "will not be sent"),
    "message.unsure": ("warning", "no answer from the provider"),
    "message.requeued": ("in-flight", "not at the provider, waits again"),
    "compliance.allowed": ("delivered", "decision: allowed"),
    "compliance.deferred": ("in-flight", "decision: later"),
    "compliance.denied": ("warning", "decision: denied"),
    "reply.received": ("in-flight", "reply"),
}


@router.get("/messages/{message}")
async def show_story(request: Request, message: str, reveal: Annotated[bool, Query()] = False) -> Response:
    story = await tell_story(request, message, reveal=reveal)
    return render(
        request,
        "story.html",
        message=story["message"],
        due_at=parse_instant(story["message"]["due_at"]) if story["message"]["due_at"] else None,
        events=[_word_event(event) for event in story["events"]],
        is_cut=story["is_cut"],
        may_reveal=may_write(request) and not reveal,
        zone=resources_of(request).settings.timezone,
    )


def _word_event(event: dict[str, Any]) -> dict[str, Any]:
    """Say an event in a line; `facts` is what stands behind it, `decision` its six steps."""
    what, at, since = event["what"], parse_instant(event["at"]), event["seconds_since_previous"]
    worded: dict[str, Any] = {
        "at": at,
        "since": "" if since is None else f"+{format_duration(since)}",
        "facts": [],
        "decision": None,
        "detail": "",
    }
    mark, name = HAPPENINGS.get(what, ("accent", what.replace(".", " ").replace("_", " ")))
    if "parameters" in event:
        parameters = event["parameters"]
        if what == "receipt.received":
            status = parameters.get("MessageStatus") or parameters.get("SmsStatus")
            kind = BY_SOURCE.get(f"{what} {str(status).lower()}")
            mark, name = (kind.mark, f"callback: {kind.name}") if kind else ("unknown", "callback")
        worded["facts"] = [(key, _text(value)) for key, value in parameters.items()]
        worded["detail"] = word_reason(parameters.get("Reason")) or _text(parameters.get("ErrorCode"))
        if event["dead_letter"]:
            mark, worded["detail"] = "failed", f"without effect: {event['dead_letter']}"
    elif what.startswith("compliance."):
        worded["decision"] = describe_decision(at, what, event)
        worded["detail"] = word_reason(event.get("reason"))
    elif what.startswith("consent."):
        before, after = (CONSENT_STATES[event[side]] for side in ("state_before", "state_after"))
        mark, name = after[0], f"consent: {after[1]}"
        worded["detail"] = "unchanged" if before == after else f"was {before[1]}"
        source = SOURCE_NAMES.get(event["source"], event["source"])
        worded["facts"] = [("Source", source), ("Evidence", event["evidence"]), ("Entry", event["entry"])]
    elif what == "reply.received":
        name = f"reply: {INTENT_NAMES.get(event['intent'], event['intent'])}"
        worded["detail"] = f"“{event['body']}”"
    return worded | {"mark": mark, "name": name}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
