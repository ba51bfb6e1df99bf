"""The engine watching itself: dashboard snapshot, live feed, process heartbeats, the database behind it.

Owns tables `processes`, `uptime_minutes`, `pipeline_rollups`, `database_snapshots`, `database_marks`, `database_rollups`,
`table_rollups`, `index_rollups`, `statement_rollups`, `statement_texts`, `pool_states`, `pool_rollups`. May import
analytics and what is below it.
"""
