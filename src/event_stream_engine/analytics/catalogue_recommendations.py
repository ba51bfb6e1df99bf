"""Figures of recommendations: what they rest on, what they promise, what came of them."""

from event_stream_engine.analytics.metric import Answer, Metric, Note, Subject

RECOMMENDATIONS_ENDPOINT = "/api/v1/insights/recommendations"
_SECTION = "Optimization Recommendations"
_LOOKED = "once an hour"
_WINDOW = "that of the kind, at most the 90 days before the look"
_SINCE = "the 28 days before it was taken against the days since, 28 at most and without the last one"


def _figure(
    slug: str, name: str, unit: str, formula: str, *paths: str, window: str = _WINDOW, note: str = ""
) -> Metric:
    return Metric(
        slug,
        name,
        unit,
        formula,
        tuple(Answer(RECOMMENDATIONS_ENDPOINT, path) for path in paths),
        ("recommendations", "recommendation_looks"),
        _SECTION,
        note=note,
        window=window,
        freshness=_LOOKED,
    )


RECOMMENDATIONS = Subject(
    "recommendations",
    "Recommendations",
    "What should we change?",
    notes=(
        Note(
            "Facts and comparisons",
            "Some advice rests on a fact, like a number that failed for good; other on a comparison, like a template with a"
            " better rate. Comparisons are tested by units that vary as a whole (campaigns, days), and all of one look are"
            " corrected together (Holm), so that looking in many places finds something in noise in at most one look of twenty.",
        ),
    ),
    metrics=(
        _figure(
            "recommendation_sample",
            "Sample",
            "as its unit",
            "what was counted for it, in `sample_unit`",
            "recommendations.*.sample_size",
        ),
        _figure(
            "recommendation_effect",
            "Effect",
            "as its interval",
            "the difference or share that was measured, with its 95 % interval",
            "recommendations.*.effect",
            "recommendations.*.interval.low",
            "recommendations.*.interval.high",
            note="In the unit of `interval`; `%` of a comparison are percentage points.",
        ),
        _figure(
            "recommendation_p",
            "Corrected p",
            "share",
            "the chance of a difference like this where there is none, after all comparisons of the look (Holm)",
            "recommendations.*.corrected_p",
            note="Unknown of a fact, which needs no comparison.",
        ),
        _figure(
            "recommendation_gain",
            "Expected gain",
            "messages",
            "messages in 30 days that would arrive in addition, or not be sent in vain",
            "recommendations.*.expected_gain_messages",
            window="the 30 days before the look stand for those to come",
        ),
        _figure(
            "recommendation_outcome",
            "Outcome",
            "%",
            "the figure of the kind since it was taken − before",
            "recommendations.*.outcome.difference",
            "recommendations.*.outcome.low",
            "recommendations.*.outcome.high",
            window=_SINCE,
            note="In percentage points, with its 95 % interval by days. What else changed in these weeks is in it, too.",
        ),
        _figure(
            "recommendation_outcome_rate",
            "Figure before and since",
            "%",
            "hits / trials of the figure that `outcome.figure` names",
            "recommendations.*.outcome.before.percent",
            "recommendations.*.outcome.since.percent",
            window=_SINCE,
        ),
        _figure(
            "recommendation_outcome_count",
            "Counted before and since",
            "messages",
            "hits and trials of the figure that `outcome.figure` names",
            "recommendations.*.outcome.before.hits",
            "recommendations.*.outcome.before.trials",
            "recommendations.*.outcome.since.hits",
            "recommendations.*.outcome.since.trials",
            window=_SINCE,
        ),
        _figure(
            "look_compared",
            "Comparisons made",
            "comparisons",
            "things of a kind that were held against others in the last look",
            "looks.*.compared",
        ),
        _figure(
            "look_found",
            "Found",
            "recommendations",
            "recommendations of a kind in the last look",
            "looks.*.found",
        ),
        _figure(
            "look_duration",
            "Time of the look",
            "ms",
            "how long the last look at a kind took",
            "looks.*.took_ms",
            window="the last look",
        ),
    ),
)
