"""Figures of messages: how many, how they stand, how long they took."""

from event_stream_engine.analytics.metric import Answer, Metric, Note, Subject

_DASHBOARD = "/api/v1/monitoring/dashboard"
_DELIVERY = "/api/v1/analytics/delivery"
_ERRORS = "/api/v1/analytics/errors"
_CAMPAIGN = "/api/v1/campaigns/{campaign_id}"
_TIMES = ("duration_rollups",)

MESSAGES = Subject(
    "messages",
    "Messages",
    "Is it arriving? Messages of the roll-ups, and of `messages` itself for less than a minute at each end of the window.",
    notes=(
        Note(
            "Which messages",
            "A window selects messages by their cohort, the moment the provider accepted or refused them; of an external "
            "message, which we know only from its callbacks, the moment of the first one. It shows their status as of "
            "now. So the figures of yesterday still change while its callbacks arrive.",
        ),
        Note(
            "Filters",
            "`channel`, `country`, `sender`, `campaign_id` and `template_id` narrow the figures of delivery and errors. "
            "An external message belongs to no campaign.",
        ),
        Note("In flight", "In series, what is ACCEPTED, SCHEDULED, QUEUED, SENDING or SENT."),
    ),
    metrics=(
        Metric(
            "recipients",
            "Recipients",
            "messages",
            "messages made for a campaign, one for each person",
            (
                Answer(_DELIVERY, "execution_summary.total_recipients"),
                Answer(_CAMPAIGN, "progress.recipients"),
            ),
            ("message_rollups", "campaigns"),
            "Campaign Summary Report",
            note="Over a window, messages count once they have been handed over: it is the same as attempted there.",
        ),
        Metric(
            "messages_attempted",
            "Messages attempted",
            "messages",
            "messages that the provider accepted or refused",
            (Answer(_DELIVERY, "execution_summary.messages_attempted"),),
            ("message_rollups",),
        ),
        Metric(
            "message_volume",
            "Messages sent",
            "messages",
            "messages that the provider accepted, whatever happened later",
            (
                Answer(_DASHBOARD, "kpis.message_volume.value"),
                Answer(_DELIVERY, "execution_summary.messages_sent"),
                Answer(_CAMPAIGN, "progress.sent"),
            ),
            ("message_rollups",),
            "Key Performance Indicators (KPIs)",
            note="An external message counts unless its first and its last callback both say `failed`.",
        ),
        Metric(
            "messages_delivered",
            "Messages delivered",
            "messages",
            "messages whose present status is DELIVERED or READ",
            (
                Answer(_DELIVERY, "execution_summary.messages_delivered"),
                Answer(_CAMPAIGN, "progress.delivered"),
            ),
            ("message_rollups", "campaign_rollups"),
            "Campaign Summary Report",
        ),
        Metric(
            "messages_failed",
            "Messages failed",
            "messages",
            "messages whose present status is FAILED or UNDELIVERED",
            (
                Answer(_DELIVERY, "execution_summary.messages_failed"),
                Answer(_CAMPAIGN, "progress.failed"),
                Answer(_ERRORS, "messages_failed"),
                Answer(_ERRORS, "error_analysis.error_trends.last_24h"),
            ),
            ("message_rollups", "campaign_rollups"),
            "Campaign Summary Report",
            note="What the engine itself denied was never handed over, and is not among them.",
        ),
        Metric(
            "delivery_unknown",
            "Delivery unknown",
            "messages",
            "messages with status SENT whose cohort is more than 72 h ago",
            (Answer(_DELIVERY, "execution_summary.delivery_unknown"),),
            ("message_rollups",),
            note="Some carriers send no receipts. Neither delivered nor failed.",
        ),
        Metric(
            "delivery_rate",
            "Delivery rate",
            "%",
            "delivered / sent",
            (
                Answer(_DASHBOARD, "kpis.delivery_rate.value"),
                Answer(_DELIVERY, "execution_summary.delivery_rate_percent"),
                Answer(_CAMPAIGN, "progress.delivery_rate_percent"),
            ),
            ("message_rollups", "campaign_rollups"),
            "Key Performance Indicators (KPIs)",
            "messages whose present status is DELIVERED or READ",
            "messages that the provider accepted",
            note="Its change is in percentage points. The page draws a threshold at 90 %.",
        ),
        Metric(
            "message_error_rate",
            "Error rate of messages",
            "%",
            "failed / attempted",
            (Answer(_DELIVERY, "execution_summary.error_rate_percent"),),
            ("message_rollups",),
            "Delivery Analytics",
            "messages whose present status is FAILED or UNDELIVERED",
            "messages that the provider accepted or refused",
        ),
        Metric(
            "messages_by_status",
            "Messages by status",
            "messages",
            "messages by their present status",
            (Answer(_DELIVERY, "performance_breakdown.*"), Answer(_CAMPAIGN, "progress.by_status.*")),
            ("message_rollups", "campaign_rollups"),
            "Campaign Summary Report",
            note="Sums to the recipients.",
        ),
        Metric(
            "messages_by_channel",
            "Messages by channel",
            "messages",
            "messages attempted, by channel",
            (Answer(_DELIVERY, "by_channel.*"),),
            ("message_rollups",),
        ),
        Metric(
            "conflicts",
            "Conflicts",
            "messages",
            "messages with failed or undelivered and also delivered or read",
            (Answer(_DELIVERY, "conflicts"),),
            ("message_rollups",),
            note="Callbacks that contradict each other are kept; the delivery counts.",
        ),
    ),
)

DELIVERY_TIME = Subject(
    "delivery-time",
    "Delivery time",
    "From the provider’s acceptance to the first `delivered`; of an external message, from its first `sent`. It is left "
    "out where either is missing or where the order is reversed.",
    metrics=(
        Metric(
            "measured_messages",
            "Measured messages",
            "messages",
            "messages whose time, or stage of it, is known",
            (
                Answer(_DELIVERY, "timing_analysis.measured_messages"),
                Answer(_DELIVERY, "stages.*.measured_messages"),
            ),
            _TIMES,
        ),
        Metric(
            "delivery_time_average",
            "Average delivery time",
            "s",
            "sum of the delivery times / measured messages",
            (Answer(_DELIVERY, "timing_analysis.average_delivery_time_seconds"),),
            _TIMES,
            "Delivery Analytics",
            note="Exact.",
        ),
        Metric(
            "delivery_time_fastest",
            "Fastest delivery",
            "s",
            "the shortest delivery time",
            (Answer(_DELIVERY, "timing_analysis.fastest_delivery_seconds"),),
            _TIMES,
            "Campaign Summary Report",
            note="Exact.",
        ),
        Metric(
            "delivery_time_slowest",
            "Slowest delivery",
            "s",
            "the longest delivery time",
            (Answer(_DELIVERY, "timing_analysis.slowest_delivery_seconds"),),
            _TIMES,
            "Campaign Summary Report",
            note="Exact.",
        ),
        Metric(
            "delivery_time_percentiles",
            "Percentiles of delivery time",
            "s",
            "the time within which 50, 75, 90, 95 or 99 % of the measured messages were delivered",
            (Answer(_DELIVERY, "timing_analysis.delivery_time_percentiles.*"),),
            _TIMES,
            "Campaign Summary Report",
            note="By nearest rank from sketches, within 1 %.",
        ),
        Metric(
            "queue_time",
            "Time in the provider’s queue",
            "s",
            "from acceptance to the first `sent`",
            (
                Answer(_DELIVERY, "stages.queue.average_delivery_time_seconds"),
                Answer(_DELIVERY, "stages.queue.fastest_delivery_seconds"),
                Answer(_DELIVERY, "stages.queue.slowest_delivery_seconds"),
                Answer(_DELIVERY, "stages.queue.delivery_time_percentiles.*"),
            ),
            _TIMES,
            note="Of an external message from its first callback, if that came before `sent`.",
        ),
        Metric(
            "carrier_time",
            "Time at the carrier",
            "s",
            "from the first `sent` to the first `delivered`",
            (
                Answer(_DELIVERY, "stages.carrier.average_delivery_time_seconds"),
                Answer(_DELIVERY, "stages.carrier.fastest_delivery_seconds"),
                Answer(_DELIVERY, "stages.carrier.slowest_delivery_seconds"),
                Answer(_DELIVERY, "stages.carrier.delivery_time_percentiles.*"),
            ),
            _TIMES,
            note="Only of our own messages: of an external one it is the delivery time.",
        ),
    ),
)
