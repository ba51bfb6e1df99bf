"""Alerting: rules over figures, the state of each, episodes from fire to quiet, silences.

Owns tables `alert_rules`, `alert_states`, `alert_episodes`, `alert_steps`, `silences`, `evaluator_ticks`. May import
monitoring, notifications and what is below them.
"""
