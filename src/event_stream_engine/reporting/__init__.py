"""Reports of days and weeks, their versions, who gets them.

Owns table `report_versions`. May import insights, incidents, analytics, notifications, workbench and what is below them.
"""
