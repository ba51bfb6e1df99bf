"""Reports of days and weeks, their versions, who gets them.

Owns tables `report_versions`, `report_subscriptions`. May import insights, incidents, analytics, notifications, workbench
and what is below them.
"""
