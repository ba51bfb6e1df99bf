"""Figures of a campaign that is still to be sent: how long it takes, and what holds it up."""

from event_stream_engine.analytics.metric import AS_OF_NOW, READ, Metric, Note, Subject, list_answers

_ENDPOINT = "/api/v1/insights/drain"
_PEOPLE = ("users", "outbox", "quiet_hours_rules", "phone_zones")


def _drain(slug: str, name: str, unit: str, formula: str, *keys: str, note: str = "") -> Metric:
    places = list_answers(_ENDPOINT, *(f"drain.{key}" for key in keys))
    return Metric(
        f"drain_{slug}", name, unit, formula, places, _PEOPLE, note=note, window=AS_OF_NOW, freshness=READ
    )


DRAIN = Subject(
    "drain",
    "Drain time",
    "How long does a campaign take: our pace, the quiet hours of its recipients, and the queue of the provider behind it.",
    notes=(
        Note(
            "Model",
            "Messages flow: they are handed over at the pace while the windows of their recipients are open, and sent by the "
            "provider at its own rate. Retries, and other campaigns that share a sender, are not in it.",
        ),
        Note(
            "Zones",
            "Of a campaign those of at most 5,000 recipients who still wait; else of as many people who opted in. A person in "
            "several zones is written to when all of them allow it.",
        ),
    ),
    metrics=(
        _drain(
            "recipients",
            "Recipients",
            "recipients",
            "who is to be written to",
            "recipients",
            note="Of a campaign those who still wait.",
        ),
        _drain(
            "denied",
            "Without a way",
            "recipients",
            "those whose zone nobody knows while there are quiet hours, and those whose zones leave no minute",
            "zone_unknown",
            "always_quiet",
        ),
        _drain("pace", "Pace", "messages", "messages handed over a second", "rate_per_second"),
        _drain("senders", "Senders", "senders", "numbers it is sent from", "senders"),
        _drain("segments", "Segments", "segments", "segments of a message", "segments"),
        _drain(
            "provider_rate",
            "Pace of the provider",
            "messages",
            "senders * segments a second of each / segments of a message",
            "provider_rate_per_second",
        ),
        _drain(
            "handing_over",
            "Handed over after",
            "s",
            "from the start until the last message is handed over",
            "handed_over_seconds",
        ),
        _drain(
            "sending",
            "Sent after",
            "s",
            "from the start until the last message has left the provider’s queue",
            "sent_seconds",
        ),
        _drain(
            "idle",
            "Held by quiet hours",
            "s",
            "time in which messages waited and all windows were closed",
            "idle_seconds",
        ),
        _drain(
            "wait",
            "Longest wait at the provider",
            "s",
            "the provider’s queue / its pace, at most",
            "longest_wait_seconds",
        ),
        _drain(
            "expiring",
            "Messages lost in the queue",
            "messages",
            "messages that would wait there for more than ten hours, or into quiet hours",
            "expiring_messages",
        ),
        _drain(
            "steps",
            "Steps",
            "messages",
            "messages not handed over yet, and those in the provider’s queue",
            "steps.*.waiting",
            "steps.*.provider_queue",
        ),
    ),
)
