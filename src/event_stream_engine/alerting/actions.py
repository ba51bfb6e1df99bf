"""What a rule may do by itself when it fires: opt-in, once an episode, audited like what a person does."""

from datetime import datetime
from uuid import UUID

from event_stream_engine.alerting.episodes import Episode
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.campaigns import campaigns
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.errors import Conflict, NotFound

ALERTING = Actor("engine:alerting")


async def act(conn: Connection, action: str, percent: int | None, episode: Episode, now: datetime) -> str:
    """Do to the alert's campaign what its rule says, in the transaction of the fire, and say what was done."""
    campaign_id = UUID(episode.subject.removeprefix("campaign:"))
    try:
        if action == "pause_campaign":
            await campaigns.pause_campaign(conn, ALERTING, campaign_id, now)
            done = "Paused the campaign."
        else:
            lowered = await campaigns.lower_rate(conn, ALERTING, campaign_id, percent or 100, now)
            done = f"Lowered the campaign to {lowered.rate_per_second:,} messages a second."
    except (Conflict, NotFound) as error:
        return f"Nothing was done: {error}"
    after = {"alert": episode.alert_id, "done": action, "campaign": str(campaign_id)}
    await record(conn, ALERTING, Entry(now, "alert.acted", f"alert:{episode.id}", after=after))
    return done
