"""Figures of what messages bring about: reads, replies, opt-outs, and how campaigns compare."""

from event_stream_engine.analytics.metric import (
    COMPARISON,
    EFFECTIVENESS,
    OPT_OUTS,
    PARTS,
    PERFORMANCE,
    REQUESTED,
    Answer,
    Metric,
    Note,
    Subject,
    list_answers,
    list_answers_by,
)

_ROLLUPS = ("message_rollups",)
_SECTION = "Delivery Analytics"
_DELIVERED = "messages whose present status is DELIVERED or READ"
_STOPS = ("by_campaign", "by_template")
_CONSISTENT = ("campaign_effectiveness", "by_segment", "by_template")
_INTERVAL = ("low_percent", "high_percent")


def _compare(rate: str) -> Answer:
    return Answer(COMPARISON, f"campaigns.*.rates.{rate}.percent")


ENGAGEMENT = Subject(
    "engagement",
    "Engagement and comparison",
    "What do messages bring about, and where is a difference more than chance?",
    notes=(
        Note(
            "Replies",
            "An inbound message answers our last message to that person, within 72 h. Messages are selected by when they "
            "were sent, transitions by when they happened. A STOP shortly after the beginning of the window, to a message "
            "from before it, therefore counts as not attributed; the longer the window, the less that matters.",
        ),
        Note(
            "Comparison",
            "`GET /api/v1/analytics/compare?campaign_id=…&campaign_id=…` puts two to four campaigns side by side. Each rate "
            "has its 95 % interval: with few messages a rate says little, and the interval says how little.",
        ),
    ),
    metrics=(
        Metric(
            "messages_read",
            "Messages read",
            "messages",
            "messages whose present status is READ",
            list_answers(PERFORMANCE, "engagement.messages_read"),
            _ROLLUPS,
            note="SMS has no read receipts.",
        ),
        Metric(
            "read_rate",
            "Read rate",
            "%",
            "read / delivered",
            (Answer(PERFORMANCE, "engagement.read_rate_percent"), _compare("read_rate_percent")),
            _ROLLUPS,
            _SECTION,
            "messages whose present status is READ",
            _DELIVERED,
            note="SMS has no read receipts.",
        ),
        Metric(
            "messages_replied",
            "Messages answered",
            "messages",
            "delivered messages that were answered within 72 h",
            list_answers(PERFORMANCE, "engagement.messages_replied"),
            _ROLLUPS,
        ),
        Metric(
            "reply_rate",
            "Reply rate",
            "%",
            "answered / delivered",
            (Answer(PERFORMANCE, "engagement.reply_rate_percent"), _compare("reply_rate_percent")),
            _ROLLUPS,
            _SECTION,
            "delivered messages that were answered within 72 h",
            _DELIVERED,
        ),
        Metric(
            "messages_stopped",
            "Messages answered with STOP",
            "messages",
            "messages that were answered with STOP within 72 h",
            (
                Answer(PERFORMANCE, "opt_outs.messages_stopped"),
                Answer(OPT_OUTS, "opt_outs.messages_stopped"),
                *list_answers_by(OPT_OUTS, _STOPS, "messages_stopped"),
            ),
            _ROLLUPS,
            note="What belongs to no campaign are external messages and auto-replies.",
        ),
        Metric(
            "message_opt_out_rate",
            "Opt-outs per message",
            "%",
            "answered with STOP / sent",
            (
                Answer(PERFORMANCE, "opt_outs.opt_out_rate_percent"),
                _compare("opt_out_rate_percent"),
                Answer(OPT_OUTS, "opt_outs.opt_out_rate_percent"),
                *list_answers_by(OPT_OUTS, _STOPS, "opt_out_rate_percent"),
            ),
            _ROLLUPS,
            numerator="messages that were answered with STOP within 72 h",
            denominator="messages that the provider accepted",
        ),
        Metric(
            "stop_transitions",
            "Transitions into STOP",
            "transitions",
            "transitions into STOP, whatever brought them about",
            list_answers(OPT_OUTS, "opt_outs.stop_transitions"),
            ("consent_rollups",),
            window=REQUESTED,
        ),
        Metric(
            "stops_not_attributed",
            "STOP without a message",
            "transitions",
            "transitions into STOP less messages answered with STOP, at least 0",
            list_answers(OPT_OUTS, "opt_outs.not_attributed"),
            ("consent_rollups", "message_rollups"),
            note="Nothing of ours came before these, or they came by import or API.",
            window=REQUESTED,
        ),
        Metric(
            "stops_not_attributed_share",
            "Share of STOP without a message",
            "%",
            "STOP without a message / transitions into STOP",
            list_answers(OPT_OUTS, "opt_outs.not_attributed_percent"),
            ("consent_rollups", "message_rollups"),
            numerator="transitions into STOP less messages answered with STOP, at least 0",
            denominator="transitions into STOP",
            window=REQUESTED,
        ),
        Metric(
            "rate_interval",
            "95 % interval of a rate",
            "%",
            "the ends of Wilson's interval for numerator and denominator of the rate",
            (
                *list_answers_by(PERFORMANCE, PARTS, *_INTERVAL),
                *list_answers_by(OPT_OUTS, _STOPS, *_INTERVAL),
                *list_answers_by(EFFECTIVENESS, _CONSISTENT, *_INTERVAL),
                *list_answers(OPT_OUTS, *(f"opt_outs.{end}" for end in _INTERVAL)),
                *list_answers(COMPARISON, *(f"campaigns.*.rates.*.{end}" for end in _INTERVAL)),
            ),
            _ROLLUPS,
        ),
        Metric(
            "intervals_overlap",
            "Intervals overlap",
            "yes or no",
            "the 95 % intervals of a pair of campaigns have something in common",
            list_answers(COMPARISON, "pairs.*.intervals_overlap.*"),
            _ROLLUPS,
            note="Where they have not, the difference is more than chance. Unknown where one of the rates is.",
        ),
    ),
)
