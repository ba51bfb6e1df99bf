"""The engine watching itself: dashboard snapshot, live feed, process heartbeats, resources.

Owns tables `processes`, `uptime_quarters`, `pipeline_rollups`, `resource_rollups`, `redis_state`. May import analytics
and what is below it.
"""
