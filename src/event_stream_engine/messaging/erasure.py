"""Taking a person's number and words out of messages; that there was a message stays."""

from collections.abc import Sequence

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def disguise_person(conn: Connection, phone: str, pseudonym: str) -> tuple[int, int]:
    """Put a pseudonym in place of a number; return how many messages and inbound messages there were."""
    place = {"phone": phone, "pseudonym": pseudonym}
    return await SQL.disguise_messages.execute(conn, place), await SQL.disguise_inbound.execute(conn, place)


async def disguise_mentions(conn: Connection, sids: Sequence[str], phone: str, pseudonym: str) -> None:
    """Put a pseudonym in place of a number in what others wrote."""
    await SQL.disguise_mentions.execute(
        conn, {"sids": list(sids), "digits": phone[1:], "pseudonym_digits": pseudonym[1:]}
    )


async def list_sids_to(conn: Connection, phones: Sequence[str]) -> list[str]:
    """Return the SIDs of the messages to these people."""
    sids: list[str] = await SQL.list_sids_to.value(conn, {"phones": list(phones)})
    return sids
