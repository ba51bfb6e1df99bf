"""Every page that only who has signed in may see."""

from event_stream_engine.web.pages import (
    audience,
    audience_figures,
    campaign,
    campaign_forms,
    campaign_messages,
    campaigns,
    compliance,
    database,
    definitions,
    imports,
    inbound,
    monitoring,
    replies,
    rules,
    segments,
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
        database,
    )
)
