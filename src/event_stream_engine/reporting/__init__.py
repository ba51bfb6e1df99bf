"""Reports of days and weeks, their versions, who gets them.

Owns tables `query_schedules`, `query_runs`. May import insights, incidents, analytics, notifications, workbench and what is below them.
"""
