"""Reports of days and weeks, their versions, who gets them.

Owns tables `report_versions`, `report_subscriptions`, `query_schedules`, `query_runs`. May import insights, incidents,
analytics, notifications, workbench and what is below them.
"""
