"""Figures of the people: who consented, and how that changes."""

from event_stream_engine.analytics.metric import (
    AS_OF_NOW,
    CONSENT,
    DASHBOARD,
    LOCAL_DAY,
    Answer,
    Metric,
    Note,
    Subject,
)

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
    ),
)
