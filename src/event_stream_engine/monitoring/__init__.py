"""The engine watching itself: dashboard snapshot, live feed, process heartbeats, resources, requests, the pipeline of
webhooks, the database behind it, and what other tools read of it all.

Owns tables `processes`, `uptime_quarters`, `pipeline_rollups`, `request_rollups`, `request_days`, `resource_rollups`,
`redis_state`, `canary_rollups`, `deadman_pings`, `database_snapshots`, `database_marks`, `database_rollups`,
`table_rollups`, `index_rollups`, `statement_rollups`, `statement_texts`, `pool_states`, `pool_rollups`, `database_disk`.
May import analytics and what is below it.
"""
