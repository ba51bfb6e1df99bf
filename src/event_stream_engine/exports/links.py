"""Links to a file for somebody who does not sign in: signed with the engine's key, good until an instant."""

import hmac
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.exports.jobs import Export
from event_stream_engine.kernel.errors import Conflict, Denied, Invalid

LONGEST_HOURS = 72


def sign_link(secret_key: str, export: Export, now: datetime, hours: int) -> tuple[str, datetime]:
    """Return the path of a link and until when it is good, at the longest as long as the file is kept.

    Errors: Invalid; Conflict when there is no file.
    """
    if not 1 <= hours <= LONGEST_HOURS:
        raise Invalid(f"A link is good for 1 to {LONGEST_HOURS} hours.", "hours")
    if export.state != "completed" or export.expires_at is None:
        raise Conflict(f"This export has no file: it is {export.state}. Ask for it again.")
    until = min(now + timedelta(hours=hours), export.expires_at).replace(microsecond=0)
    seconds = int(until.timestamp())
    return f"/exports/{export.id}?until={seconds}&signature={_sign(secret_key, export.id, seconds)}", until


def check_link(secret_key: str, export_id: UUID, until: int, signature: str, now: datetime) -> None:
    """Errors: Denied when the link is not ours or no longer good."""
    expected = _sign(secret_key, export_id, until)
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        raise Denied("This link is not whole. Copy it anew, with everything behind the question mark.")
    if now.timestamp() >= until:
        raise Denied("This link is no longer good. Ask whoever gave it to you for another one.")


def _sign(secret_key: str, export_id: UUID, until: int) -> str:
    return hmac.digest(secret_key.encode(), f"export:{export_id}:{until}".encode(), "sha256").hex()
