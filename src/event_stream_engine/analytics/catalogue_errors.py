"""Figures of failures: by code and country, and what trying again brought."""

from event_stream_engine.analytics.metric import (
    ERRORS,
    PERFORMANCE,
    WINDOW_BEFORE,
    Answer,
    Metric,
    Subject,
    list_answers,
)


def _list_both(*paths: str) -> tuple[Answer, ...]:
    """Return places that the answers about errors and about one campaign have."""
    return (*list_answers(ERRORS, *paths), *list_answers(PERFORMANCE, *paths))


FAILURES = Subject(
    "errors",
    "Errors",
    "Why messages fail: FAILED and UNDELIVERED messages in scope.",
    metrics=(
        Metric(
            "failures_by_code",
            "Failed, by error code",
            "messages",
            "failed messages with one error code",
            _list_both("error_analysis.error_breakdown.*.count"),
            ("failure_rollups",),
            "Error Analysis & Troubleshooting",
            note="`no_code` where the provider named none.",
        ),
        Metric(
            "failure_share",
            "Share of an error code",
            "%",
            "failed with the code / all failed",
            _list_both("error_analysis.error_breakdown.*.percentage"),
            ("failure_rollups",),
            "Error Analysis & Troubleshooting",
            "failed messages with the error code",
            "failed messages in scope",
            note="The rows sum to 100.",
        ),
        Metric(
            "error_description",
            "What an error code means",
            "text",
            "description, class and resolution from our catalogue of codes",
            _list_both(
                "error_analysis.error_breakdown.*.description",
                "error_analysis.error_breakdown.*.class",
                "error_analysis.error_breakdown.*.resolution",
                "error_analysis.retries.*.description",
            ),
            ("messaging/error_codes.py",),
            "Error Analysis & Troubleshooting",
            window="always",
            freshness="as released",
        ),
        Metric(
            "failures_by_country",
            "Failed, by country",
            "messages",
            "failed messages by the country of the recipient’s number, the ten with the most",
            _list_both("error_analysis.top_error_countries.*.error_count"),
            ("message_rollups",),
            "Error Analysis & Troubleshooting",
        ),
        Metric(
            "error_country",
            "Country of failed messages",
            "text",
            "the region of the recipient’s number",
            _list_both("error_analysis.top_error_countries.*.country"),
            ("message_rollups",),
            "Error Analysis & Troubleshooting",
            note="`unknown` where the number has no region.",
        ),
        Metric(
            "failures_before",
            "Failed in the window before",
            "messages",
            "failed messages of the window of equal length before",
            (Answer(ERRORS, "error_analysis.error_trends.previous_24h"),),
            ("message_rollups",),
            "Error Analysis & Troubleshooting",
            window=WINDOW_BEFORE,
        ),
        Metric(
            "failure_trend",
            "Trend of failures",
            "text",
            "`decreasing` below 0.95 × the failed of the window before, `increasing` above 1.05 ×, else `stable`",
            (Answer(ERRORS, "error_analysis.error_trends.trend"),),
            ("message_rollups",),
            "Error Analysis & Troubleshooting",
        ),
        Metric(
            "retried_messages",
            "Tried again",
            "messages",
            "messages that the provider refused for the moment with a code, and that we offered again",
            _list_both("error_analysis.retries.*.retried"),
            ("failure_rollups",),
        ),
        Metric(
            "retried_sent",
            "Tried again and sent",
            "messages",
            "messages tried again that the provider then accepted",
            _list_both("error_analysis.retries.*.sent"),
            ("failure_rollups",),
        ),
        Metric(
            "retried_delivered",
            "Tried again and delivered",
            "messages",
            "messages tried again that were then delivered",
            _list_both("error_analysis.retries.*.delivered"),
            ("failure_rollups",),
        ),
    ),
)
