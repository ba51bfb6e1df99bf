"""The engine watching itself: dashboard snapshot, live feed, process heartbeats, requests, the pipeline of webhooks.

Owns tables `processes`, `uptime_minutes`, `request_rollups`, `request_days`, `pipeline_rollups`. May import analytics and what is below it.
"""
