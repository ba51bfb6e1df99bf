"""Every figure: roll-ups and the questions asked of them.

Owns tables `message_rollups`, `delivery_time_rollups`, `inbound_rollups`, `consent_rollups`, `user_rollups`.
May import messaging, audience, access, stream, infra and kernel; never ingest.
"""
