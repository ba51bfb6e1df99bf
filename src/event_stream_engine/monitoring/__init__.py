"""The engine watching itself: dashboard snapshot, live feed, process heartbeats, resources, requests, the pipeline of
webhooks, and what other tools read of it all.

Owns tables `processes`, `uptime_quarters`, `pipeline_rollups`, `request_rollups`, `request_days`, `resource_rollups`,
`redis_state`, `canary_rollups`, `deadman_pings`. May import analytics and what is below it.
"""
