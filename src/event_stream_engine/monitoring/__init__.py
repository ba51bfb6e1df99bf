"""The engine watching itself: dashboard snapshot, live feed, process heartbeats.

Owns tables `processes`, `uptime_minutes`, `pipeline_rollups`. May import analytics and what is below it.
"""
