"""Campaigns from draft to their end: what may follow what, and what a start freezes.

Each transition is made under the campaign's row lock, written into the audit log and told as an event. Asking for the
state there already is changes nothing, so that a start that is repeated is one start.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, time
from typing import Any
from uuid import UUID, uuid4

import orjson

from event_stream_engine.audience.segments import compile_filter
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.kernel.phone import is_e164
from event_stream_engine.stream.log import Event, append_own_events

SQL = load_queries(__package__)
_SERVICE_SID = re.compile(r"MG[0-9a-fA-F]{32}\Z")
# What may be asked for in which state.
_POSSIBLE = {
    "draft": ("change", "schedule", "start", "cancel"),
    "scheduled": ("change", "schedule", "start", "cancel"),
    "running": ("pause", "cancel"),
    "paused": ("resume", "cancel"),
    "completed": (),
    "cancelled": (),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person decides about a campaign. Quiet hours are the recipient's local time; equal ones mean none."""

    name: str
    segment_id: UUID
    template_id: UUID
    sender: str
    rate_per_second: int
    quiet_starts: time = time(21)
    quiet_ends: time = time(8)


@dataclass(frozen=True, slots=True)
class Campaign:
    id: UUID
    name: str
    segment_id: UUID
    template_id: UUID
    sender: str
    rate_per_second: int
    quiet_starts: time
    quiet_ends: time
    state: str
    template: Mapping[str, Any] | None
    filter: Mapping[str, Any] | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    filled_to: str | None
    filled_at: datetime | None
    recipients: int

    @property
    def possible(self) -> Sequence[str]:
        """What may be asked for now."""
        return _POSSIBLE[self.state]

    @property
    def draft(self) -> Draft:
        return Draft(
            self.name,
            self.segment_id,
            self.template_id,
            self.sender,
            self.rate_per_second,
            self.quiet_starts,
            self.quiet_ends,
        )


@dataclass(frozen=True, slots=True)
class _Sources:
    """What a start freezes, None where it is gone or archived."""

    filter: Mapping[str, Any] | None
    template: Mapping[str, Any] | None


async def create_campaign(conn: Connection, actor: Actor, draft: Draft, now: datetime) -> Campaign:
    """Make a draft. Errors: Invalid naming the field at fault."""
    await _check_draft(conn, draft)
    campaign_id = uuid4()
    await SQL.create_campaign.execute(
        conn, asdict(draft) | {"id": campaign_id, "actor": actor.name, "now": now}
    )
    await record(
        conn,
        actor,
        Entry(now, "campaign.created", _subject(campaign_id), after=_describe_draft(draft)),
    )
    return await load_campaign(conn, campaign_id)


async def change_campaign(
    conn: Connection, actor: Actor, campaign_id: UUID, draft: Draft, now: datetime
) -> Campaign:
    """Change a campaign that has not begun. Errors: Invalid, NotFound, Conflict."""
    campaign = await _lock(conn, campaign_id, "change")
    await _check_draft(conn, draft)
    before, after = _describe_draft(campaign.draft), _describe_draft(draft)
    if before == after:
        return campaign
    await SQL.change_campaign.execute(conn, asdict(draft) | {"id": campaign_id, "now": now})
    changed = {name for name in after if before[name] != after[name]}
    entry = Entry(
        now,
        "campaign.changed",
        _subject(campaign_id),
        {name: before[name] for name in sorted(changed)},
        {name: after[name] for name in sorted(changed)},
    )
    await record(conn, actor, entry)
    return await load_campaign(conn, campaign_id)


async def schedule_campaign(
    conn: Connection, actor: Actor, campaign_id: UUID, at: datetime, *, now: datetime
) -> Campaign:
    """Have a campaign start by itself. Errors: Invalid for the past, NotFound, Conflict."""
    campaign = await _lock(conn, campaign_id, "schedule")
    if at <= now:
        raise Invalid("This moment has passed. Name one in the future, or start the campaign now.", "at")
    if campaign.scheduled_at == at:
        return campaign
    await _load_sources(conn, campaign)
    return await _move(conn, actor, campaign, "scheduled", now, scheduled_at=at)


async def start_campaign(conn: Connection, actor: Actor, campaign_id: UUID, now: datetime) -> Campaign:
    """Start a campaign with the segment's filter and the template's content as they are now.

    Errors: Invalid when either is gone or not usable, NotFound, Conflict.
    """
    campaign = await _lock(conn, campaign_id, "start")
    if campaign.state == "running":
        return campaign
    sources = await _load_sources(conn, campaign)
    return await _move(
        conn,
        actor,
        campaign,
        "running",
        now,
        started_at=now,
        filter=sources.filter,
        template=sources.template,
    )


async def pause_campaign(conn: Connection, actor: Actor, campaign_id: UUID, now: datetime) -> Campaign:
    """Stop handing over at once; what is being handed over is finished. Errors: NotFound, Conflict."""
    campaign = await _lock(conn, campaign_id, "pause")
    return campaign if campaign.state == "paused" else await _move(conn, actor, campaign, "paused", now)


async def resume_campaign(conn: Connection, actor: Actor, campaign_id: UUID, now: datetime) -> Campaign:
    """Go on with a paused campaign. Errors: NotFound, Conflict."""
    campaign = await _lock(conn, campaign_id, "resume")
    return campaign if campaign.state == "running" else await _move(conn, actor, campaign, "running", now)


async def cancel_campaign(conn: Connection, actor: Actor, campaign_id: UUID, now: datetime) -> Campaign:
    """End a campaign for good; what has not been handed over never will be. Errors: NotFound, Conflict."""
    campaign = await _lock(conn, campaign_id, "cancel")
    if campaign.state == "cancelled":
        return campaign
    return await _move(conn, actor, campaign, "cancelled", now, finished_at=now)


async def lower_rate(
    conn: Connection, actor: Actor, campaign_id: UUID, percent: int, now: datetime
) -> Campaign:
    """Leave a running campaign a share of its messages a second, one at least; the next claim holds it.

    Errors: NotFound, Conflict when it does not run.
    """
    campaign = await _lock(conn, campaign_id, "pause")
    if campaign.state != "running":
        raise Conflict(f"Campaign {campaign.name} is {campaign.state}, so it has no rate to lower.")
    lowered = max(1, campaign.rate_per_second * percent // 100)
    if lowered == campaign.rate_per_second:
        return campaign
    await SQL.lower_rate.execute(conn, {"id": campaign_id, "rate_per_second": lowered, "now": now})
    before, after = {"rate_per_second": campaign.rate_per_second}, {"rate_per_second": lowered}
    await record(conn, actor, Entry(now, "campaign.rate_lowered", _subject(campaign_id), before, after))
    return replace(campaign, rate_per_second=lowered, updated_at=now)


async def complete_campaigns(conn: Connection, actor: Actor, now: datetime) -> int:
    """End the campaigns that have nothing left to hand over, and return how many."""
    campaigns = await SQL.lock_finished_campaigns.many(conn, Campaign)
    for campaign in campaigns:
        await _move(conn, actor, campaign, "completed", now, finished_at=now)
    return len(campaigns)


async def list_due_ids(conn: Connection, now: datetime) -> list[UUID]:
    """Return the scheduled campaigns whose time has come."""
    return [row.id for row in await SQL.list_due_campaigns.many(conn, _Id, {"now": now})]


async def unschedule_campaign(
    conn: Connection, actor: Actor, campaign_id: UUID, reason: str, now: datetime
) -> None:
    """Make a scheduled campaign that cannot start a draft again, so that it is not tried for ever."""
    campaign = await _lock(conn, campaign_id, "start")
    if campaign.state == "scheduled":
        await SQL.unschedule_campaign.execute(conn, {"id": campaign_id, "now": now})
        after = {"state": "draft", "reason": reason}
        entry = Entry(now, "campaign.changed", _subject(campaign_id), {"state": "scheduled"}, after)
        await record(conn, actor, entry)


async def load_campaign(conn: Connection, campaign_id: UUID) -> Campaign:
    """Return a campaign. Errors: NotFound."""
    found = await SQL.find_campaign.maybe(conn, Campaign, {"id": campaign_id})
    if found is None:
        raise NotFound("There is no such campaign.")
    return found


async def find_campaign(conn: Connection, which: str) -> Campaign:
    """Return a campaign by id or by a name that only one has. Errors: NotFound, Conflict."""
    try:
        return await load_campaign(conn, UUID(which))
    except ValueError:
        pass
    found = await SQL.list_campaigns_by_name.many(conn, Campaign, {"name": which})
    if not found:
        raise NotFound(f"There is no campaign {which!r}. `ese campaign status` lists them.")
    if len(found) > 1:
        raise Conflict(f"Several campaigns are called {which!r}: name one by its id.")
    return found[0]


async def find_source_id(conn: Connection, kind: str, which: str) -> UUID:
    """Return the id of a segment or template in use by its id or name. Errors: Invalid."""
    try:
        return UUID(which)
    except ValueError:
        pass
    query = SQL.find_segment_id if kind == "segment" else SQL.find_template_id
    found: UUID | None = await query.value(conn, {"name": which})
    if found is None:
        raise Invalid(f"There is no {kind} {which!r}, or it is archived.", kind)
    return found


async def list_campaigns(
    conn: Connection, *, limit: int, before: tuple[datetime, UUID] | None = None, state: str | None = None
) -> list[Campaign]:
    """Return campaigns, newest first, from behind a place (created_at, id) on."""
    at, campaign_id = before or (None, None)
    parameters = {"limit": limit, "before_at": at, "before_id": campaign_id, "state": state}
    return await SQL.list_campaigns.many(conn, Campaign, parameters)


@dataclass(frozen=True, slots=True)
class _Id:
    id: UUID


async def _lock(conn: Connection, campaign_id: UUID, wanted: str) -> Campaign:
    campaign = await SQL.lock_campaign.maybe(conn, Campaign, {"id": campaign_id})
    if campaign is None:
        raise NotFound("There is no such campaign.")
    reached = {
        "start": "running",
        "resume": "running",
        "pause": "paused",
        "cancel": "cancelled",
    }.get(wanted)
    if wanted not in campaign.possible and campaign.state != reached:
        possible = " or ".join(campaign.possible)
        rest = f"what is possible: {possible}." if possible else "it has ended."
        raise Conflict(f"Campaign {campaign.name} is {campaign.state}, so it cannot {wanted}; {rest}")
    return campaign


async def _check_draft(conn: Connection, draft: Draft) -> None:
    if not (0 < len(draft.name.strip()) <= 200):
        raise Invalid("A name of 1 to 200 characters is needed.", "name")
    if not (is_e164(draft.sender) or _SERVICE_SID.match(draft.sender)):
        raise Invalid(
            "The sender is a number like +14155550100 or the SID of a messaging service, MG….", "sender"
        )
    if not (1 <= draft.rate_per_second <= 10_000):
        raise Invalid("A rate from 1 to 10,000 messages a second is needed.", "rate_per_second")
    sources = await _find_sources(conn, draft.segment_id, draft.template_id)
    if sources.filter is None:
        raise Invalid("There is no such segment, or it is archived.", "segment_id")
    if sources.template is None:
        raise Invalid("There is no such template, or it is archived.", "template_id")


async def _load_sources(conn: Connection, campaign: Campaign) -> _Sources:
    sources = await _find_sources(conn, campaign.segment_id, campaign.template_id)
    if sources.filter is None:
        raise Invalid("The campaign's segment is archived. Choose another one.", "segment_id")
    if sources.template is None:
        raise Invalid("The campaign's template is archived. Choose another one.", "template_id")
    compile_filter(sources.filter, campaign.updated_at)  # an unusable filter is told now, not found out later
    return sources


async def _find_sources(conn: Connection, segment_id: UUID, template_id: UUID) -> _Sources:
    parameters = {"segment_id": segment_id, "template_id": template_id}
    return await SQL.find_sources.one(conn, _Sources, parameters)


async def _move(
    conn: Connection, actor: Actor, campaign: Campaign, state: str, now: datetime, **changes: Any
) -> Campaign:
    """Bring a locked campaign into a state, with everything that tells of it."""
    action = {"running": "started" if "started_at" in changes else "resumed"}.get(state, state)
    moved = replace(campaign, state=state, updated_at=now, **changes)
    await SQL.move_campaign.execute(
        conn,
        {
            "id": moved.id,
            "state": state,
            "now": now,
            "scheduled_at": moved.scheduled_at,
            "started_at": moved.started_at,
            "finished_at": moved.finished_at,
            "template": None if moved.template is None else orjson.dumps(moved.template).decode(),
            "filter": None if moved.filter is None else orjson.dumps(moved.filter).decode(),
        },
    )
    after: dict[str, Any] = {"state": state}
    if state == "scheduled" and moved.scheduled_at is not None:
        after["scheduled_at"] = format_instant(moved.scheduled_at)
    if "started_at" in changes:
        after |= {"filter": moved.filter, "template": moved.template}
    entry = Entry(now, f"campaign.{action}", _subject(moved.id), {"state": campaign.state}, after)
    await record(conn, actor, entry)
    payload = {
        "CampaignId": str(moved.id),
        "CampaignName": moved.name,
        "Recipients": moved.recipients,
    }
    event = Event(now, f"campaign.{action}", uuid4(), orjson.dumps(payload).decode())
    await append_own_events(conn, [event])
    return moved


def _subject(campaign_id: UUID) -> str:
    return f"campaign:{campaign_id}"


def _describe_draft(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "segment_id": str(draft.segment_id),
        "template_id": str(draft.template_id),
        "sender": draft.sender,
        "rate_per_second": draft.rate_per_second,
        "quiet_hours": f"{draft.quiet_starts:%H:%M}-{draft.quiet_ends:%H:%M}",
    }
