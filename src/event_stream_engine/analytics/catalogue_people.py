"""Figures of the people: who consented, and how that changes."""

from event_stream_engine.analytics.metric import (
    AS_OF_NOW,
    CONSENT,
    DASHBOARD,
    LOCAL_DAY,
    REQUESTED,
    WINDOW_BEFORE,
    Answer,
    Metric,
    Note,
    Subject,
    list_answers,
)

_DEMOGRAPHICS = "/api/v1/analytics/demographics"
_SIGNUPS = ("signup_rollups",)
_MONTH = "the window of the request, 30 days unless asked otherwise"
_ATTRIBUTE_SECTION = "User Attribute Analysis"
_CONSENT_SECTION = "Consent & Opt-Out Analysis"


def _count(slug: str, name: str, formula: str, *answers: Answer, section: str = _CONSENT_SECTION) -> Metric:
    return Metric(slug, name, "users", formula, answers, ("user_rollups",), section, window=AS_OF_NOW)


def _rate(
    slug: str, name: str, state: str, *answers: Answer, section: str = _CONSENT_SECTION, note: str = ""
) -> Metric:
    return Metric(
        slug,
        name,
        "%",
        f"users in {state} / all users",
        answers,
        ("user_rollups",),
        section,
        numerator=f"users whose present state is {state}",
        denominator="people in the user database",
        note=note,
        window=AS_OF_NOW,
    )


PEOPLE = Subject(
    "consent",
    "Consent and users",
    "Who may we write to? People by their present state, and their transitions by when they happened.",
    notes=(
        Note(
            "States",
            "OPT_IN, OPT_OUT, STOP and UNKNOWN. UNKNOWN is no proof either way, and is never written to. Who comes by "
            "import or API without a consent is UNKNOWN.",
        ),
        Note(
            "Transitions",
            "STOP closes from any state. START and YES open again from STOP, and do nothing otherwise. Opt-in is never "
            "inferred: traffic alone makes no user, except that a STOP from an unknown number makes one in STOP.",
        ),
    ),
    metrics=(
        Metric(
            "total_users",
            "Users",
            "users",
            "people in the user database",
            (
                Answer(DASHBOARD, "kpis.total_users.value"),
                Answer(DASHBOARD, "system_health.total_users"),
                Answer(CONSENT, "total_users"),
                Answer(_DEMOGRAPHICS, "total_users"),
            ),
            ("user_rollups",),
            "Key Performance Indicators (KPIs)",
            note="Its past is reckoned back from `users.created_at`; its change is against the beginning of the window.",
            window=AS_OF_NOW,
        ),
        _rate(
            "opt_in_rate",
            "Opt-in rate",
            "OPT_IN",
            Answer(DASHBOARD, "kpis.opt_in_rate.value"),
            Answer(CONSENT, "consent_analytics.consent_rates.opt_in_rate"),
            section="Key Performance Indicators (KPIs)",
            note="Its past is reckoned back from `consent_rollups`; its change is in percentage points, against the "
            "beginning of the window.",
        ),
        _rate(
            "opt_out_rate",
            "Opt-out rate",
            "OPT_OUT",
            Answer(CONSENT, "consent_analytics.consent_rates.opt_out_rate"),
        ),
        _rate("stop_rate", "STOP rate", "STOP", Answer(CONSENT, "consent_analytics.consent_rates.stop_rate")),
        _count(
            "opt_in_users",
            "Users opted in",
            "users whose present state is OPT_IN",
            Answer(CONSENT, "consent_analytics.opt_in_users"),
            Answer(DASHBOARD, "system_health.opted_in_users"),
        ),
        _count(
            "opt_out_users",
            "Users opted out",
            "users whose present state is OPT_OUT",
            Answer(CONSENT, "consent_analytics.opt_out_users"),
        ),
        _count(
            "stop_users",
            "Users in STOP",
            "users whose present state is STOP",
            Answer(CONSENT, "consent_analytics.stop_users"),
        ),
        _count(
            "unknown_users",
            "Users unknown",
            "users whose present state is UNKNOWN",
            Answer(CONSENT, "consent_analytics.unknown_users"),
            section="",
        ),
        _count(
            "closed_users",
            "Users who closed",
            "users whose present state is OPT_OUT or STOP",
            Answer(DASHBOARD, "system_health.opted_out_users"),
            section="System Health Monitoring",
        ),
        Metric(
            "opt_outs_today",
            "Opt-outs today",
            "transitions",
            "transitions into OPT_OUT or STOP of the day",
            (Answer(CONSENT, "consent_analytics.consent_trends.daily_opt_outs.today"),),
            ("consent_rollups",),
            _CONSENT_SECTION,
            note="A second STOP of the same person is none.",
            window=LOCAL_DAY,
        ),
        Metric(
            "opt_outs_yesterday",
            "Opt-outs yesterday",
            "transitions",
            "transitions into OPT_OUT or STOP of the whole day before",
            (Answer(CONSENT, "consent_analytics.consent_trends.daily_opt_outs.yesterday"),),
            ("consent_rollups",),
            _CONSENT_SECTION,
            window="the local day before the one in which the window ends",
        ),
        Metric(
            "opt_out_trend",
            "Trend of opt-outs",
            "text",
            "`improving` when fewer today than yesterday, `worsening` when more, else `stable`",
            (Answer(CONSENT, "consent_analytics.consent_trends.daily_opt_outs.trend"),),
            ("consent_rollups",),
            _CONSENT_SECTION,
            window=LOCAL_DAY,
        ),
        Metric(
            "consent_transitions",
            "Transitions",
            "transitions",
            "changes of consent by the state they led to, by source and over time",
            list_answers(
                CONSENT,
                "transitions.*",
                "transitions_by_source.*.*",
                *(f"series.*.{state}" for state in ("OPT_IN", "OPT_OUT", "STOP")),
            ),
            ("consent_rollups",),
            window=REQUESTED,
        ),
        Metric(
            "users_by_attribute",
            "Users by attribute",
            "users",
            "users by the values of an attribute, the most frequent ones, others together",
            list_answers(_DEMOGRAPHICS, "user_demographics.by_city.*", "user_demographics.by_tier.*"),
            ("attribute_rollups",),
            _ATTRIBUTE_SECTION,
            note="One `by_…` for each attribute of `ESE_ATTRIBUTES`. `unknown` has none.",
            window=AS_OF_NOW,
        ),
        Metric(
            "signups",
            "Signups",
            "users",
            "users who came in the window and are still here",
            list_answers(_DEMOGRAPHICS, "user_demographics.signup_trends.last_30_days", "series.*.signups"),
            _SIGNUPS,
            _ATTRIBUTE_SECTION,
            window=_MONTH,
        ),
        Metric(
            "signups_before",
            "Signups in the window before",
            "users",
            "signups of the window of equal length before",
            list_answers(_DEMOGRAPHICS, "user_demographics.signup_trends.previous_30_days"),
            _SIGNUPS,
            window=WINDOW_BEFORE,
        ),
        Metric(
            "signup_growth",
            "Growth of signups",
            "text",
            "signups less those of the window before / signups of the window before",
            list_answers(_DEMOGRAPHICS, "user_demographics.signup_trends.growth_rate"),
            _SIGNUPS,
            _ATTRIBUTE_SECTION,
            "signups less those of the window of equal length before",
            "signups of the window of equal length before",
            note="Text with its sign, such as +15%.",
            window=_MONTH,
        ),
    ),
)
