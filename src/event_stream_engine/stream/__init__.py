"""The append-only event log and the spool in front of it.

Owns tables `events`, `log_cursors`, `dead_letters`, `intake_counts`, `intake_totals`. May import infra and kernel.
"""
