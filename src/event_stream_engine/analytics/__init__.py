"""Every figure: roll-ups and the questions asked of them.

Owns tables `message_rollups`, `delivery_time_rollups`, `inbound_rollups`, `consent_rollups`, `user_rollups`,
`campaign_rollups`, `compliance_place`, `compliance_rollups`, `compliance_violations`. May import campaigns and what is
below it; never ingest.
"""
