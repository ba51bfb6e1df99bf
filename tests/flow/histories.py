"""Random histories for tests: what the provider calls back, what our sender tells, what people write and consent to.

Made of relative microseconds, so that one history can be laid on any days of the calendar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from event_stream_engine.ingest.callbacks import MESSAGE_ID, make_event
from event_stream_engine.messaging import outcomes
from event_stream_engine.stream.log import Event

SECOND_US = 1_000_000
MINUTE_US, DAY_US = 60 * SECOND_US, 86_400 * SECOND_US
SPAN_US = 7 * DAY_US
FOCUS_US = 3 * DAY_US + 5 * 3_600 * SECOND_US  # where most of it happens, within minutes
PHONES = ["+14155551234", "+16135550123", "+447776105348", "+94771234567", "+999123456789", "+14165550199"]
SENDERS = ["+14155238886", "+12065550100", "MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
STATUSES = ["queued", "sending", "sent", "delivered", "read", "failed", "undelivered", "canceled"]
CODES = [None, 30003, 30007, 21610]
BODIES = [
    "STOP", " stop ", "Yes", "YES", "START", "unstop", "help", "Where is my order?", "reorder? no", "opt  out", "hello", "Stop it",
]  # fmt: skip

# Anywhere, on the edge of a quarter-hour or a microsecond beside it, and mostly close together.
anywhere = st.integers(0, SPAN_US)
edges = st.builds(
    lambda quarter, beside: quarter * 15 * MINUTE_US + beside,
    st.integers(1, SPAN_US // (15 * MINUTE_US)),
    st.sampled_from([-1, 0, 1]),
)
near = st.integers(0, 20 * MINUTE_US).map(lambda us: FOCUS_US + us)
instants = st.one_of(near, near, anywhere, edges)


@dataclass(frozen=True, slots=True)
class Told:
    """One thing told of a message, a status of a callback or an outcome; `by_id`: the callback carries our id."""

    kind: str
    at: int
    code: int | None = None
    by_id: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """`campaign` is a place in a list, None: external or a reply; `answers`: the inbound message a reply of ours is for."""

    id: UUID | None
    sid: str
    campaign: int | None
    answers: int | None
    channel: str
    sender: str
    phone: str
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Inbound:
    at: int
    phone: str
    body: str
    channel: str
    opt_out_type: str | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A person is made, or their consent stated, over the API. `state` None: no consent is given."""

    at: int
    phone: str
    state: str | None
    is_proved: bool
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class History:
    messages: Sequence[Message]
    inbound: Sequence[Inbound]
    statements: Sequence[Statement]


def _receipts(most: int) -> st.SearchStrategy[list[tuple[str, int, int | None]]]:
    return st.lists(st.tuples(st.sampled_from(STATUSES), instants, st.sampled_from(CODES)), max_size=most)


@st.composite
def _external(draw: st.DrawFn) -> Message:
    told = [Told(*one) for one in draw(_receipts(5).filter(bool))]
    return Message(
        None, f"SM{draw(st.integers(0, 10**9)):032x}", None, None, draw(_channels), draw(st.sampled_from(SENDERS)),
        draw(st.sampled_from(PHONES)), tuple(told),
    )  # fmt: skip


@st.composite
def _own(draw: st.DrawFn, campaigns: int) -> Message:
    kinds = st.sampled_from(["unsure", "requeued", "postponed", "postponed"])
    told = [
        Told(kind, at, draw(st.sampled_from([None, 20429, 30001])) if kind == "postponed" else None)
        for kind, at in draw(st.lists(st.tuples(kinds, instants), max_size=3, unique=True))
    ]
    end = draw(st.sampled_from(["accepted", "accepted", "accepted", "receipts", "refused", "skipped", None]))
    if end in ("accepted", "refused", "skipped"):
        told.append(
            Told(
                end, draw(instants), draw(st.sampled_from([21211, 21610, None])) if end == "refused" else None
            )
        )
    if end in ("accepted", "receipts"):
        # Without an acceptance only our id in the callback's address tells whose it is.
        told += [Told(*one, end == "receipts" or draw(st.booleans())) for one in draw(_receipts(5))]
    number = draw(st.integers(0, 2**64))
    is_reply = draw(st.integers(0, 4)) == 0
    return Message(
        UUID(int=number << 16), f"SM{number:031x}o", None if is_reply else draw(st.integers(0, campaigns - 1)),
        draw(st.integers(0, 9)) if is_reply else None, draw(_channels), draw(st.sampled_from(SENDERS)),
        draw(st.sampled_from(PHONES)), tuple(told),
    )  # fmt: skip


_channels = st.sampled_from(["sms", "sms", "whatsapp"])
# From what we wrote to an answer: at once, on both sides of the 5 minutes and of the 72 hours.
_delays = st.one_of(
    st.integers(0, 20 * MINUTE_US),
    st.builds(lambda one, beside: one + beside, st.sampled_from([0, 5 * MINUTE_US, 3 * DAY_US]), st.sampled_from([-1, 0, 1])),
)  # fmt: skip


_attributes = st.fixed_dictionaries(
    {}, optional={"city": st.sampled_from(["Riga", "Tartu", " Riga ", ""]), "tier": st.sampled_from(["trial", "premium"])}
).map(lambda drawn: tuple(drawn.items()))  # fmt: skip


@st.composite
def histories(draw: st.DrawFn, campaigns: int) -> History:
    """Draw what happened, in no order; `campaigns`: how many there are to send for."""
    messages = [
        *draw(st.lists(_external(), max_size=9, unique_by=lambda one: one.sid)),
        *draw(st.lists(_own(campaigns), max_size=9, unique_by=lambda one: one.id)),
    ]
    begun = [(one.phone, told.at) for one in messages for told in one.told]
    inbound = []
    for _ in range(draw(st.integers(0, 10))):
        phone, at = draw(st.sampled_from(PHONES)), draw(instants)
        if begun and draw(st.booleans()):
            phone, began = draw(st.sampled_from(begun))
            at = max(0, began + draw(_delays))
        kind = draw(st.sampled_from([None, None, None, None, "STOP", "START", "HELP"]))
        inbound.append(Inbound(at, phone, draw(st.sampled_from(BODIES)), draw(_channels), kind))
    unique = {
        (one.phone, one.at): one for one in inbound
    }  # of one person's two words at once either may be the last
    statements = draw(
        st.lists(
            st.builds(
                Statement,
                instants,
                st.sampled_from([phone for phone in PHONES if not phone.startswith("+999")]),
                st.sampled_from([None, "OPT_IN", "OPT_IN", "OPT_OUT", "STOP"]),
                st.booleans(),
                _attributes,
            ),
            max_size=6,
        )
    )
    return History(messages, list(unique.values()), statements)


def name_inbound(number: int) -> str:
    return f"IN{number:032x}"


def make_webhook(item: Inbound | tuple[Message, Told], number: int, begin: datetime) -> Event:
    """Make the event of a callback, or of the inbound message with a number."""
    if isinstance(item, Inbound):
        prefix = "" if item.channel == "sms" else f"{item.channel}:"
        form = {
            "MessageSid": name_inbound(number),
            "Body": item.body,
            "From": prefix + item.phone,
            "To": prefix + SENDERS[0],
        }
        if item.opt_out_type:
            form["OptOutType"] = item.opt_out_type
        return make_event("inbound", form, begin + timedelta(microseconds=item.at), None)
    message, told = item
    prefix = "" if message.channel == "sms" else f"{message.channel}:"
    form = {
        "MessageSid": message.sid, "MessageStatus": told.kind, "To": prefix + message.phone, "From": prefix + message.sender,
    }  # fmt: skip
    if told.code and told.kind in ("failed", "undelivered"):
        form["ErrorCode"] = str(told.code)
    if message.id and told.by_id:
        form[MESSAGE_ID] = str(message.id)
    return make_event("receipt", form, begin + timedelta(microseconds=told.at), None)


def make_outcome(message: Message, told: Told, begin: datetime) -> Event | None:
    """Make the event of an outcome; None: it is told by a callback."""
    assert message.id is not None
    at = begin + timedelta(microseconds=told.at)
    makers = {
        "accepted": lambda one: outcomes.accepted(one, at, message.sid, "queued"),
        "refused": lambda one: outcomes.refused(one, at, told.code),
        "postponed": lambda one: outcomes.postponed(one, at, told.code),
        "skipped": lambda one: outcomes.skipped(one, at, "consent_stop"),
        "unsure": lambda one: outcomes.unsure(one, at),
        "requeued": lambda one: outcomes.requeued(one, at),
    }
    return makers[told.kind](message.id) if told.kind in makers else None
