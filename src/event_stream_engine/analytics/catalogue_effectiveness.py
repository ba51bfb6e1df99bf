"""Figures of what works: campaigns, segments and templates by delivery rate, and the way of new people."""

from event_stream_engine.analytics.metric import (
    EFFECTIVENESS,
    READ,
    Answer,
    Metric,
    Note,
    Subject,
    list_answers_by,
)

_FUNNEL = "/api/v1/analytics/funnel"
_LISTS = ("campaign_effectiveness", "by_segment", "by_template")
_ROI, _FUNNEL_SECTION = "Campaign ROI Analysis", "User Engagement Funnel"
_MADE = "campaigns made in the window of the request, 30 days unless asked otherwise"
_NEW = "people made users in the window of the request, 90 days unless asked otherwise"
_CAMPAIGNS = ("campaigns", "campaign_rollups")
_ROWS = ("users", "messages", "inbound_events")


def _count(slug: str, name: str, unit: str, formula: str, key: str) -> Metric:
    return Metric(
        slug,
        name,
        unit,
        formula,
        list_answers_by(EFFECTIVENESS, _LISTS, key),
        _CAMPAIGNS,
        _ROI,
        window=_MADE,
    )


def _average(slug: str, name: str, formula: str, key: str) -> Metric:
    return Metric(
        slug,
        name,
        "messages",
        formula,
        (Answer(_FUNNEL, f"user_engagement_funnel.*.{key}"),),
        _ROWS,
        _FUNNEL_SECTION,
        window=_NEW,
        freshness=READ,
    )


WORKING = Subject(
    "effectiveness",
    "Effectiveness and funnel",
    "What works? Campaigns with their segment and template, best rate first, and how far new people came.",
    notes=(
        Note(
            "Effectiveness",
            "The figures are those of the document’s “Campaign ROI Analysis”, which runs unchanged on the public tables; "
            "these come from `campaigns.recipients` and `campaign_rollups`.",
        ),
        Note(
            "Funnel",
            "Each side is counted per person before joining, where the document’s SQL multiplies messages by answers. "
            "Counted from the rows at the moment of the request, because a person’s way is in no roll-up: its cost "
            "follows the people of the window, about 1.3 s for 100,000 of them with five messages each (measured). After "
            "5 s it is given up and says so; ask for a shorter period then.",
        ),
    ),
    metrics=(
        _count(
            "message_rows",
            "Message rows",
            "messages",
            "message rows of the campaigns, also those that wait or were denied",
            "messages_sent",
        ),
        _count(
            "message_rows_delivered",
            "Message rows delivered",
            "messages",
            "message rows of the campaigns with status DELIVERED or READ",
            "delivered",
        ),
        Metric(
            "effectiveness_rate",
            "Effectiveness",
            "%",
            "message rows delivered / message rows",
            list_answers_by(EFFECTIVENESS, _LISTS, "delivery_rate"),
            _CAMPAIGNS,
            _ROI,
            "message rows of the campaigns with status DELIVERED or READ",
            "message rows of the campaigns, also those that wait or were denied",
            note="As the document counts it, halves rounded up as SQL does; so it is smaller than the delivery rate.",
            window=_MADE,
        ),
        Metric(
            "campaigns_with",
            "Campaigns with it",
            "campaigns",
            "campaigns with the segment or the template that have messages",
            list_answers_by(EFFECTIVENESS, ("by_segment", "by_template"), "campaigns"),
            _CAMPAIGNS,
            window=_MADE,
        ),
        Metric(
            "funnel_users",
            "New people, by consent and step",
            "users",
            "people by present consent state, and of these who came to a step: messaged (at least one message the "
            "provider answered), delivered, read, replied (to a delivered message, within 72 h)",
            (
                *list_answers_by(
                    _FUNNEL,
                    ("user_engagement_funnel",),
                    "users",
                    "messaged",
                    "delivered",
                    "read",
                    "replied",
                ),
                Answer(_FUNNEL, "journey.*.users"),
            ),
            _ROWS,
            _FUNNEL_SECTION,
            window=_NEW,
            freshness=READ,
        ),
        _average(
            "messages_per_user",
            "Messages per person",
            "message rows of these people, whatever became of them / people",
            "avg_messages_received",
        ),
        _average(
            "responses_per_user",
            "Answers per person",
            "inbound messages of these people / people",
            "avg_responses",
        ),
        Metric(
            "engagement_rate",
            "Engagement rate",
            "%",
            "answers per person / messages per person",
            (Answer(_FUNNEL, "user_engagement_funnel.*.engagement_rate"),),
            _ROWS,
            _FUNNEL_SECTION,
            "inbound messages of people with the consent state",
            "message rows of people with the consent state",
            window=_NEW,
            freshness=READ,
        ),
        Metric(
            "journey_share",
            "Share that came to a step",
            "%",
            "people at the step / people made users",
            (Answer(_FUNNEL, "journey.*.percent_of_subscribed"),),
            _ROWS,
            _FUNNEL_SECTION,
            "people at the step",
            "people made users in the window",
            note="Read and replied are both shares of the delivered: SMS has no read receipts.",
            window=_NEW,
            freshness=READ,
        ),
    ),
)
