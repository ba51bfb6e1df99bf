"""Figures of what people write: volume, intents, how soon."""

from event_stream_engine.analytics.metric import (
    CONSENT,
    REQUESTED,
    Answer,
    Metric,
    Note,
    Subject,
    list_answers,
)

_INBOUND = "/api/v1/analytics/inbound"
_SECTION = "Inbound Message Analytics"


def _intent(
    slug: str, name: str, intent: str, *answers: Answer, section: str = _SECTION, note: str = ""
) -> Metric:
    return Metric(
        slug,
        name,
        "messages",
        f"inbound messages with intent {intent}",
        (
            *answers,
            Answer(_INBOUND, f"by_intent.{intent}"),
            Answer(_INBOUND, f"by_day.*.{intent}"),
            Answer(_INBOUND, f"series.*.{intent}"),
        ),
        ("inbound_rollups",),
        section,
        note=note,
        window=REQUESTED,
    )


def _count(slug: str, name: str, formula: str, *paths: str, note: str = "") -> Metric:
    answers = list_answers(_INBOUND, *paths)
    return Metric(
        slug, name, "messages", formula, answers, ("inbound_rollups",), _SECTION, note=note, window=REQUESTED
    )


INBOUND = Subject(
    "inbound",
    "Inbound",
    "What do people answer? Each incoming message counts once, by its SID, when it was received.",
    notes=(
        Note(
            "Intents",
            "They exclude each other; the first match wins. Twilio’s own `OptOutType`, when it sends one, goes first. The "
            "whole message, trimmed, inner spaces folded, case ignored, is looked up: stop, stopall, unsubscribe, cancel, "
            "end, quit, revoke, optout, opt out are stop; help, info are help; start, unstop are start, and so is "
            "yes if the sender is in STOP at that moment. Then one of the words order, orders, delivery, refund, "
            "tracking, shipped anywhere in the message is order. Everything else is general. The words are rows of "
            "`intent_words`.",
        ),
    ),
    metrics=(
        _count(
            "inbound_messages",
            "Inbound messages",
            "messages received",
            "inbound_analytics.volume_metrics.total_inbound_24h",
            note="With another window than the last 24 hours, of that one.",
        ),
        Metric(
            "unique_senders",
            "Different senders",
            "people",
            "different numbers that wrote",
            list_answers(_INBOUND, "inbound_analytics.volume_metrics.unique_senders", "unique_senders.count"),
            ("inbound_events", "sender_sketches"),
            _SECTION,
            window=REQUESTED,
        ),
        Metric(
            "unique_senders_interval",
            "95 % interval of different senders",
            "people",
            "the ends of the interval in which the number of different senders lies",
            list_answers(_INBOUND, "unique_senders.interval_95.*"),
            ("inbound_events", "sender_sketches"),
            note="Both are the number itself where it is exact.",
            window=REQUESTED,
        ),
        Metric(
            "messages_per_sender",
            "Messages per sender",
            "messages",
            "messages received / different senders",
            (Answer(_INBOUND, "inbound_analytics.volume_metrics.messages_per_user_avg"),),
            ("inbound_rollups", "inbound_events", "sender_sketches"),
            _SECTION,
            "messages received",
            "different numbers that wrote",
            window=REQUESTED,
        ),
        Metric(
            "peak_hour",
            "Peak hour",
            "text",
            "the local hour of the day with the most messages over the whole window",
            (Answer(_INBOUND, "inbound_analytics.volume_metrics.peak_hour"),),
            ("inbound_rollups",),
            _SECTION,
            note="Of equal ones the earliest.",
            window=REQUESTED,
        ),
        _count(
            "peak_volume",
            "Peak volume",
            "messages received in the peak hour, over the whole window",
            "inbound_analytics.volume_metrics.peak_volume",
        ),
        _intent(
            "stop_commands",
            "STOP words",
            "stop",
            Answer(_INBOUND, "inbound_analytics.content_analysis.stop_commands"),
            Answer(CONSENT, "consent_analytics.consent_trends.stop_commands_24h"),
        ),
        _intent(
            "help_requests",
            "Requests for help",
            "help",
            Answer(_INBOUND, "inbound_analytics.content_analysis.help_requests"),
        ),
        _intent(
            "start_commands",
            "START words",
            "start",
            Answer(_INBOUND, "inbound_analytics.content_analysis.start_commands"),
            section="",
        ),
        _intent(
            "order_inquiries",
            "Questions about an order",
            "order",
            Answer(_INBOUND, "inbound_analytics.content_analysis.order_inquiries"),
        ),
        _intent(
            "general_responses",
            "Other answers",
            "general",
            Answer(_INBOUND, "inbound_analytics.content_analysis.general_responses"),
        ),
        _count(
            "immediate_responses",
            "Immediate answers",
            "received within 5 minutes after our last message to the sender",
            "inbound_analytics.response_patterns.immediate_responses",
            "by_intent_and_response.*.immediate",
        ),
        _count(
            "delayed_responses",
            "Delayed answers",
            "received later than that, or from somebody whom we had not written to",
            "inbound_analytics.response_patterns.delayed_responses",
            "by_intent_and_response.*.delayed",
            note="Immediate and delayed sum to the total.",
        ),
        _count(
            "auto_replies_triggered",
            "Answered by itself",
            "messages that a rule answered, and whose reply the provider accepted",
            "inbound_analytics.response_patterns.auto_reply_triggered",
            "by_intent_and_response.*.auto_replied",
        ),
        Metric(
            "immediate_rate",
            "Within 5 minutes",
            "%",
            "immediate answers / messages received",
            list_answers(_INBOUND, "immediate_rate_percent"),
            ("inbound_rollups",),
            numerator="received within 5 minutes after our last message to the sender",
            denominator="messages received",
            window=REQUESTED,
        ),
        _count(
            "unanswered_help",
            "Help without a reply",
            "inbound messages with intent help that no automatic reply of ours answered",
            "unanswered_help_requests",
        ),
        _count(
            "inbound_by_hour",
            "Inbound by weekday and hour",
            "messages received, by local weekday (Monday first) and hour",
            "by_weekday_and_hour.*.*",
        ),
    ),
)
