"""Every figure: roll-ups and the questions asked of them.

Owns tables `message_rollups`, `failure_rollups`, `duration_rollups`, `inbound_rollups`, `inbound_hour_rollups`,
`consent_rollups`, `signup_rollups`, `user_rollups`, `attribute_rollups`, `sender_sketches`, `campaign_rollups`,
`rollup_settings`, `local_days`, `compliance_place`, `compliance_rollups`, `compliance_violations`, `projected_totals`. May
import campaigns and what is below it; never ingest.
"""
