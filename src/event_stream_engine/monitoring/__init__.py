"""The engine watching itself: dashboard snapshot, live feed, process heartbeats.

Owns tables `processes`, `uptime_minutes`, `pipeline_rollups`, `canary_rollups`, `deadman_pings`. May import analytics and what is below it.
"""
