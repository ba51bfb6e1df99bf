"""Figures of delivery time: from acceptance to delivery, and its stages."""

from event_stream_engine.analytics.metric import (
    COMPARISON,
    DELIVERY,
    PARTS,
    PERFORMANCE,
    Answer,
    Metric,
    Subject,
    list_answers,
    list_answers_by,
)

_TIMES = ("duration_rollups",)


def _list_stage(name: str) -> tuple[Answer, ...]:
    keys = (
        "average_delivery_time_seconds",
        "fastest_delivery_seconds",
        "slowest_delivery_seconds",
        "delivery_time_percentiles.*",
    )
    return tuple(
        Answer(endpoint, f"stages.{name}.{key}") for endpoint in (DELIVERY, PERFORMANCE) for key in keys
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
                Answer(DELIVERY, "timing_analysis.measured_messages"),
                Answer(DELIVERY, "stages.*.measured_messages"),
                *list_answers(
                    PERFORMANCE,
                    "campaign_performance.timing_analysis.measured_messages",
                    "stages.*.measured_messages",
                ),
            ),
            _TIMES,
        ),
        Metric(
            "delivery_time_average",
            "Average delivery time",
            "s",
            "sum of the delivery times / measured messages",
            (
                Answer(DELIVERY, "timing_analysis.average_delivery_time_seconds"),
                Answer(PERFORMANCE, "campaign_performance.timing_analysis.average_delivery_time_seconds"),
            ),
            _TIMES,
            "Delivery Analytics",
            note="Exact.",
        ),
        Metric(
            "delivery_time_fastest",
            "Fastest delivery",
            "s",
            "the shortest delivery time",
            (
                Answer(DELIVERY, "timing_analysis.fastest_delivery_seconds"),
                Answer(PERFORMANCE, "campaign_performance.timing_analysis.fastest_delivery_seconds"),
            ),
            _TIMES,
            "Campaign Summary Report",
            note="Exact.",
        ),
        Metric(
            "delivery_time_slowest",
            "Slowest delivery",
            "s",
            "the longest delivery time",
            (
                Answer(DELIVERY, "timing_analysis.slowest_delivery_seconds"),
                Answer(PERFORMANCE, "campaign_performance.timing_analysis.slowest_delivery_seconds"),
            ),
            _TIMES,
            "Campaign Summary Report",
            note="Exact.",
        ),
        Metric(
            "delivery_time_percentiles",
            "Percentiles of delivery time",
            "s",
            "the time within which 50, 75, 90, 95 or 99 % of the measured messages were delivered",
            (
                Answer(DELIVERY, "timing_analysis.delivery_time_percentiles.*"),
                Answer(PERFORMANCE, "campaign_performance.timing_analysis.delivery_time_percentiles.*"),
                *list_answers_by(PERFORMANCE, PARTS, "p50_seconds", "p95_seconds"),
                *list_answers(COMPARISON, "campaigns.*.p50_seconds", "campaigns.*.p95_seconds"),
            ),
            _TIMES,
            "Campaign Summary Report",
            note="By nearest rank from sketches, within 1 %.",
        ),
        Metric(
            "queue_time",
            "Time in the provider’s queue",
            "s",
            "from acceptance to the first `sent`",
            _list_stage("queue"),
            _TIMES,
            note="Of an external message from its first callback, if that came before `sent`.",
        ),
        Metric(
            "carrier_time",
            "Time at the carrier",
            "s",
            "from the first `sent` to the first `delivered`",
            _list_stage("carrier"),
            _TIMES,
            note="Only of our own messages: of an external one it is the delivery time.",
        ),
        Metric(
            "delivery_time_histogram",
            "Messages by delivery time",
            "messages",
            "measured messages whose delivery time lies in one bin, and in it or before it",
            list_answers_by(PERFORMANCE, ("delivery_time_histogram",), "messages", "cumulative_messages"),
            _TIMES,
            note="The bins are equal, but the last one may be open (`until_seconds` null). Sums to the measured "
            "messages. A duration within 1 % of an edge may lie on its other side.",
        ),
        Metric(
            "delivered_within",
            "Delivered within",
            "%",
            "measured messages delivered by the end of a bin / measured messages",
            list_answers_by(PERFORMANCE, ("delivery_time_histogram",), "cumulative_percent"),
            _TIMES,
            numerator="measured messages with a delivery time in the bin or before it",
            denominator="messages whose delivery time is known",
        ),
    ),
)
