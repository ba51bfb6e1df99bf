"""What one click does: each action as a person would do it, on what is there at that moment, audited by the slice that does it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from event_stream_engine.audience.suppressions import release, suppress_unreachable
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns.campaigns import change_campaign, load_campaign, lower_rate
from event_stream_engine.campaigns.templates import change_template, load_template
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Action
from event_stream_engine.insights.send_rates import list_open_rates
from event_stream_engine.insights.unreachable import list_unreachable
from event_stream_engine.insights.wide_texts import rewrite
from event_stream_engine.kernel.errors import Conflict

SQL = load_queries(__package__)
LONGEST_MS = "60000"
UNDOABLE = frozenset({"suppress_numbers"})
Parameters = Mapping[str, str]


async def act(conn: Connection, actor: Actor, action: Action, recommendation_id: UUID, look: Look) -> str:
    """Do it in the caller's transaction and say what was done. Errors: Conflict where there is nothing left to do."""
    return await _ACTIONS[action.name](conn, actor, action.parameters, recommendation_id, look)


async def undo(
    conn: Connection, actor: Actor, action: Action, recommendation_id: UUID, now: datetime
) -> None:
    """Take back what an action did. Errors: Conflict where people must do it themselves."""
    if action.name not in UNDOABLE:
        raise Conflict(f"“{action.label}” cannot be undone from here. Change it back where it is edited.")
    await release(conn, actor, source=_name(recommendation_id), at=now)


async def _suppress(
    conn: Connection, actor: Actor, parameters: Parameters, recommendation_id: UUID, look: Look
) -> str:
    channel = parameters["channel"]
    # Among ten million messages this takes some seconds; whoever has decided waits for it, unlike the reader of a page.
    await SQL.bound_statement.execute(conn, {"milliseconds": LONGEST_MS})
    people = await list_unreachable(conn, look, channel=channel)
    if not people:
        raise Conflict(
            "Nobody is left to suppress: these people have been reached, or are suppressed already."
        )
    count = await suppress_unreachable(
        conn,
        actor,
        look.secret_key,
        [one.phone for one in people],
        channel,
        source=_name(recommendation_id),
        at=look.now,
    )
    return f"{count:,} numbers are not written to on {channel} until they write to us."


async def _change_template(
    conn: Connection, actor: Actor, parameters: Parameters, _recommendation_id: UUID, look: Look
) -> str:
    template = await load_template(conn, UUID(parameters["template_id"]))
    rewriting = rewrite(template.body)
    if rewriting is None or not rewriting.is_plain:
        raise Conflict(
            "The template was changed meanwhile: there is nothing left that could be written plainly."
        )
    draft = replace(template.draft, body=rewriting.body)
    await change_template(conn, actor, look.now, template.id, draft)
    return f"Template “{template.name}” is written plainly. Campaigns that have started keep their text."


async def _lower_rate(
    conn: Connection, actor: Actor, parameters: Parameters, _recommendation_id: UUID, look: Look
) -> str:
    rate = int(parameters["rate_per_second"])
    campaigns = await list_open_rates(conn, parameters["sender"], rate)
    if not campaigns:
        raise Conflict("No campaign that is or will be sent is faster than this any more.")
    for one in campaigns:
        if one.state == "running":
            await lower_rate(conn, actor, one.id, rate * 100 // one.rate_per_second, look.now)
        else:
            draft = (await load_campaign(conn, one.id)).draft
            await change_campaign(conn, actor, one.id, replace(draft, rate_per_second=rate), look.now)
    return f"Lowered to {rate:,} messages a second at most: {', '.join(one.name for one in campaigns)}."


_ACTIONS: Mapping[str, Callable[[Connection, Actor, Parameters, UUID, Look], Awaitable[str]]] = {
    "suppress_numbers": _suppress,
    "change_template": _change_template,
    "lower_rate": _lower_rate,
}


def _name(recommendation_id: UUID) -> str:
    return f"recommendation:{recommendation_id}"
