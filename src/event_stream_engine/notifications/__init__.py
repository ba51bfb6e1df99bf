"""Telling people: channels, routes, the outbox of notices and its delivery.

Owns tables `notification_channels`, `notification_routes`, `notices`, `notice_deliveries`, `notice_attempts`. May
import audit, infra and kernel.
"""
