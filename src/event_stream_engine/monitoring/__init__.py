"""The engine watching itself: dashboard snapshot, live feed, process heartbeats, requests, webhooks, resources.

Owns tables `processes`, `uptime_quarters`, `request_rollups`, `request_days`, `pipeline_rollups`, `resource_rollups`,
`redis_state`. May import analytics and what is below it.
"""
