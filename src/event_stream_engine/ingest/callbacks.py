"""A verified webhook as the event that is stored: its type, its natural key, its payload."""

from datetime import datetime
from hashlib import blake2b
from uuid import UUID

import orjson

from event_stream_engine.messaging.webhooks import Form, make_storable
from event_stream_engine.stream.log import Event

RECEIPT = "receipt"
INBOUND = "inbound"
MESSAGE_ID = "EseMessageId"  # in a receipt's payload: which message of ours it is about
KIND_BY_PATH = {"/webhooks/status": RECEIPT, "/webhooks/inbound": INBOUND}


def event_type_of(kind: str) -> str:
    return f"{kind}.received"


def make_event(kind: str, form: Form, received_at: datetime, account_sid: str | None) -> Event:
    """Make the event of a webhook; one of another account than ours is quarantined.

    The natural key of a receipt is SID, status, error code and RawDlrDoneDate; of an inbound message its SID.
    """
    is_foreign = account_sid is not None and form.get("AccountSid") != account_sid
    event_type = f"{kind}.quarantined" if is_foreign else event_type_of(kind)
    sid = form.get("MessageSid") or form.get("SmsSid")
    natural_key = [event_type, sid]
    if kind == RECEIPT:
        status = form.get("MessageStatus") or form.get("SmsStatus")
        natural_key += [status, form.get("ErrorCode"), form.get("RawDlrDoneDate")]
    stored = make_storable(form)
    # Without a SID only an identical request is the same event.
    text = repr(natural_key if sid else [event_type, sorted(stored.items())])
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Event(received_at, event_type, UUID(bytes=digest), orjson.dumps(stored).decode())


def read_json(body: bytes) -> Form:
    """Read a JSON body as a form: nested values are kept as their JSON text.

    Errors: ValueError when it is no JSON object.
    """
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in document.items()
    }
