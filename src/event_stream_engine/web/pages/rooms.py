"""Every page that only who has signed in may see."""

from event_stream_engine.web.pages import (
    alert_rules,
    alerts,
    audience,
    audience_figures,
    banner,
    campaign,
    campaign_forms,
    campaign_messages,
    campaigns,
    compliance,
    definitions,
    escalation,
    imports,
    inbound,
    incident,
    incidents,
    monitoring,
    replies,
    rules,
    segments,
    settings,
    templates,
)

PAGES = tuple(
    page.router
    for page in (
        monitoring,
        campaigns,
        campaign_forms,
        campaign,
        campaign_messages,
        templates,
        replies,
        rules,
        audience,
        audience_figures,
        segments,
        imports,
        inbound,
        definitions,
        compliance,
        banner,
        alert_rules,
        alerts,
        settings,
        incidents,
        incident,
        escalation,
    )
)
