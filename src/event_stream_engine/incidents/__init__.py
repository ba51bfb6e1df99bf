"""Incidents: the policy, what needs a person and what became of it, the escalation when nobody answers.

Owns tables `incident_severities`, `escalation_steps`, `incidents`, `incident_timeline`, `incident_alerts`,
`incident_timers`. May import alerting, analytics, notifications and what is below them.
"""
